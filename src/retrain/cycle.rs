//! One retraining, from the archive to the verdict: data set, training, comparison, gate, promotion.
//!
//! Everything of a run lies in one folder, `<directory>/<version>`; a run that was killed goes on where it was, under the
//! same champion and settings. The candidate's folder gets its name when it is whole, and `verdict.json` in it says
//! whether the gate let it pass, and against whom.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::archive::{ArchiveError, Shelf};
use crate::model::{ModelSettings, ScoreFailure};
use crate::onnx::{BundleError, Runtime};
use crate::retrain::dataset::{DatasetError, DatasetPlan, DatasetReport, make_dataset};
use crate::retrain::gate::{Decision, Gain, decide};
use crate::retrain::judge::{Judged, REGRESSION_FILE, judge};
use crate::retrain::passed::{PASSED, Passed, gate_of};
use crate::retrain::run::{self, Run, Twin};
use crate::retrain::verdict::{Story, html, markdown};
use crate::retrain::{EvaluateError, Registry, RegistryError, RetrainSettings, Warrant, taken_back};
use crate::time::Clock;

/// The verdict page, in a run's folder.
const PAGE: &str = "verdict.html";
/// A candidate's weights in full precision, for the next training.
const CHECKPOINT: &str = "checkpoint.pt";
/// Lines of the trainer's standard error that are told when it fails.
const LAST_WORDS: usize = 12;

/// All that a run needs.
pub struct Retraining<'a> {
    /// The settings.
    pub settings: &'a RetrainSettings,
    /// The model whose champion is retrained.
    pub model: &'a ModelSettings,
    /// The archive.
    pub shelf: &'a Shelf,
    /// The data set's plan, tasks of the champion included.
    pub plan: DatasetPlan,
    /// The trainer's folder.
    pub trainer: PathBuf,
    /// ONNX Runtime.
    pub runtime: &'a Runtime,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who asks for it.
    pub by: String,
    /// Whether a candidate that passes is also named champion.
    pub promote: bool,
}

/// What is said on the way.
#[derive(Debug)]
pub enum Progress {
    /// A step begins.
    Step(&'static str),
    /// The data set.
    Dataset(Box<DatasetReport>),
    /// A line of the trainer.
    Trainer(Value),
}

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// Too few labels: nothing was begun.
    TooFew {
        /// Labelled posts.
        have: usize,
        /// What is asked for.
        wanted: usize,
        /// Rows by task and class.
        classes: BTreeMap<String, BTreeMap<String, usize>>,
    },
    /// Labels, champion, settings and trainer are those of a run that was judged (posts without a label are not looked
    /// at). Nothing was begun.
    NothingNew {
        /// The candidate that came of it.
        version: String,
        /// What the gate said of it.
        passed: bool,
        /// Whether it answers from now on: it passed, and nobody had named it.
        promoted: bool,
        /// The verdict page.
        page: PathBuf,
    },
    /// The gate has decided.
    Decided {
        /// The candidate's version.
        version: String,
        /// What it decided.
        decision: Box<Decision>,
        /// Whether the candidate answers now.
        promoted: bool,
        /// The verdict page.
        page: PathBuf,
    },
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum RetrainError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The data set could not be made.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] BundleError),
    /// The registry cannot be read or changed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Rows cannot be asked about.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A model fails.
    #[error(transparent)]
    Score(#[from] ScoreFailure),
    /// Somebody else retrains.
    #[error("another retraining is under way: it holds {}", .0.display())]
    UnderWay(PathBuf),
    /// The trainer is not there.
    #[error("there is no trainer's environment at {0}/.venv")]
    NoTrainer(String),
    /// The trainer ended badly.
    #[error("the trainer ended with {ending}: {words}")]
    Trainer {
        /// Its exit code, or the signal.
        ending: String,
        /// The exit code where there is one.
        code: Option<i32>,
        /// Its last words.
        words: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Retrains the champion.
///
/// # Errors
/// [`RetrainError`]; the champion is the old one then, and the run can be taken up again.
pub fn retrain(it: &Retraining<'_>, told: &mut dyn FnMut(Progress)) -> Result<Ending, RetrainError> {
    let folder = it.model.directory.join(&it.model.name);
    let registry = Registry::new(&folder);
    let champion = registry.champion()?;
    let run = Run::open(&registry, &it.settings.directory, &begun(it, &champion))?;
    let version = run.version.clone();
    let mut steps = Steps { clock: it.clock.clone(), took: Vec::new() };
    let dataset = match steps.step("data set", told, |told| data_set(it, &run.folder, told)) {
        Err(RetrainError::Dataset(DatasetError::NoLabels { .. } | DatasetError::NoneInArchive { .. })) => {
            run.remove();
            return Ok(Ending::TooFew { have: 0, wanted: it.settings.labels_wanted(), classes: BTreeMap::new() });
        }
        made => made?,
    };
    let (have, wanted) = (dataset.splits.values().map(|split| split.rows).sum(), it.settings.labels_wanted());
    if have < wanted {
        run.remove();
        return Ok(Ending::TooFew { have, wanted, classes: all_classes(&dataset) });
    }
    let gate = |version: &str| gate_of(&folder.join(version)).filter(|gate| !gate.may_change);
    if let Some((gate, twin)) = run.twins(&dataset).find_map(|twin| Some((gate(&twin.version)?, twin))) {
        run.remove();
        return again(it, &registry, (&champion, &twin), gate.passed);
    }
    let candidate = folder.join(&version);
    let judged = (|| {
        steps.step("training", told, |told| train(it, &folder.join(&champion), &run, told))?;
        steps.step("comparison", told, |_| judge(it, &folder.join(&champion), &candidate, &run.folder))
    })();
    // The same data would be refused again, more labels would not be looked at.
    if let Err(RetrainError::Trainer { code: Some(64 | 65), .. } | RetrainError::Evaluate(_)) = &judged {
        run.give_up();
    }
    let case = Case { champion, version, dataset, judged: judged?, took: steps.took };
    conclude(it, &registry, &run, &case)
}

/// All that a verdict is made of.
struct Case {
    champion: String,
    /// The candidate.
    version: String,
    dataset: DatasetReport,
    judged: Judged,
    /// The steps, and the seconds of each.
    took: Vec<(String, f64)>,
}

/// Lets the gate decide, writes what it says, and names the candidate where that was wanted.
fn conclude(it: &Retraining<'_>, registry: &Registry, run: &Run, case: &Case) -> Result<Ending, RetrainError> {
    let Case { champion, version, dataset, judged, took } = case;
    let candidate = it.model.directory.join(&it.model.name).join(version);
    let mut decision = decide(&judged.evidence, &it.settings.gate);
    if let Some(why) = taken_back::objection(registry, &it.settings.directory, dataset, version)? {
        decision.withhold(why);
    }
    let story = Story {
        model: &it.model.name,
        champion,
        candidate: version,
        at: it.clock.now(),
        dataset,
        decision: &decision,
        comparisons: &judged.comparisons,
        estimates: &judged.estimates,
        steps: took,
    };
    let page = run.folder.join(PAGE);
    write(&run.folder.join("figures.json"), &json(&judged.evidence))?;
    write(&page, &html(&story))?;
    let passed = Passed::of(&decision, champion);
    write(&candidate.join(PASSED), &json(&passed))?;
    run.tidy();
    if !(passed.passed || passed.may_change) {
        // Should somebody name it all the same, the next training begins with the weights of its graph.
        let _it_costs_room_and_nothing_else = std::fs::remove_file(candidate.join(CHECKPOINT));
    }
    write(&run.folder.join(run::VERDICT), &markdown(&story))?;
    let promoted = decision.passed && it.promote;
    if promoted {
        let reason = format!("retrained: {}", gains(&decision));
        registry.promote_over(champion, version, Warrant { at: it.clock.now(), by: it.by.clone(), reason })?;
    }
    Ok(Ending::Decided { version: version.clone(), decision: Box::new(decision), promoted, page })
}

/// What a run that would be repeated ended with. Its candidate is named where it passed and nobody ever named it: the run
/// was not to promote, or was stopped before it could.
fn again(
    it: &Retraining<'_>,
    registry: &Registry,
    (champion, twin): (&str, &Twin),
    passed: bool,
) -> Result<Ending, RetrainError> {
    let (version, page) = (twin.version.clone(), twin.folder.join(PAGE));
    let promoted = passed && it.promote && registry.history()?.iter().all(|change| change.champion != version);
    if promoted {
        let reason = format!("retrained and judged before: {}", page.display());
        registry.promote_over(champion, &version, Warrant { at: it.clock.now(), by: it.by.clone(), reason })?;
    }
    Ok(Ending::NothingNew { version, passed, promoted, page })
}

fn gains(decision: &Decision) -> String {
    let gain = |it: &Gain| format!("{} {} {:+.3} on {} rows", it.task, it.figure, it.difference, it.rows);
    decision.gains.iter().map(gain).collect::<Vec<_>>().join(", ")
}

fn all_classes(dataset: &DatasetReport) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut classes: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for (task, of_task) in dataset.splits.values().flat_map(|split| &split.classes) {
        for (class, rows) in of_task {
            *classes.entry(task.clone()).or_default().entry(class.clone()).or_default() += rows;
        }
    }
    classes
}

/// All that decides what a run's candidate will be and what the gate says of it, beside the samples and labels.
fn begun(it: &Retraining<'_>, champion: &str) -> Value {
    let RetrainSettings { epochs, patience, learning_rate, head_learning_rate, unlabelled_max, gate, .. } = it.settings;
    let RetrainSettings { method, rank, method_learning_rate, .. } = it.settings;
    let DatasetPlan { validation_share, test_share, near_copy, seed, .. } = &it.plan;
    let regression = run::hash([it.model.directory.join(&it.model.name).join(REGRESSION_FILE)]);
    serde_json::json!({
        "method": method, "rank": rank, "method_learning_rate": method_learning_rate,
        "champion": champion, "epochs": epochs, "patience": patience, "learning_rate": learning_rate,
        "head_learning_rate": head_learning_rate, "unlabelled_max": unlabelled_max,
        "validation_share": validation_share, "test_share": test_share, "near_copy": near_copy, "seed": seed, "gate": gate,
        "trainer": run::sources(&it.trainer), "regression": regression,
    })
}

/// Steps with how long each took.
struct Steps {
    clock: Arc<dyn Clock>,
    took: Vec<(String, f64)>,
}

impl Steps {
    fn step<T>(
        &mut self,
        name: &'static str,
        told: &mut dyn FnMut(Progress),
        work: impl FnOnce(&mut dyn FnMut(Progress)) -> Result<T, RetrainError>,
    ) -> Result<T, RetrainError> {
        told(Progress::Step(name));
        let began = self.clock.monotonic();
        let done = work(told)?;
        self.took.push((name.to_owned(), (self.clock.monotonic() - began).as_secs_f64()));
        Ok(done)
    }
}

/// The data set of this run; one that is there is taken, since the run goes on.
fn data_set(it: &Retraining<'_>, run: &Path, told: &mut dyn FnMut(Progress)) -> Result<DatasetReport, RetrainError> {
    let out = run.join("dataset");
    let manifest = out.join("dataset.json");
    let report = if manifest.is_file() {
        let bytes = std::fs::read(&manifest).map_err(|source| failed(&manifest, source))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(&manifest, error.into()))?
    } else {
        std::fs::create_dir_all(run).map_err(|source| failed(run, source))?;
        make_dataset(it.shelf, &it.plan, &out, it.clock.now())?
    };
    told(Progress::Dataset(Box::new(report.clone())));
    Ok(report)
}

/// Lets the trainer work. Where the candidate of this run is there already it says so, and refuses one of another run.
fn train(it: &Retraining<'_>, champion: &Path, run: &Run, told: &mut dyn FnMut(Progress)) -> Result<(), RetrainError> {
    let python = it.trainer.join(".venv/bin/python");
    if !python.is_file() {
        return Err(RetrainError::NoTrainer(it.trainer.display().to_string()));
    }
    let mut command = Command::new(python);
    command.args(["-m", "bellwether_trainer", "refresh", "--json", "--attended"]).env("PYTHONPATH", &it.trainer);
    for (option, value) in [("--dataset", &run.folder.join("dataset")), ("--run-dir", &run.folder.join("training"))] {
        command.arg(option).arg(value);
    }
    command.arg("--champion").arg(champion).arg("--out").arg(&it.model.directory);
    command.args(["--name", &it.model.name, "--version", &run.version]);
    let asked = it.settings;
    for (option, value) in [
        ("--epochs", asked.epochs.to_string()),
        ("--patience", asked.patience.to_string()),
        ("--method", asked.method.name().to_owned()),
        ("--rank", asked.rank.to_string()),
        ("--method-learning-rate", asked.method_learning_rate.to_string()),
        ("--learning-rate", asked.learning_rate.to_string()),
        ("--head-learning-rate", asked.head_learning_rate.to_string()),
        ("--unlabelled-max", asked.unlabelled_max.to_string()),
    ] {
        command.args([option, &value]);
    }
    let failed = |source| failed(&it.trainer, source);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    // It ends when this does, however we end: nobody is left working in a run that another takes up.
    let attending = child.stdin.take();
    let errors = child.stderr.take().map(BufReader::new);
    let words = std::thread::spawn(move || {
        let lines: Vec<String> = errors.into_iter().flat_map(|errors| errors.lines().map_while(Result::ok)).collect();
        lines.into_iter().rev().take(LAST_WORDS).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    });
    for line in child.stdout.take().into_iter().flat_map(|lines| BufReader::new(lines).lines().map_while(Result::ok)) {
        if let Ok(event) = serde_json::from_str(&line) {
            told(Progress::Trainer(event));
        }
    }
    let status = child.wait().map_err(failed)?;
    drop(attending);
    let words = words.join().unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    Err(RetrainError::Trainer { ending: status.to_string(), code: status.code(), words })
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

pub(super) fn failed(path: &Path, source: io::Error) -> RetrainError {
    RetrainError::File { path: path.to_owned(), source }
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), RetrainError> {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, path)).map_err(|source| failed(path, source))
}
