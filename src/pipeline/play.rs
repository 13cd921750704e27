//! A pipeline on the in-process log, without a broker: the same cores, driven one after the other.
//!
//! Append time is simulated: a post is appended at its own `published_at` (never before what was appended already),
//! and ticks come at their interval in between, so years of posts give the index and alerts that they would have given
//! then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::memory::{Log, ReadBack, Script, Source, Transactions};
use crate::pipeline::archive::ArchiveCore;
use crate::pipeline::assemble::{AssembleError, Assembly, Counts};
use crate::pipeline::score::{Draft, ScoreCore};
use crate::pipeline::signal::SignalCore;
use crate::pipeline::stage::{Stage, Stop};
use crate::pipeline::station::Station;
use crate::stream::{Headers, Output, Partition, Record};
use crate::time::{ManualClock, Timestamp};

/// Segments of simulated time end at this age: years of posts would make a file every five minutes else.
const SEGMENT_AGE: Duration = Duration::from_secs(86_400);

/// One partition of everything: one process plays alone.
const COUNTS: Counts = Counts { scored: 1, mentions: 1, dead_letters: 1 };

/// A record to be played.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayRecord {
    /// The input topic.
    pub topic: Arc<str>,
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's bytes.
    pub value: Bytes,
    /// When it is to be appended; `None`: right after the one before.
    pub at: Option<Timestamp>,
}

/// Why a play stopped.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// A part could not be made.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A record names a topic that the pipeline does not read.
    #[error("the pipeline reads no topic `{0}`")]
    UnknownTopic(String),
    /// A stage stopped.
    #[error("{0}")]
    Halted(String),
    /// Too many of the records cannot be used.
    #[error("{0}")]
    BadData(String),
}

impl From<Stop> for PlayError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fault(why) => Self::Halted(why),
            Stop::BadData(why) => Self::BadData(why),
        }
    }
}

/// A pipeline that is being played.
pub struct Play {
    assembly: Assembly,
    log: Log,
    clock: Arc<ManualClock>,
    score: Station<ScoreCore>,
    signal: Station<SignalCore>,
    archive: Station<ArchiveCore>,
    next_tick: Option<Timestamp>,
}

impl Play {
    /// Sets the stages up on an empty log. `clock` is the assembly's clock, moved by this play.
    ///
    /// # Errors
    /// When the archive cannot be opened.
    pub fn new(assembly: Assembly, clock: Arc<ManualClock>) -> Result<Self, PlayError> {
        let log = Log::new();
        let routes = assembly.routes(COUNTS);
        let topics = &routes.topics;
        for source in &assembly.settings.sources {
            log.create(&source.topic, 1);
        }
        for topic in
            [&topics.scored, &topics.mentions, &topics.index, &topics.alerts, &topics.dead_letters, &topics.labels]
        {
            log.create(topic, 1);
        }
        let read_back = ReadBack { look_back: assembly.signal_settings().look_back(), alerts: topics.alerts.clone() };
        let inputs: Vec<Arc<str>> = assembly.settings.sources.iter().map(|source| source.topic.clone()).collect();
        let halted = || PlayError::Halted("the pipeline has no source".to_owned());
        let score = assembly.score_core(COUNTS, Duration::ZERO, false).ok_or_else(halted)?;
        let signal = assembly.signal_core(COUNTS, Duration::ZERO, false);
        let archive = assembly.archive_core(COUNTS, SEGMENT_AGE, false);
        let (preparer, finisher, score_routes) = (assembly.preparer(), assembly.clone(), routes.clone());
        let score_work = Box::new(move |pool| finisher.finish(preparer.prepare(pool), &score_routes));
        let archive_work = Box::new(assembly.archive_worker()?);
        let station = Stationing { assembly: &assembly, log: &log, clock: &clock };
        let score = station.at("score", score, &inputs, (None, score_work));
        let signal =
            station.at("signal", signal, std::slice::from_ref(&topics.mentions), (Some(read_back), Box::new(|()| ())));
        let archived = [topics.scored.clone(), topics.labels.clone()];
        let archive = station.at("archive", archive, &archived, (None, archive_work));
        for stage in ["score", "signal", "archive"] {
            assembly.witness.board.stage(stage, true, "playing");
        }
        Ok(Self { assembly, log, clock, score, signal, archive, next_tick: None })
    }

    /// Plays one record: time moves to it, ticks included, then it goes through all stages.
    ///
    /// # Errors
    /// When a stage halts, or the record's topic is not read.
    pub fn play(&mut self, record: &PlayRecord) -> Result<(), PlayError> {
        let partition = Partition::new(&record.topic, 0);
        if let Some(at) = record.at {
            self.pass_until(at)?;
        }
        let output = Output {
            topic: partition.topic.clone(),
            partition: partition.number,
            key: record.key.clone(),
            value: Some(record.value.clone()),
            headers: Headers::new(),
        };
        let now = crate::time::Clock::now(&*self.clock);
        self.log.append(&output, now).map_err(|_| PlayError::UnknownTopic(record.topic.to_string()))?;
        self.turn()
    }

    /// Asks the model for the answers of records that are about to be played, all together: they are found in its
    /// cache afterwards. Changes nothing but speed.
    pub fn look_ahead(&self, records: &[PlayRecord]) {
        let preparer = self.assembly.preparer();
        let scorer = self.assembly.slot.get();
        let mut pool = Vec::with_capacity(records.len());
        for record in records {
            let record = Record {
                partition: Partition::new(&record.topic, 0),
                offset: 0,
                appended_at: Timestamp::default(),
                key: None,
                value: Some(record.value.clone()),
                headers: Headers::new(),
            };
            if let Draft::Post(draft) = preparer.draft(record, &*scorer)
                && let Ok(question) = draft.question
            {
                pool.push(question);
            }
        }
        drop(scorer.score(&pool));
        self.assembly.witness.scoring(pool.len(), &scorer.take_stats());
    }

    /// Lets time pass until `at`, with every tick on the way.
    ///
    /// # Errors
    /// When a stage halts.
    pub fn pass_until(&mut self, at: Timestamp) -> Result<(), PlayError> {
        let interval = self.assembly.settings.tick_interval;
        let mut tick = match self.next_tick {
            Some(tick) => tick,
            None => next_slot(at.minus(interval), interval),
        };
        while tick <= at {
            self.clock.move_to(tick);
            self.turn()?;
            tick = tick.plus(interval);
        }
        self.next_tick = Some(tick);
        self.clock.move_to(at);
        Ok(())
    }

    /// Ends the play: one more tick, then every stage finishes and the last segments are published.
    ///
    /// # Errors
    /// When a stage halts.
    pub fn finish(&mut self) -> Result<(), PlayError> {
        if let Some(tick) = self.next_tick {
            self.pass_until(tick)?;
        }
        self.score.finish().map_err(PlayError::from)?;
        self.turn()?;
        self.signal.finish().map_err(PlayError::from)?;
        self.archive.finish().map_err(PlayError::from)?;
        for (station, finished) in
            [("score", self.score.finished), ("signal", self.signal.finished), ("archive", self.archive.finished)]
        {
            if !finished {
                return Err(PlayError::Halted(format!("the stage {station} did not finish")));
            }
            self.assembly.witness.board.stage(station, true, "finished");
        }
        self.assembly.witness.board.finish();
        Ok(())
    }

    /// Every stage takes what waits for it; what every stage is done with is forgotten.
    fn turn(&mut self) -> Result<(), PlayError> {
        self.score.run().map_err(PlayError::from)?;
        self.signal.run().map_err(PlayError::from)?;
        self.archive.run().map_err(PlayError::from)?;
        self.forget();
        Ok(())
    }

    /// Forgets what every stage is done with; index, alerts and dead letters have no reader here.
    fn forget(&self) {
        let topics = crate::pipeline::Topics::of(&self.assembly.settings.name);
        let group = |stage: &str| -> Arc<str> { Arc::from(format!("{}.{stage}", self.assembly.settings.name)) };
        let (score, signal, archive) = (group("score"), group("signal"), group("archive"));
        for source in &self.assembly.settings.sources {
            self.forget_until(&source.topic, Some(&score));
        }
        self.forget_until(&topics.mentions, Some(&signal));
        self.forget_until(&topics.scored, Some(&archive));
        for topic in [&topics.index, &topics.alerts, &topics.dead_letters] {
            self.forget_until(topic, None);
        }
    }

    fn forget_until(&self, topic: &Arc<str>, group: Option<&Arc<str>>) {
        let partition = Partition::new(topic, 0);
        let end = group.map_or_else(|| self.log.end(&partition), |group| self.log.committed(group, &partition));
        self.log.forget_before(&partition, end);
    }
}

/// The first tick after `at`: ticks stand at whole multiples of the interval.
fn next_slot(at: Timestamp, interval: Duration) -> Timestamp {
    let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
    Timestamp::from_micros((at.micros().div_euclid(interval) + 1).saturating_mul(interval))
}

type Work<S> = Box<dyn FnMut(<S as Stage>::Job) -> <S as Stage>::Done + Send>;

struct Stationing<'a> {
    assembly: &'a Assembly,
    log: &'a Log,
    clock: &'a Arc<ManualClock>,
}

impl Stationing<'_> {
    fn at<S: Stage>(
        &self,
        name: &'static str,
        core: S,
        inputs: &[Arc<str>],
        (read_back, work): (Option<ReadBack>, Work<S>),
    ) -> Station<S> {
        let group: Arc<str> = Arc::from(format!("{}.{name}", self.assembly.settings.name));
        let mut source = Source::new(self.log.clone(), group.clone(), read_back);
        for topic in inputs {
            source.assign_topic(topic);
        }
        let port = Transactions::new(self.log.clone(), group.clone(), &group, self.clock.clone(), Script::default());
        let clock = self.clock.clone();
        Station { name, core, source, port, work, clock, witness: self.assembly.witness.clone(), finished: false }
    }
}
