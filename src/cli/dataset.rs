//! `bellwether dataset`: what people labelled, as files that a trainer opens.

use std::path::Path;

use crate::archive::{ArchiveError, Shelf};
use crate::cli::args::{Dataset, Global};
use crate::cli::{Failure, Output, load};
use crate::onnx::manifest;
use crate::retrain::{DatasetError, DatasetPlan, DatasetReport, LABELLED_MAX, Side, make_dataset};
use crate::time::{Clock as _, SystemClock};

/// Runs the command.
///
/// # Errors
/// With 64 for a folder that is taken, with 65 where there is nothing to be learnt from, with 69 when archive or model
/// are not there.
pub(crate) fn run(arguments: &Dataset, global: &Global) -> Result<(), Failure> {
    let settings = load(&arguments.file, global)?.settings;
    let manifest = manifest(&settings.model).map_err(|error| Failure::unavailable(error.to_string(), ""))?;
    let plan = DatasetPlan {
        pipeline: settings.name.clone(),
        tasks: manifest.tasks,
        near_copy: settings.index.near_copy,
        validation_share: arguments.validation_share,
        test_share: arguments.test_share,
        labelled_max: LABELLED_MAX,
        unlabelled_max: arguments.unlabelled_max,
        seed: arguments.seed,
    };
    let shelf = Shelf::open(&settings.archive).map_err(|error| told(error.into()))?;
    let report = make_dataset(&shelf, &plan, &arguments.out, SystemClock::new().now()).map_err(told)?;
    let mut output = Output::new();
    if arguments.json {
        output.json(&report)?;
    } else {
        tell(&mut output, &report, &arguments.out)?;
    }
    output.flush()
}

pub(crate) fn told(error: DatasetError) -> Failure {
    let message = error.to_string();
    match error {
        DatasetError::Archive(ArchiveError::NotASegment { .. }) => Failure::data(message, ""),
        DatasetError::Archive(_) => Failure::unavailable(message, ""),
        DatasetError::NoLabels { .. } => {
            Failure::data(message, "label some: bellwether label FILE, or write them to the pipeline's topic of labels")
        }
        DatasetError::NoneInArchive { .. } => {
            Failure::data(message, "labels name posts by `post_id`: compare with that column of the archive")
        }
        DatasetError::Taken(_) => Failure::usage(message, ""),
        DatasetError::File { .. } => Failure::unavailable(message, "make room, or name another folder with --out"),
    }
}

fn tell(output: &mut Output, report: &DatasetReport, out: &Path) -> Result<(), Failure> {
    output.line(format!(
        "{}: {} labels read, {} samples, {} without a label kept",
        out.display(),
        report.labels.read,
        report.samples,
        report.unlabelled
    ))?;
    for side in Side::ALL {
        let Some(split) = report.splits.get(side.as_str()) else { continue };
        let span = match (split.from, split.until) {
            (Some(from), Some(until)) => format!(", {} to {}", from.date(), until.date()),
            _ => String::new(),
        };
        output.line(format!("  {:10} {:>6} rows{span}", side.as_str(), split.rows))?;
        for (task, classes) in &split.classes {
            let mut classes: Vec<(&String, &usize)> = classes.iter().collect();
            classes.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
            let shown: Vec<String> = classes.iter().map(|(class, rows)| format!("{class} {rows}")).collect();
            output.line(format!("    {task:9} {}", shown.join(", ")))?;
        }
    }
    if report.moved > 0 {
        output.line(format!("  {} rows stand with an older near-copy", report.moved))?;
    }
    for (task, agreement) in report.agreement.iter().filter(|(_, agreement)| agreement.shared > 0) {
        let (agreed, shared) = (agreement.agreed, agreement.shared);
        output.line(format!("  {task}: {agreed} of {shared} posts that several people labelled got one answer"))?;
    }
    for warning in report.warnings() {
        output.line(format!("warning: {warning}"))?;
    }
    Ok(())
}
