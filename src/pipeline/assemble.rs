//! The parts that every way of running shares (Kafka, `play`, the bench), made once from the settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::{ArchiveError, Store};
use crate::codec::Envelope;
use crate::entity::{Instruments, Linker};
use crate::metrics;
use crate::model::{Scorer, Slot, Task};
use crate::onnx::Champion;
use crate::pipeline::archive::{ArchiveCore, ArchiveLimits, Challenger, Seat, Segment, SegmentDone, Worker};
use crate::pipeline::reload::announce;
use crate::pipeline::score::{Prepared, Preparer, Routes, ScoreCore, ScoreNote, ScoreSettings, finish};
use crate::pipeline::signal::{SignalCore, SignalSettings};
use crate::pipeline::witness::Witness;
use crate::pipeline::{Settings, Topics};
use crate::stream::{Batch, Partition, Row};
use crate::time::Clock;

/// The partition counts of the topics that a pipeline owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Of the scored topic.
    pub scored: i32,
    /// Of mentions, index and alerts.
    pub mentions: i32,
    /// Of the dead letters.
    pub dead_letters: i32,
}

/// A part that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The instruments file cannot be read.
    #[error("the instruments file {} cannot be read: {source}", path.display())]
    InstrumentsUnread {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The instruments file has mistakes.
    #[error("the instruments file {} has {} mistakes: {}", path.display(), problems.len(), problems.join("; "))]
    Instruments {
        /// Which.
        path: PathBuf,
        /// Line and mistake.
        problems: Vec<String>,
    },
    /// The archive cannot be opened.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// The shared parts.
#[derive(Clone)]
pub struct Assembly {
    /// The whole pipeline's settings.
    pub settings: Arc<Settings>,
    /// The instruments.
    pub instruments: Arc<Instruments>,
    /// Finds them in texts.
    pub linker: Arc<Linker>,
    /// The model.
    pub slot: Arc<Slot>,
    /// What labels may answer; anything where it is empty.
    pub tasks: Arc<[Task]>,
    /// Who is tried beside it.
    pub seat: Seat,
    /// Where the next one comes from; `None`: this one answers for good.
    pub champion: Option<Arc<Champion>>,
    /// Told of every commit.
    pub witness: Witness,
    /// Time as records see it.
    pub clock: Arc<dyn Clock>,
}

impl Assembly {
    /// Reads the instruments and joins the parts.
    ///
    /// # Errors
    /// When the instruments cannot be read.
    pub fn new(
        settings: Arc<Settings>,
        scorer: Arc<dyn Scorer>,
        witness: Witness,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AssembleError> {
        let instruments = Arc::new(read_instruments(&settings)?);
        let linker = Arc::new(Linker::new(&instruments));
        announce(&witness, &*scorer);
        let slot = Arc::new(Slot::new(scorer));
        Ok(Self {
            settings,
            instruments,
            linker,
            slot,
            tasks: Arc::default(),
            seat: Seat::default(),
            champion: None,
            witness,
            clock,
        })
    }

    /// With labels of these tasks alone.
    #[must_use]
    pub fn answering(self, tasks: &[Task]) -> Self {
        Self { tasks: tasks.into(), ..self }
    }

    /// With a champion that replaces the model while it runs.
    #[must_use]
    pub fn with_champion(self, champion: Option<Champion>) -> Self {
        Self { champion: champion.map(Arc::new), ..self }
    }

    /// What preparing a pool needs.
    #[must_use]
    pub fn preparer(&self) -> Preparer {
        Preparer {
            sources: self.settings.sources.clone().into(),
            linker: self.linker.clone(),
            slot: self.slot.clone(),
            value_bytes_max: self.settings.kafka.record_bytes_max,
        }
    }

    /// Where records go.
    #[must_use]
    pub fn routes(&self, counts: Counts) -> Routes {
        Routes {
            topics: Topics::of(&self.settings.name),
            envelope: Envelope { source: Arc::from(format!("bellwether/{}", self.settings.name)) },
            scored: counts.scored,
            mentions: counts.mentions,
            dead_letters: counts.dead_letters,
            value_bytes_max: self.settings.kafka.record_bytes_max,
        }
    }

    /// The score stage's core; `None` when there is no source, which `config` refuses.
    #[must_use]
    pub fn score_core(&self, counts: Counts, commit_interval: Duration, until_end: bool) -> Option<ScoreCore> {
        let settings = &self.settings;
        let first = settings.sources.first()?;
        let core = ScoreSettings {
            pool_posts_max: settings.model.pool_posts_max,
            pool_bytes_max: settings.model.pool_bytes_max,
            pool_wait_max: settings.model.pool_wait_max,
            commit_interval,
            until_end,
            tick_partition: Partition::new(&first.topic, 0),
            tick_interval: settings.tick_interval,
            sources: settings.sources.clone().into(),
            limit: settings.dead_letters,
        };
        Some(ScoreCore::new(core, self.routes(counts)))
    }

    /// The signal stage's core.
    #[must_use]
    pub fn signal_core(&self, counts: Counts, commit_interval: Duration, until_end: bool) -> SignalCore {
        SignalCore::new(self.signal_settings(), self.routes(counts), commit_interval, until_end)
            .stopping_at(self.settings.dead_letters)
    }

    /// What the signal stage needs to know.
    #[must_use]
    pub fn signal_settings(&self) -> Arc<SignalSettings> {
        Arc::new(SignalSettings::of(&self.settings).naming(&self.instruments))
    }

    /// The archive stage's core; segments end at `age` at the latest.
    #[must_use]
    pub fn archive_core(&self, counts: Counts, age: Duration, until_end: bool) -> ArchiveCore {
        let archive = &self.settings.archive;
        let limits = ArchiveLimits {
            rows: archive.segment_rows,
            bytes: archive.segment_bytes,
            age,
            policy: self.settings.sample.clone(),
            until_end,
        };
        ArchiveCore::new(limits, self.routes(counts))
            .stopping_at(self.settings.dead_letters)
            .knowing(self.tasks.clone())
    }

    /// The second half of scoring, with the model's figures told to the witness.
    ///
    /// # Errors
    /// The reason to halt.
    pub fn finish(&self, prepared: Prepared, routes: &Routes) -> Result<Batch<Row<ScoreNote>>, String> {
        let (scorer, posts) = (prepared.scorer.clone(), prepared.batch.len());
        let rows = finish(prepared, routes, &*self.clock);
        self.witness.scoring(posts, &scorer.take_stats());
        rows
    }

    /// What writes segments.
    ///
    /// # Errors
    /// When the archive cannot be opened.
    pub fn archive_worker(
        &self,
    ) -> Result<impl FnMut(Segment) -> Result<SegmentDone, String> + Send + use<>, AssembleError> {
        let store = Store::open(&self.settings.archive)?;
        let metrics = self.witness.metrics.clone();
        let share = self.settings.model.challenger_share;
        let mut worker = Worker {
            quotas: self.settings.sample.quotas(),
            challenger: Challenger::new(self.seat.clone(), share, self.clock.clone(), self.witness.clone()),
            store,
            clock: self.clock.clone(),
            on_failure: Box::new(move |why| {
                tracing::warn!(why, "a segment could not be written, trying again");
                metrics.add(&metrics::SEGMENT_FAILURES, &[], 1);
            }),
        };
        Ok(move |segment| worker.write(segment))
    }
}

/// Reads the instruments that the settings name; none where they name no file.
///
/// # Errors
/// When the file cannot be read or has mistakes.
pub fn read_instruments(settings: &Settings) -> Result<Instruments, AssembleError> {
    let Some(path) = &settings.instruments else { return Ok(Instruments::default()) };
    let csv = std::fs::read_to_string(path)
        .map_err(|source| AssembleError::InstrumentsUnread { path: path.clone(), source })?;
    Instruments::parse(&csv).map_err(|problems| AssembleError::Instruments {
        path: path.clone(),
        problems: problems.iter().map(ToString::to_string).collect(),
    })
}
