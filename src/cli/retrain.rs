//! `bellwether retrain`: one command for a timer, from the labels to the verdict.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::archive::Shelf;
use crate::cli::args::{Global, Retrain};
use crate::cli::serve::runtime_hints;
use crate::cli::{Exit, Failure, Output, load, model, registry};
use crate::config;
use crate::onnx::{manifest, runtime};
use crate::retrain::{
    DatasetPlan, Decision, Ending, LABELLED_MAX, Progress, RetrainError, RetrainSettings, Retraining, retrain,
};
use crate::time::SystemClock;

/// What `--json` prints.
#[derive(Serialize)]
#[serde(tag = "ending", rename_all = "kebab-case")]
enum Told<'a> {
    TooFewLabels {
        have: usize,
        wanted: usize,
        classes: &'a BTreeMap<String, BTreeMap<String, usize>>,
    },
    NothingNew {
        version: &'a str,
        passed: bool,
        promoted: bool,
        page: String,
    },
    Decided {
        version: &'a str,
        promoted: bool,
        page: String,
        #[serde(flatten)]
        decision: &'a Decision,
    },
}

/// Runs the command.
///
/// # Errors
/// With 20 when the gate refuses, with 21 for too few labels, with 22 where nothing is new, with 65 for data that cannot
/// be used, with 69 when something that is needed is not there, with 70 when the trainer fails.
pub(crate) fn run(arguments: &Retrain, global: &Global) -> Result<(), Failure> {
    let loaded = load(&arguments.file, global)?;
    let (settings, retrain_settings) = (loaded.settings, loaded.retrain);
    let unavailable = |error: &dyn std::fmt::Display| Failure::unavailable(error.to_string(), "");
    let retraining = Retraining {
        settings: &retrain_settings,
        model: &settings.model,
        shelf: &Shelf::open(&settings.archive).map_err(|error| unavailable(&error))?,
        plan: DatasetPlan {
            pipeline: settings.name.clone(),
            tasks: manifest(&settings.model).map_err(|error| unavailable(&error))?.tasks,
            near_copy: settings.index.near_copy,
            validation_share: retrain_settings.validation_share,
            test_share: retrain_settings.test_share,
            labelled_max: LABELLED_MAX,
            unlabelled_max: retrain_settings.unlabelled_max,
            seed: 7,
        },
        trainer: trainer(&retrain_settings)?,
        runtime: &runtime(&runtime_hints()).map_err(|error| unavailable(&error))?,
        clock: Arc::new(SystemClock::new()),
        by: config::user().unwrap_or_else(|| "unknown".to_owned()),
        promote: !arguments.no_promote,
    };
    let shown = Shown::new(arguments.json)?;
    let ending = retrain(&retraining, &mut |progress| shown.tell(&progress)).map_err(failure)?;
    shown.bar.finish_and_clear();
    tell(&ending, arguments.json)
}

/// The trainer of the pipeline file, else the one that is shipped.
fn trainer(settings: &RetrainSettings) -> Result<PathBuf, Failure> {
    settings.trainer.clone().or_else(|| model::shipped("trainer")).ok_or_else(no_trainer)
}

fn no_trainer() -> Failure {
    Failure::unavailable(
        "there is no trainer here",
        "run this in the folder of the repository, or name the trainer's folder: trainer = \"…\" under [retrain]",
    )
}

fn failure(error: RetrainError) -> Failure {
    let message = error.to_string();
    match error {
        RetrainError::Dataset(error) => crate::cli::dataset::told(error),
        RetrainError::NoTrainer(_) => Failure::unavailable(message, "make its environment with scripts/python-env.sh"),
        RetrainError::Evaluate(_) => Failure::data(message, "correct the row, or take it out"),
        RetrainError::Trainer { code: Some(65), .. } => {
            Failure::data(message, "label what it says is missing: the next run looks at the labels anew")
        }
        RetrainError::Trainer { code: Some(64), .. } => {
            Failure { exit: Exit::Internal, message, remedy: "run it again: it begins anew".to_owned() }
        }
        RetrainError::UnderWay(_) => Failure::unavailable(message, "wait until it has ended"),
        RetrainError::Registry(error) => registry::told(error),
        RetrainError::Trainer { code: Some(69), .. } => {
            Failure::unavailable(message, "make its environment with scripts/python-env.sh")
        }
        RetrainError::Trainer { .. } => Failure {
            exit: Exit::Internal,
            message,
            remedy: "run it again: it goes on where it was, and the champion answers meanwhile".to_owned(),
        },
        RetrainError::Archive(_) | RetrainError::Score(_) | RetrainError::Model(_) | RetrainError::File { .. } => {
            Failure::unavailable(message, "")
        }
    }
}

/// What a person sees while it goes on.
struct Shown {
    bar: ProgressBar,
    quiet: bool,
}

impl Shown {
    fn new(quiet: bool) -> Result<Self, Failure> {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let style = ProgressStyle::with_template("{spinner} {elapsed}  {msg}");
        bar.set_style(style.map_err(|error| Failure::internal(error.to_string()))?);
        Ok(Self { bar, quiet })
    }

    fn tell(&self, progress: &Progress) {
        if self.quiet {
            return;
        }
        match progress {
            Progress::Step(name) => self.now((*name).to_owned()),
            Progress::Dataset(report) => {
                let rows: usize = report.splits.values().map(|split| split.rows).sum();
                self.line(&format!("data set: {rows} labelled posts, {} without a label", report.unlabelled));
                report.warnings().iter().for_each(|warning| self.line(&format!("warning: {warning}")));
            }
            // Steps are for who watches.
            Progress::Trainer(event) if self.bar.is_hidden() && event["event"] == "step" => {}
            Progress::Trainer(event) => self.now(format!("training: {}", line(event))),
        }
    }

    /// What is being done: a line that is written over, or where nobody watches one of its own.
    fn now(&self, what: String) {
        if self.bar.is_hidden() {
            self.line(&what);
        } else {
            self.bar.set_message(what);
        }
    }

    /// A line that stays. A bar says nothing where standard error is no terminal.
    fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            // Where nobody can be told, the work goes on.
            drop(writeln!(std::io::stderr().lock(), "{text}"));
        } else {
            self.bar.println(text);
        }
    }
}

/// An event of the trainer as `epoch 2 score 0.91`.
fn line(event: &Value) -> String {
    let Some(fields) = event.as_object() else { return event.to_string() };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let simple = fields.iter().filter(|(_, value)| value.is_number() || value.is_string());
    simple.take(8).map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join(" ")
}

fn tell(ending: &Ending, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    match ending {
        Ending::TooFew { have, wanted, classes } => {
            if json {
                output.json(&Told::TooFewLabels { have: *have, wanted: *wanted, classes })?;
                output.flush()?;
                return Err(Failure::silent(Exit::TooFewLabels));
            }
            let missing = wanted.saturating_sub(*have);
            let rare = classes.iter().filter_map(|(task, classes)| {
                let (class, rows) = classes.iter().min_by_key(|(_, rows)| **rows)?;
                Some(format!("{task}: fewest are {class} ({rows})"))
            });
            let rare = rare.collect::<Vec<_>>().join("; ");
            Err(Failure {
                exit: Exit::TooFewLabels,
                message: format!("{have} posts are labelled and {wanted} are needed: {missing} are missing. {rare}"),
                remedy:
                    "label more with bellwether label FILE, which shows the hardest first; or lower retrain.labels_min and, \
                     below 30 / test_share, raise retrain.test_share: so many rows are needed to judge by"
                        .to_owned(),
            })
        }
        Ending::NothingNew { version, passed, promoted, page } => {
            let page = page.display().to_string();
            let known = format!(
                "from these labels, under this champion and these settings came version {version}, which the gate {}: {page}",
                if *passed { "let pass" } else { "refused" }
            );
            if json {
                output.json(&Told::NothingNew { version, passed: *passed, promoted: *promoted, page })?;
            } else if *promoted {
                output.line(format!("promoted; pipelines that run load it within seconds: {known}"))?;
            }
            output.flush()?;
            match (promoted, json) {
                (true, _) => Ok(()),
                (false, true) => Err(Failure::silent(Exit::NothingNew)),
                (false, false) => Err(Failure {
                    exit: Exit::NothingNew,
                    message: format!("nothing is new: {known}"),
                    remedy: "label more, or change the recipe or the gate under [retrain]".to_owned(),
                }),
            }
        }
        Ending::Decided { version, decision, promoted, page } => {
            decided(&mut output, json, version, (decision, *promoted), page)?;
            output.flush()?;
            if decision.passed { Ok(()) } else { Err(Failure::silent(Exit::Refused)) }
        }
    }
}

fn decided(
    output: &mut Output,
    json: bool,
    version: &str,
    (decision, promoted): (&Decision, bool),
    page: &Path,
) -> Result<(), Failure> {
    if json {
        let page = page.display().to_string();
        output.json(&Told::Decided { version, promoted, page, decision })?;
    } else {
        for gain in &decision.gains {
            let (task, figure, difference) = (&gain.task, gain.figure, gain.difference);
            output.line(format!(
                "{task} {figure}: {difference:+.4} better on {} rows, at least {:+.4}",
                gain.rows, gain.at_least
            ))?;
        }
        let end = match (decision.passed, promoted) {
            (true, true) => "promoted; pipelines that run load it within seconds",
            (true, false) => "may be promoted: bellwether model promote VERSION --reason TEXT",
            (false, _) => "refused; the champion stays",
        };
        output.line(format!("version {version}: {end}"))?;
        for line in decision.reasons().iter().chain(&decision.notes) {
            output.line(format!("  {line}"))?;
        }
        output.line(format!("the whole verdict: {}", page.display()))?;
    }
    Ok(())
}
