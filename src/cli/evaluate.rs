//! `bellwether evaluate`: how often a model agrees with people, by task and class.

use std::sync::Arc;

use crate::cli::args::{Evaluate, Global};
use crate::cli::{Failure, Input, Output, model, start_quiet_log};
use crate::onnx::REFERENCE;
use crate::retrain::{EvaluateError, Judging, LabelledRow, Line, Report, TaskReport, evaluate};

/// Runs the command.
///
/// # Errors
/// With 65 at a row that cannot be read or has a label that the model does not know; with 69 without a model.
pub(crate) fn run(arguments: &Evaluate, global: &Global) -> Result<(), Failure> {
    start_quiet_log(global)?;
    let mut input = Input::open(Some(&arguments.data))?;
    let bundle = model::open(Some(&arguments.model), arguments.device.0)?;
    let file: Arc<str> = Arc::from(input.name());
    let mut unread = None;
    let rows = std::iter::from_fn(|| match input.next_line() {
        Ok(line) => line.map(|(number, text)| LabelledRow::parse(&text, Line { file: file.clone(), number })),
        Err(failure) => {
            unread = Some(failure);
            None
        }
    });
    let mut judging = arguments.reference.then(|| Judging::new(&bundle, bundle.tasks()));
    let rows = rows.map(|row| {
        let row = row?;
        judging.as_mut().map_or(Ok(()), |judging| judging.note(row.clone()))?;
        Ok(row)
    });
    let result = evaluate(&bundle, bundle.tasks(), rows);
    if let Some(failure) = unread {
        return Err(failure);
    }
    let report = result.map_err(|error| Failure::data(error.to_string(), remedy(&error)))?;
    let mut output = Output::new();
    if let Some(judging) = judging {
        let found = judging.finish().map_err(|error| Failure::data(error.to_string(), remedy(&error)))?;
        let path = bundle.directory().join(REFERENCE);
        let json = serde_json::to_vec(&found).map_err(|error| Failure::internal(error.to_string()))?;
        let aside = path.with_extension("new");
        std::fs::write(&aside, json).and_then(|()| std::fs::rename(&aside, &path)).map_err(|error| {
            Failure::unavailable(format!("{}: {error}", path.display()), "make the folder writable")
        })?;
    }
    if arguments.json {
        output.json(&report)?;
    } else {
        tell(&mut output, &report)?;
    }
    output.flush()
}

const fn remedy(error: &EvaluateError) -> &'static str {
    match error {
        EvaluateError::Row { .. } => "correct the row, or take it out",
        EvaluateError::UnknownLabel { .. } => "use the model's labels, or evaluate another model",
        EvaluateError::Failed { .. } => "shorten the text, or look at the model with `bellwether doctor`",
        EvaluateError::NoLabels => "give rows with `text` and `sentiment` or `topic`",
    }
}

fn tell(output: &mut Output, report: &Report) -> Result<(), Failure> {
    for (index, (task, figures)) in report.tasks.iter().enumerate() {
        if index > 0 {
            output.line("")?;
        }
        tell_task(output, task, figures)?;
    }
    Ok(())
}

fn tell_task(output: &mut Output, task: &str, figures: &TaskReport) -> Result<(), Failure> {
    let width = figures.per_class.keys().map(String::len).max().unwrap_or(0).max(8);
    output.line(format!("{task}: {} rows", figures.n))?;
    output.line(format!("  accuracy     {:.4}", figures.accuracy))?;
    output.line(format!("  macro F1     {:.4}", figures.macro_f1))?;
    output.line(format!("  weighted F1  {:.4}", figures.weighted_f1))?;
    output.line(format!("  calibration  {:.4} expected error", figures.ece))?;
    let answered = figures.accuracy_of_answered.map(|share| format!(", {share:.4} accurate on the others"));
    let reasons: Vec<String> =
        figures.abstained_by_reason.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    output.line(format!("  abstained    {} rows{reasons}{}", figures.abstained, answered.unwrap_or_default()))?;
    output.line("")?;
    output.line(format!("  {:width$}  precision  recall      F1    rows", "class"))?;
    for (label, class) in &figures.per_class {
        let (precision, recall, f1, n) = (class.precision, class.recall, class.f1, class.n);
        output.line(format!("  {label:width$}  {precision:>9.4}  {recall:>6.4}  {f1:>6.4}  {n:>6}"))?;
    }
    output.line("")?;
    output.line("  confusion: a row is the true class, a column what the model said")?;
    let confusion = &figures.confusion;
    let numbers: Vec<String> = (1..=confusion.labels.len()).map(|number| format!("{number:>5}")).collect();
    output.line(format!("  {:width$}     {}", "", numbers.concat()))?;
    for ((label, row), number) in confusion.labels.iter().zip(&confusion.rows).zip(1..) {
        let counts: Vec<String> = row.iter().map(|count| format!("{count:>5}")).collect();
        output.line(format!("  {label:width$} {number:>3} {}", counts.concat()))?;
    }
    Ok(())
}
