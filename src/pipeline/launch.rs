//! Launching one stage on Kafka: its place in the group, its producer, its core and its workers.

use std::sync::Arc;

use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, never};

use crate::archive::{missing_folder, segment_elsewhere};
use crate::kafka::{KafkaTransaction, Producer, Reach, ReadBack, Source, SourceConfig, SourceHandle, Traces};
use crate::pipeline::assemble::{Assembly, Counts};
use crate::pipeline::score::Prepared;
use crate::pipeline::shell::{FEED_QUEUE, Shell, SourceControl, named};
use crate::pipeline::stage::{Stage, Stop};
use crate::pipeline::watch::Pulse;
use crate::pipeline::witness::Told;
use crate::pipeline::{RunError, StageName, Topics};
use crate::stream::{Command, Delivery, Feed, Partition};
use crate::time::Clock;

/// A source that has not polled for this long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(15);

/// What a stage is told from outside.
pub(in crate::pipeline) struct Signals {
    pub(in crate::pipeline) stopped: Receiver<()>,
    pub(in crate::pipeline) drained: Receiver<()>,
}

/// What every stage is launched with.
#[derive(Clone)]
pub(in crate::pipeline) struct Launch {
    pub(in crate::pipeline) assembly: Assembly,
    pub(in crate::pipeline) counts: Counts,
    pub(in crate::pipeline) until_end: bool,
    /// Part of the transactional ids.
    pub(in crate::pipeline) instance: String,
    /// Whether the brokers answer.
    pub(in crate::pipeline) pulse: Pulse,
}

impl Launch {
    /// Runs a stage until it ends.
    ///
    /// # Errors
    /// Why it stopped.
    pub(in crate::pipeline) fn stage(&self, stage: StageName, signals: Signals) -> Result<(), RunError> {
        let settings = &self.assembly.settings;
        let topics = Topics::of(&settings.name);
        let interval = settings.kafka.commit_interval;
        match stage {
            StageName::Score => {
                let inputs = settings.sources.iter().map(|source| source.topic.clone()).collect();
                let Some(core) = self.assembly.score_core(self.counts, interval, self.until_end) else {
                    return Err(RunError::Halted { stage: "score", why: "the pipeline has no source".to_owned() });
                };
                let link = self.link(stage, inputs, None, Traces::Records(vec![topics.scored, topics.mentions]))?;
                let (preparer, assembly) = (self.assembly.preparer(), self.assembly.clone());
                let routes = self.assembly.routes(self.counts);
                self.shell(stage, core, link, signals)?.run(move |jobs, done| {
                    let (prepared, waiting) = bounded::<Prepared>(1);
                    let first = named("score-prepare", move || {
                        for pool in jobs {
                            if prepared.send(preparer.prepare(pool)).is_err() {
                                return;
                            }
                        }
                    });
                    let second = named("score-infer", move || {
                        for pool in waiting {
                            if !done.hand_in(assembly.finish(pool, &routes)) {
                                return;
                            }
                        }
                    });
                    Ok(vec![first?, second?])
                })
            }
            StageName::Signal => {
                let signal = self.assembly.signal_settings();
                let read_back = ReadBack { look_back: signal.look_back(), alerts_topic: topics.alerts.clone() };
                let core = self.assembly.signal_core(self.counts, interval, self.until_end);
                let traces = Traces::Records(vec![topics.index, topics.alerts]);
                let link = self.link(stage, vec![topics.mentions], Some(read_back), traces)?;
                self.shell(stage, core, link, signals)?
                    .run(|jobs, _| Ok(vec![named("signal-work", move || for () in jobs {})?]))
            }
            StageName::Archive => {
                let mut write = self.assembly.archive_worker()?;
                let core = self.assembly.archive_core(self.counts, settings.archive.segment_age, self.until_end);
                let archive = settings.archive.clone();
                let made = move |at: &Partition, low| {
                    let found = segment_elsewhere(&archive, at, low).map_err(|error| error.to_string())?;
                    Ok(found.map(|path| path.display().to_string()))
                };
                let archive = settings.archive.clone();
                let missing = move || missing_folder(&archive).map(|path| path.display().to_string());
                let traces = Traces::Elsewhere { made: Box::new(made), missing: Box::new(missing) };
                let link = self.link(stage, vec![topics.scored, topics.labels], None, traces)?;
                self.shell(stage, core, link, signals)?.run(move |jobs, done| {
                    Ok(vec![named("archive-write", move || {
                        for segment in jobs {
                            if !done.hand_in(write(segment)) {
                                return;
                            }
                        }
                    })?])
                })
            }
        }
        .map_err(|stop| match stop {
            Stop::Fault(why) => RunError::Halted { stage: stage.as_str(), why },
            Stop::BadData(why) => RunError::BadData { stage: stage.as_str(), why },
        })
    }

    /// Joins the stage's group.
    fn link(
        &self,
        stage: StageName,
        topics: Vec<Arc<str>>,
        read_back: Option<ReadBack>,
        traces: Traces,
    ) -> Result<Link, RunError> {
        let (sender, feed) = bounded(FEED_QUEUE);
        let name = &self.assembly.settings.name;
        let config = SourceConfig {
            settings: self.assembly.settings.kafka.clone(),
            group: format!("{name}.{}", stage.as_str()),
            topics,
            read_back,
            // At least once outputs come before their positions: who was killed between began with none.
            traces: match (self.assembly.settings.kafka.delivery, traces) {
                (Delivery::AtLeastOnce, Traces::Records(_)) => Traces::None,
                (_, traces) => traces,
            },
            tail: self.assembly.settings.dead_letters.window_records,
            until_end: self.until_end && stage == StageName::Score,
            client_id: format!("{name}.{}.{}", stage.as_str(), self.instance),
            clock: self.assembly.clock.clone(),
        };
        let source = Source::start(config, move |event: Feed| sender.send(event).is_ok())?;
        Ok(Link { feed, source })
    }

    fn shell<S: Stage>(&self, stage: StageName, core: S, link: Link, signals: Signals) -> Result<Shell<S>, RunError>
    where
        S::Note: Told,
    {
        let port = self.producer(stage, &link.source)?;
        let ending = if self.until_end && stage != StageName::Score { signals.drained } else { never() };
        Ok(Shell {
            name: stage.as_str(),
            core,
            feed: link.feed,
            source: Box::new(Control {
                source: link.source,
                clock: self.assembly.clock.clone(),
                pulse: self.pulse.clone(),
            }),
            port: Box::new(port),
            delivery: self.assembly.settings.kafka.delivery,
            clock: self.assembly.clock.clone(),
            witness: self.assembly.witness.clone(),
            shutdown: signals.stopped,
            ending,
        })
    }

    /// Where an earlier process of this instance may have left something: nowhere, where its name is made at the start.
    fn reach(&self, stage: StageName) -> Reach {
        if self.assembly.settings.kafka.instance.is_none() {
            return Reach::default();
        }
        let (topics, counts) = (Topics::of(&self.assembly.settings.name), self.counts);
        let letters = (topics.dead_letters, counts.dead_letters);
        let (input, outputs) = match stage {
            StageName::Score => {
                let input = self.assembly.settings.sources.first().map(|source| source.topic.clone());
                (input, vec![(topics.scored, counts.scored), (topics.mentions, counts.mentions), letters])
            }
            StageName::Signal => {
                let outputs = vec![(topics.index, counts.mentions), (topics.alerts, counts.mentions), letters];
                (Some(topics.mentions), outputs)
            }
            StageName::Archive => (Some(topics.scored), vec![letters]),
        };
        let partitions = |(topic, count)| (0..count).map(move |number| Partition::new(&topic, number));
        Reach { input, outputs: outputs.into_iter().flat_map(partitions).collect() }
    }

    fn producer(&self, stage: StageName, source: &SourceHandle) -> Result<KafkaTransaction, RunError> {
        let (settings, clock) = (&self.assembly.settings.kafka, self.assembly.clock.clone());
        let id = format!("{}.{}.{}", self.assembly.settings.name, stage.as_str(), self.instance);
        Ok(match settings.delivery {
            Delivery::ExactlyOnce => {
                Producer::exactly_once(settings, &id, source.membership(), &self.reach(stage), clock)?
            }
            Delivery::AtLeastOnce => Producer::at_least_once(settings, &id, source.membership(), clock)?,
        })
    }
}

/// A stage's place in its group.
struct Link {
    feed: Receiver<Feed>,
    source: SourceHandle,
}

/// The source as a shell sees it.
struct Control {
    source: SourceHandle,
    clock: Arc<dyn Clock>,
    pulse: Pulse,
}

impl SourceControl for Control {
    fn command(&self, command: Command) {
        self.source.command(command);
    }

    fn mark_end(&self) {
        self.source.mark_end();
    }

    fn lags(&self) -> Vec<(Partition, i64)> {
        self.source.lags().into_iter().map(|lag| (lag.partition, lag.records)).collect()
    }

    fn health(&self) -> Result<(), String> {
        let silent = self.clock.monotonic().saturating_sub(self.source.polled_at());
        if silent > HANGS_AFTER {
            return Err(format!("the source has not polled for {} s", silent.as_secs()));
        }
        self.pulse.trouble().map_or(Ok(()), Err)
    }
}
