//! Where the bench measures: a broker, and a pipeline on it with a name, topics and rules of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::cli::serve::{Service, assembly_with};
use crate::event::Severity;
use crate::model::Scorer;
use crate::pipeline::{RunError, RunOptions, Settings, StageName, TapeEvent, prepare_topics, run};
use crate::rule::{Bound, Rule, SubjectPattern};
use crate::stream::Delivery;
use crate::time::{Clock, SystemClock};

/// Events between the pipeline and the bench; a full queue is waited for.
const EVENTS: usize = 100_000;

/// A broker that this bench started, or one that was there.
pub(super) struct Broker {
    script: Option<PathBuf>,
    folder: PathBuf,
    bootstrap: String,
}

impl Broker {
    /// Starts one with a script, or takes the one of the settings. `base` is a folder for the bench's files.
    pub(super) fn start(script: Option<&Path>, base: &Path, settings: &Settings) -> Result<Self> {
        let folder = base.join("broker");
        std::fs::create_dir_all(&folder)?;
        let Some(script) = script else {
            return Ok(Self { script: None, folder, bootstrap: settings.kafka.bootstrap_servers.clone() });
        };
        let done = Command::new(script).arg("start").arg(&folder).stdout(Stdio::null()).status();
        anyhow::ensure!(done.context("the broker script cannot be run")?.success(), "the broker did not start");
        let bootstrap = std::fs::read_to_string(folder.join("bootstrap"))?.trim().to_owned();
        Ok(Self { script: Some(script.to_owned()), folder, bootstrap })
    }

    /// CPU seconds of the broker so far, when it is ours.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let pid = std::fs::read_to_string(self.folder.join("pid")).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok());
        // utime and stime, in USER_HZ, which is 100 on Linux.
        Some((ticks(11)? + ticks(12)?) / 100.0)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(script) = &self.script {
            drop(Command::new(script).arg("kill").arg(&self.folder).stdout(Stdio::null()).status());
        }
    }
}

/// The settings of one trial: a name of its own, and rules that turn often, so that there are alerts to be timed.
pub(super) fn trial_settings(settings: &Settings, broker: &Broker, base: &Path, name: &str) -> Settings {
    let mut settings = settings.clone();
    settings.name = Arc::from(name);
    for source in &mut settings.sources {
        source.topic = Arc::from(format!("{name}.{}", source.topic));
    }
    settings.kafka.bootstrap_servers.clone_from(&broker.bootstrap);
    settings.archive.url = format!("file://{}", base.join(name).display());
    settings.web.listen.set_port(0);
    for (rule, bound) in [("bench-below", Bound::Below(0.0)), ("bench-above", Bound::Above(0.0))] {
        settings.rules.push(Rule {
            name: Arc::from(rule),
            subjects: vec![SubjectPattern("topic:*".to_owned())],
            bound,
            over: Duration::from_secs(10),
            half_life: Duration::from_secs(5),
            mentions_min: 1,
            hold: Duration::ZERO,
            keep_firing: Duration::ZERO,
            severity: Severity::Info,
        });
    }
    settings
}

/// A pipeline that runs in this process.
pub(super) struct Site {
    pub(super) settings: Settings,
    pub(super) events: Receiver<TapeEvent>,
    /// From the start until every stage said that it is ready.
    pub(super) ready: Duration,
    service: Service,
    stop: Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
}

impl Site {
    /// Starts the stages and waits until they are ready.
    pub(super) fn start(settings: Settings, scorer: Arc<dyn Scorer>, stages: &[StageName]) -> Result<Self> {
        let clock = Arc::new(SystemClock::new());
        let began = clock.monotonic();
        let service = Service::start(&settings, clock.clone(), clock.clone())?;
        let (sender, events) = bounded(EVENTS);
        let wall = clock.clone();
        let assembly = assembly_with(scorer, settings.clone(), &service, (clock.clone(), wall), Some((sender, true)))?;
        prepare_topics(&assembly)?;
        let (stop, stopped) = bounded::<()>(0);
        let options = RunOptions { stages: stages.iter().copied().collect::<BTreeSet<_>>(), until_end: false };
        let running = std::thread::spawn(move || run(&assembly, &options, stopped));
        while let Err(waiting) = service.board.readiness(&*clock) {
            anyhow::ensure!(!running.is_finished(), "the pipeline ended before it was ready: {waiting}");
            clock.pause(Duration::from_millis(5));
        }
        let ready = clock.monotonic().saturating_sub(began);
        Ok(Self { settings, events, ready, service, stop, running })
    }

    /// Rows that a stage has committed.
    pub(super) fn rows(&self, stage: StageName) -> u64 {
        let snapshot = self.service.board.snapshot(&SystemClock::new());
        snapshot.stages.get(stage.as_str()).map_or(0, |status| status.rows)
    }

    /// Whether it ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Lets the stages finish and ends them.
    pub(super) fn end(self) -> Result<()> {
        let Self { events, service, stop, running, .. } = self;
        drop((stop, events));
        let ended = running.join().map_err(|_| anyhow::anyhow!("the pipeline panicked"))?;
        service.end();
        Ok(ended?)
    }
}

/// The word of a pipeline file for a way to deliver.
pub(super) const fn word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::ExactlyOnce => "exactly once",
        Delivery::AtLeastOnce => "at least once",
    }
}
