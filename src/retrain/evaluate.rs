//! How good a model is: asks it about rows whose answers are known and compares.
//!
//! The rows go through the same cleaner, tokeniser, packing and sessions as in `run`, so the figures are those of the
//! running system, and it abstains where that does. One thing differs: a text in an unknown language is asked about
//! nevertheless, so that its best label counts; of an empty text nothing can be asked, which is a miss.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::event::{Abstention, Answer, Verdict};
use crate::model::{Encoded, ScoreFailure, Scorer, Task, question};
use crate::retrain::measure::Measure;
use crate::retrain::{Class, Confusion, LabelledRow, Line, TaskReport};

/// Rows that are sorted by length and scored together.
const POOL_ROWS: usize = 4_096;

/// Figures by task.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Report {
    /// `sentiment`, `topic` or both.
    pub tasks: BTreeMap<String, TaskReport>,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// A row cannot be read.
    #[error("{line}: {problem}")]
    Row {
        /// Where.
        line: Line,
        /// What is wrong.
        problem: String,
    },
    /// The model has no such label.
    #[error("{line}: the model does not know the {task} label `{label}`; it knows {known}")]
    UnknownLabel {
        /// Where.
        line: Line,
        /// The task.
        task: String,
        /// The label of the row.
        label: String,
        /// The labels of the model.
        known: String,
    },
    /// The model failed on a row.
    #[error("{line}: {failure}")]
    Failed {
        /// Where.
        line: Line,
        /// Why.
        failure: ScoreFailure,
    },
    /// There was nothing to compare with.
    #[error("no row has a label for a task that the model answers; rows need `sentiment` or `topic`")]
    NoLabels,
}

/// What a model said to one row in one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered<'a> {
    /// The row.
    pub row: &'a LabelledRow,
    /// The task.
    pub task: &'a str,
    /// The true class.
    pub truth: &'a str,
    /// The best class with its probability; none where nothing could be asked.
    pub best: Option<(&'a str, f32)>,
    /// The probability of the true class, likewise.
    pub probability: Option<f32>,
}

/// Asks `scorer`, which answers `tasks`, about all rows. A task is reported if a row has a label for it; a label may be
/// one of the task's own or an alias. Labels for tasks that the model does not have are left out.
///
/// # Errors
/// At the first row that cannot be read, has a label that the model does not know, or on which the model fails.
pub fn evaluate(
    scorer: &dyn Scorer,
    tasks: &[Task],
    rows: impl Iterator<Item = Result<LabelledRow, EvaluateError>>,
) -> Result<Report, EvaluateError> {
    evaluate_each(scorer, tasks, rows, &mut |_| {})
}

/// As [`evaluate`], and hands over what was said to each row that has a label, in the order of rows and tasks.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_each(
    scorer: &dyn Scorer,
    tasks: &[Task],
    rows: impl Iterator<Item = Result<LabelledRow, EvaluateError>>,
    told: &mut dyn FnMut(Answered<'_>),
) -> Result<Report, EvaluateError> {
    let mut judges: Vec<Judge<'_>> = tasks.iter().map(Judge::new).collect();
    let mut pool = Vec::with_capacity(POOL_ROWS);
    for row in rows {
        let row = row?;
        // Before anything is asked, so that a mistake in the data shows at once and not after minutes.
        for judge in &judges {
            judge.truth(&row)?;
        }
        pool.push(row);
        if pool.len() == POOL_ROWS {
            score(scorer, &pool, &mut judges, told)?;
            pool.clear();
        }
    }
    score(scorer, &pool, &mut judges, told)?;
    let reports = judges.into_iter().filter_map(|judge| Some((judge.task.name.clone(), judge.measure.report()?)));
    let report = Report { tasks: reports.collect() };
    if report.tasks.is_empty() { Err(EvaluateError::NoLabels) } else { Ok(report) }
}

fn score(
    scorer: &dyn Scorer,
    pool: &[LabelledRow],
    judges: &mut [Judge<'_>],
    told: &mut dyn FnMut(Answered<'_>),
) -> Result<(), EvaluateError> {
    let failed = |row: &LabelledRow, failure| EvaluateError::Failed { line: row.line.clone(), failure };
    let mut encoded = Vec::with_capacity(pool.len());
    let mut asked = Vec::with_capacity(pool.len());
    for row in pool {
        let (unasked, text) = ask(row, scorer).map_err(|failure| failed(row, failure))?;
        asked.push((row, unasked, text.is_some()));
        encoded.extend(text);
    }
    let mut answers = scorer.score(&encoded).into_iter();
    for (row, unasked, is_asked) in asked {
        let verdict = match answers.by_ref().take(usize::from(is_asked)).next().transpose() {
            Ok(verdict) => verdict,
            Err(failure) => return Err(failed(row, failure)),
        };
        for judge in judges.iter_mut() {
            judge.compare(row, verdict.as_ref(), unasked, told)?;
        }
    }
    Ok(())
}

/// Why the pipeline would not ask about the row, and what is asked nevertheless.
fn ask(row: &LabelledRow, scorer: &dyn Scorer) -> Result<(Option<Abstention>, Option<Encoded>), ScoreFailure> {
    match question(&row.text, scorer)? {
        Ok(text) => Ok((None, Some(text))),
        Err(reason) if row.text.is_empty() => Ok((Some(reason), None)),
        Err(reason) => Ok((Some(reason), Some(scorer.encode(&row.text)?))),
    }
}

/// One task's comparison.
struct Judge<'a> {
    task: &'a Task,
    measure: Measure,
}

impl<'a> Judge<'a> {
    fn new(task: &'a Task) -> Self {
        Self { task, measure: Measure::new(&task.labels) }
    }

    fn place(&self, label: &str) -> Option<usize> {
        self.task.labels.iter().position(|known| known == label)
    }

    /// The place of the row's true label; `None` where it has none for this task.
    fn truth(&self, row: &LabelledRow) -> Result<Option<usize>, EvaluateError> {
        let label = if self.task.name == "topic" { &row.topic } else { &row.sentiment };
        let Some(label) = label else { return Ok(None) };
        match self.task.resolve(label).and_then(|own| self.place(own)) {
            Some(place) => Ok(Some(place)),
            None => Err(EvaluateError::UnknownLabel {
                line: row.line.clone(),
                task: self.task.name.clone(),
                label: label.clone(),
                known: self.task.labels.join(", "),
            }),
        }
    }

    /// `unasked` is why the pipeline would not have asked; it outweighs what the model says.
    fn compare(
        &mut self,
        row: &LabelledRow,
        verdict: Option<&Verdict>,
        unasked: Option<Abstention>,
        told: &mut dyn FnMut(Answered<'_>),
    ) -> Result<(), EvaluateError> {
        let Some(truth) = self.truth(row)? else { return Ok(()) };
        let of_task = |verdict| if self.task.name == "topic" { topic(verdict) } else { sentiment(verdict) };
        let answer = verdict.map(of_task);
        let abstention = unasked.or_else(|| answer.and_then(|answer| answer.abstention));
        let best = answer.and_then(Answer::best);
        if let Some(class) = self.task.labels.get(truth) {
            let best = best.map(|(label, confidence)| (&**label, confidence));
            let odds = |answer: &Answer| Some(answer.distribution.iter().find(|(label, _)| **label == **class)?.1);
            told(Answered { row, task: &self.task.name, truth: class, best, probability: answer.and_then(odds) });
        }
        let best = best.map(|(label, confidence)| (self.place(label).unwrap_or(usize::MAX), confidence));
        self.measure.add(truth, best, abstention);
        Ok(())
    }
}

const fn sentiment(verdict: &Verdict) -> &Answer {
    &verdict.sentiment
}

const fn topic(verdict: &Verdict) -> &Answer {
    &verdict.topic
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (task, report)) in self.tasks.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            writeln!(
                f,
                "{task}: {} rows, accuracy {:.4}, macro F1 {:.4}, weighted F1 {:.4}, calibration error {:.4}",
                report.n, report.accuracy, report.macro_f1, report.weighted_f1, report.ece
            )?;
            match report.accuracy_of_answered {
                Some(accuracy) => {
                    writeln!(f, "  abstained on {}, accuracy on the rest {accuracy:.4}", report.abstained)?
                }
                None => writeln!(f, "  abstained on all {}", report.abstained)?,
            }
            writeln!(f, "  {:<20} {:>9} {:>9} {:>9} {:>7}", "", "precision", "recall", "F1", "rows")?;
            for (label, Class { precision, recall, f1, n }) in &report.per_class {
                writeln!(f, "  {label:<20} {precision:>9.4} {recall:>9.4} {f1:>9.4} {n:>7}")?;
            }
            writeln!(f, "  taken for another most often: {}", mix_ups(&report.confusion))?;
        }
        Ok(())
    }
}

/// The three commonest mistakes, as `truth → answer (rows)`.
fn mix_ups(confusion: &Confusion) -> String {
    let cells =
        confusion.rows.iter().zip(&confusion.labels).flat_map(|(row, truth)| {
            row.iter().zip(&confusion.labels).map(move |(count, answer)| (*count, truth, answer))
        });
    let mut mistakes: Vec<_> = cells.filter(|(count, truth, answer)| *count > 0 && truth != answer).collect();
    mistakes.sort_by_key(|(count, _, _)| std::cmp::Reverse(*count));
    let shown: Vec<String> =
        mistakes.iter().take(3).map(|(count, truth, answer)| format!("{truth} → {answer} ({count})")).collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::model::StubScorer;

    fn tasks() -> Vec<Task> {
        let task = |name: &str, labels: &[&str]| Task {
            name: name.to_owned(),
            output: format!("{name}_logits"),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            temperature: 1.0,
            abstain_below: 0.0,
            aliases: BTreeMap::from([("Earnings".to_owned(), "earnings".to_owned())]),
        };
        let mut tasks = vec![
            task("sentiment", &["negative", "neutral", "positive"]),
            task("topic", &["earnings", "legal", "m-and-a", "other"]),
        ];
        tasks[0].aliases.clear();
        tasks
    }

    fn run(lines: &[&str]) -> Result<Report, EvaluateError> {
        let line = |number| Line { file: "rows.jsonl".into(), number };
        let rows = lines.iter().enumerate().map(|(index, json)| LabelledRow::parse(json, line(index + 1)));
        evaluate(&StubScorer::new(), &tasks(), rows)
    }

    #[test]
    fn each_task_counts_the_rows_that_carry_its_label() {
        let report = run(&[
            r#"{"text": "Acme profit beats", "sentiment": "positive", "topic": ["Earnings"]}"#,
            r#"{"text": "Acme falls", "sentiment": "negative", "lang": "en"}"#,
            r#"{"text": "Acme moves house", "sentiment": "positive"}"#,
            r#"{"text": "Acme in court", "topic": "legal", "sentiment": null}"#,
        ])
        .unwrap();
        let sentiment = &report.tasks["sentiment"];
        assert_eq!((sentiment.n, sentiment.confusion.rows[2][1]), (3, 1));
        assert!((sentiment.accuracy - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!((report.tasks["topic"].n, report.tasks["topic"].accuracy), (2, 1.0));
        assert!(report.to_string().contains("positive → neutral (1)"));
    }

    #[test]
    fn the_json_has_a_key_a_task() {
        let report = run(&[r#"{"text": "Acme falls", "sentiment": "negative"}"#]).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        let keys = ["n", "accuracy", "macro_f1", "weighted_f1", "ece", "per_class", "confusion", "abstained"];
        assert!(keys.iter().all(|key| json["sentiment"].get(key).is_some()), "{json}");
        assert_eq!(json["sentiment"]["per_class"]["negative"]["n"], 1);
        assert_eq!(json["sentiment"]["confusion"]["labels"][0], "negative");
        assert!(json.get("topic").is_none());
    }

    #[test]
    fn a_label_that_the_model_does_not_know_names_file_and_line() {
        let error = run(&[
            r#"{"text": "Acme falls", "sentiment": "negative"}"#,
            r#"{"text": "Acme falls", "sentiment": "bearish"}"#,
        ])
        .unwrap_err()
        .to_string();
        assert!(error.starts_with("rows.jsonl:2: ") && error.contains("`bearish`"), "{error}");
        assert!(error.contains("negative, neutral, positive"), "{error}");
    }

    #[test]
    fn several_topics_and_broken_lines_name_file_and_line() {
        let several = run(&[r#"{"text": "a", "topic": ["legal", "other"]}"#]).unwrap_err().to_string();
        assert!(several.starts_with("rows.jsonl:1: `topic` lists 2"), "{several}");
        let broken = run(&[r#"{"text": "a", "topic""#]).unwrap_err().to_string();
        assert!(broken.starts_with("rows.jsonl:1: "), "{broken}");
        let textless = run(&[r#"{"sentiment": "neutral"}"#]).unwrap_err().to_string();
        assert!(textless.contains("missing field `text`"), "{textless}");
    }

    #[test]
    fn it_abstains_where_the_pipeline_does_and_the_best_label_counts_all_the_same() {
        let report = run(&[
            r#"{"text": "Acme profit beats", "sentiment": "positive"}"#,
            r#"{"text": "Las acciones de la empresa subieron después de los resultados", "sentiment": "neutral"}"#,
            r#"{"text": "<p> </p>", "sentiment": "neutral"}"#,
        ])
        .unwrap();
        let sentiment = &report.tasks["sentiment"];
        assert_eq!((sentiment.n, sentiment.abstained), (3, 2));
        let reasons: Vec<_> = sentiment.abstained_by_reason.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
        assert_eq!(reasons, [("empty-text", 1), ("unknown-language", 1)]);
        // The foreign text has a best label, and it is right; the empty one has none and is a miss.
        assert!((sentiment.accuracy - 2.0 / 3.0).abs() < 1e-9);
        assert!((sentiment.per_class["neutral"].recall - 0.5).abs() < 1e-9);
        assert_eq!((sentiment.per_class["neutral"].n, sentiment.confusion.rows[1][1]), (2, 1));
        assert_eq!(sentiment.accuracy_of_answered, Some(1.0));
    }

    #[test]
    fn rows_without_labels_are_no_report() {
        assert_eq!(run(&[r#"{"text": "a"}"#, r#"{"text": "b", "topic": []}"#]), Err(EvaluateError::NoLabels));
    }
}
