//! A pipeline on Kafka: starts the stages, waits for them, stops them one way.
//!
//! Shutdown closes the tap: each stage finishes what it has begun and leaves its group. The first stage that stops with
//! an error stops the others.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use crate::kafka::{KafkaError, TopicPlan, TopicReport, Upkeep, ensure_topics, inspect_topics, partition_counts};
use crate::pipeline::assemble::{AssembleError, Assembly, Counts};
use crate::pipeline::launch::{Launch, Signals};
use crate::pipeline::reload::{reload, reload_challenger};
use crate::pipeline::shell::named;
use crate::pipeline::watch::{Pulse, explain, watch};
use crate::pipeline::{Settings, Topics};
use crate::time::Clock;

/// How long the history of alerts is kept before it is compacted.
const ALERT_HISTORY: Duration = Duration::from_secs(7 * 86_400);

/// One of the three stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageName {
    /// Posts to scored posts and mentions.
    Score,
    /// Mentions to index and alerts.
    Signal,
    /// Scored posts and labels to Parquet.
    Archive,
}

impl StageName {
    /// All of them, in the order of the flow.
    pub const ALL: [Self; 3] = [Self::Score, Self::Signal, Self::Archive];

    /// As in `--stages`, metrics and consumer groups.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Signal => "signal",
            Self::Archive => "archive",
        }
    }
}

/// How a pipeline runs.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Which stages this process runs.
    pub stages: BTreeSet<StageName>,
    /// Work off what is there, then end.
    pub until_end: bool,
}

/// Why a run ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Kafka could not be reached or is not set up.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A part could not be made.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// Topics are not as they must be.
    #[error("the topics are not as they must be: {}", .0.join("; "))]
    Topics(Vec<String>),
    /// A stage stopped; the restart goes on from what is committed.
    #[error("the stage {stage} stopped: {why}")]
    Halted {
        /// Which.
        stage: &'static str,
        /// Why.
        why: String,
    },
    /// Too much of what came in cannot be used; the restart begins where it was, and stops again unless something was
    /// mended.
    #[error("the stage {stage} stopped: {why}")]
    BadData {
        /// Which.
        stage: &'static str,
        /// How much, of what, and what to do.
        why: String,
    },
    /// The grace period was over. The stages still run: nothing may be taken from under them, the process must end.
    #[error("{}still running when the grace period of {} s ended: {}", before(cause.as_deref()), grace.as_secs(), stages.join(", "))]
    Laggards {
        /// Who.
        stages: Vec<&'static str>,
        /// How long was waited.
        grace: Duration,
        /// What had gone wrong before, which is why it was stopped; `None` where somebody asked to stop.
        cause: Option<Box<RunError>>,
    },
}

/// The start of a message about what came after `cause`.
fn before(cause: Option<&RunError>) -> String {
    cause.map_or_else(String::new, |cause| format!("{cause}; "))
}

/// The topics of a pipeline as they should be, its inputs among them.
#[must_use]
pub fn topic_plans(settings: &Settings) -> Vec<TopicPlan> {
    let topics = Topics::of(&settings.name);
    let plan = |name: &Arc<str>, upkeep, alike| TopicPlan { name: name.clone(), upkeep, alike };
    let inputs = settings.sources.iter().map(|source| plan(&source.topic, Upkeep::Input, false));
    inputs
        .chain([
            plan(&topics.scored, Upkeep::Retained, false),
            plan(&topics.mentions, Upkeep::Retained, true),
            plan(&topics.index, Upkeep::Compacted, true),
            plan(&topics.alerts, Upkeep::CompactedAfter(ALERT_HISTORY), true),
            plan(&topics.dead_letters, Upkeep::Retained, false),
            plan(&topics.labels, Upkeep::Kept, false),
        ])
        .collect()
}

/// Creates the topics of a pipeline that has none yet; findings about what is there are told. Where only some are
/// missing, others are creating them, or somebody has deleted them: what is gone is not made anew without being asked.
///
/// # Errors
/// [`KafkaError::MissingTopics`] when some are still missing after `start_timeout`; when Kafka cannot be reached or
/// refuses.
pub fn prepare_topics(assembly: &Assembly) -> Result<(TopicReport, Counts), KafkaError> {
    let (settings, clock) = (&assembly.settings, &*assembly.clock);
    let plans = topic_plans(settings);
    let names: Vec<Arc<str>> = plans.iter().map(|plan| plan.name.clone()).collect();
    let began = clock.monotonic();
    let report = loop {
        let report = inspect_topics(&settings.kafka, &plans, clock)?;
        let is_own = |topic: &&Arc<str>| settings.sources.iter().all(|source| source.topic != **topic);
        let (own, missing) = (names.iter().filter(is_own).count(), report.missing.iter().filter(is_own).count());
        if report.missing.is_empty() {
            break report;
        }
        if own == missing {
            break ensure_topics(&settings.kafka, &plans, clock)?;
        }
        if clock.monotonic().saturating_sub(began) >= settings.kafka.start_timeout {
            return Err(KafkaError::MissingTopics(report.missing.iter().map(ToString::to_string).collect()));
        }
        clock.pause(Duration::from_millis(200));
    };
    // Another broker may not have heard yet of what was just made.
    loop {
        match counts(settings, clock)? {
            Ok(counts) => return Ok((report, counts)),
            Err(missing) if clock.monotonic().saturating_sub(began) >= settings.kafka.start_timeout => {
                return Err(KafkaError::MissingTopics(missing));
            }
            Err(_) => clock.pause(Duration::from_millis(200)),
        }
    }
}

/// The partitions of the topics that a pipeline writes to; or those topics that have none.
fn counts(settings: &Settings, clock: &dyn Clock) -> Result<Result<Counts, Vec<String>>, KafkaError> {
    let Topics { scored, mentions, dead_letters, .. } = Topics::of(&settings.name);
    let names = [scored, mentions, dead_letters];
    let found = partition_counts(&settings.kafka, &names, clock)?;
    Ok(match names.each_ref().map(|name| found.get(name).copied()) {
        [Some(scored), Some(mentions), Some(dead_letters)] => Ok(Counts { scored, mentions, dead_letters }),
        _ => Err(names.iter().filter(|name| !found.contains_key(*name)).map(ToString::to_string).collect()),
    })
}

/// Runs the stages until `shutdown` is disconnected, until the end where that was asked, or until one stops.
///
/// # Errors
/// [`RunError`], the first one.
pub fn run(assembly: &Assembly, options: &RunOptions, shutdown: Receiver<()>) -> Result<(), RunError> {
    for stage in &options.stages {
        assembly.witness.board.stage(stage.as_str(), false, "connecting");
    }
    let (report, counts) = prepare_topics(assembly)?;
    for (topic, partitions) in &report.created {
        tracing::info!(%topic, partitions, "created");
    }
    let fatal: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.halts)
        .map(|finding| format!("{}: {}; {}", finding.topic, finding.message, finding.remedy))
        .collect();
    if !fatal.is_empty() {
        return Err(RunError::Topics(fatal));
    }
    for finding in &report.findings {
        tracing::warn!(topic = %finding.topic, "{}; {}", finding.message, finding.remedy);
    }
    let launch = Launch {
        assembly: assembly.clone(),
        counts,
        until_end: options.until_end,
        instance: instance(assembly),
        pulse: Pulse::default(),
    };
    Fleet::start(&launch, options)?.wait(assembly, shutdown).map_err(|error| explain(assembly, error))
}

/// What happens to a fleet.
enum Event {
    /// Somebody asked to stop.
    Stop,
    /// The watch has a reason to stop.
    Noticed(RunError),
    /// The watch has ended.
    Unwatched,
    /// A stage has ended.
    Ended((StageName, Result<(), RunError>)),
}

/// The running stages.
struct Fleet {
    stages: Vec<(StageName, Option<JoinHandle<()>>)>,
    ended: Receiver<(StageName, Result<(), RunError>)>,
    /// A topic is not as it must be any more.
    noticed: Receiver<RunError>,
    /// Dropped to stop every stage.
    stop: Option<Sender<()>>,
    /// Dropped when nothing more will be written by the stages before: what there is then is the end.
    upstream: Option<Sender<()>>,
}

impl Fleet {
    fn start(launch: &Launch, options: &RunOptions) -> Result<Self, RunError> {
        let (stop, stopped) = bounded::<()>(0);
        let (upstream, drained) = bounded::<()>(0);
        let noticed = watch(&launch.assembly.settings, launch.pulse.clone(), stopped.clone())?;
        let (report, ended) = bounded(StageName::ALL.len());
        let mut stages = Vec::new();
        for stage in &options.stages {
            let (launch, stage, report) = (launch.clone(), *stage, report.clone());
            let signals = Signals { stopped: stopped.clone(), drained: drained.clone() };
            let thread = named(stage.as_str(), move || {
                let result = launch.stage(stage, signals);
                drop(report.send((stage, result)));
            });
            let none_left =
                |error| RunError::Halted { stage: stage.as_str(), why: format!("starting a thread: {error}") };
            let thread = thread.map_err(none_left)?;
            stages.push((stage, Some(thread)));
        }
        let has_score = options.stages.contains(&StageName::Score);
        if has_score {
            let none_left = |error| RunError::Halted { stage: "score", why: format!("starting a thread: {error}") };
            reload(&launch.assembly, stopped.clone()).map_err(none_left)?;
        }
        if options.stages.contains(&StageName::Archive) {
            let none_left = |error| RunError::Halted { stage: "archive", why: format!("starting a thread: {error}") };
            reload_challenger(&launch.assembly, stopped).map_err(none_left)?;
        }
        Ok(Self { stages, ended, noticed, stop: Some(stop), upstream: has_score.then_some(upstream) })
    }

    fn wait(mut self, assembly: &Assembly, mut shutdown: Receiver<()>) -> Result<(), RunError> {
        let mut result = Ok(());
        let mut deadline: Option<Duration> = None;
        let grace = assembly.settings.grace;
        while !self.stages.is_empty() {
            let left = deadline.map_or(Duration::from_secs(3_600), |at| at.saturating_sub(assembly.clock.monotonic()));
            let event = select! {
                recv(shutdown) -> _ => Event::Stop,
                recv(self.ended) -> ended => ended.map_or(Event::Stop, Event::Ended),
                recv(self.noticed) -> noticed => noticed.map_or(Event::Unwatched, Event::Noticed),
                default(left) => {
                    if deadline.is_some() {
                        let stages = self.stages.iter().map(|(stage, _)| stage.as_str()).collect();
                        return Err(RunError::Laggards { stages, grace, cause: result.err().map(Box::new) });
                    }
                    continue;
                }
            };
            // After the wait, which may have been long: grace begins now.
            let now = assembly.clock.monotonic();
            match event {
                Event::Stop => {
                    tracing::info!("stopping: finishing what is begun");
                    shutdown = never();
                    self.stop = None;
                    deadline.get_or_insert(now + grace);
                }
                Event::Noticed(reason) => {
                    tracing::error!(%reason, "stopping");
                    self.stop = None;
                    deadline.get_or_insert(now + grace);
                    result = result.and(Err(reason));
                }
                Event::Unwatched => self.noticed = never(),
                Event::Ended((stage, ended)) => {
                    self.join(stage);
                    if stage == StageName::Score {
                        self.upstream = None;
                    }
                    if let Err(error) = ended {
                        tracing::error!(stage = stage.as_str(), %error, "stopped");
                        self.stop = None;
                        deadline.get_or_insert(now + grace);
                        result = result.and(Err(error));
                    }
                }
            }
        }
        result
    }

    fn join(&mut self, ended: StageName) {
        for (stage, thread) in &mut self.stages {
            if *stage == ended
                && let Some(thread) = thread.take()
                && thread.join().is_err()
            {
                tracing::error!(stage = stage.as_str(), "the stage panicked");
            }
        }
        self.stages.retain(|(stage, _)| *stage != ended);
    }
}

/// Unique in practice; a configured one must be unique in truth.
fn instance(assembly: &Assembly) -> String {
    let random = || format!("{:016x}", RandomState::new().build_hasher().finish());
    assembly.settings.kafka.instance.clone().unwrap_or_else(random)
}
