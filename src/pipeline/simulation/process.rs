//! A process of the simulation: the three stages as `run` assembles them, on the in-process log.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::member::{Actor, Member, State, Work};
use super::posts::POISON;
use super::{COUNTS, LABELS, NEWS, PIPELINE, SOCIAL};
use crate::archive::{ArchiveSettings, SickDisk};
use crate::clean;
use crate::codec::{FieldMap, SourceSettings};
use crate::entity::{Instruments, Linker};
use crate::event::{ModelId, Severity, Verdict};
use crate::kafka::KafkaSettings;
use crate::memory::{Log, ReadBack, Script, Source, Transactions};
use crate::model::{Encoded, ModelSettings, ScoreFailure, ScoreStats, Scorer, Slot, StubScorer, divide};
use crate::pipeline::archive::{ArchiveCore, Challenger, Seat, Worker};
use crate::pipeline::score::{ScoreCore, finish};
use crate::pipeline::stage::Stage;
use crate::pipeline::{Assembly, DeadLetterLimit, Settings, Topics, Witness};
use crate::rule::{Bound, Rule, SubjectPattern};
use crate::sample::Policy;
use crate::stream::{Delivery, Intake, Lease, Output, Position, Record};
use crate::telemetry::LogSettings;
use crate::time::{Clock, ManualClock, Timestamp};
use crate::web::WebSettings;
use crate::window::IndexSettings;

/// The stages by number.
pub(super) const STAGES: [&str; 3] = ["score", "signal", "archive"];

/// How a model feels about the next pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mood {
    #[default]
    Well,
    /// The device is gone.
    Broken,
    /// No batch of more than so many rows fits into its memory.
    Cramped(usize),
    /// It does not come back with an answer before then.
    Stalled(Timestamp),
    /// Its next run fails, and none after that.
    Faltering,
}

/// The clock of a process's machine. Its waiting and measuring are the world's, its wall clock may be wrong.
pub(super) struct MachineClock {
    world: Arc<ManualClock>,
    ahead_us: AtomicI64,
}

impl MachineClock {
    /// Sets it so far ahead of the world's; less than nothing is behind.
    pub(super) fn set(&self, ahead_us: i64) {
        self.ahead_us.store(ahead_us, Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.world.now().micros() + self.ahead_us.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.world.monotonic()
    }

    fn pause(&self, span: Duration) {
        self.world.pause(span);
    }
}

/// The stub with moods.
struct Moody {
    stub: StubScorer,
    mood: Arc<Mutex<Mood>>,
}

impl Scorer for Moody {
    fn id(&self) -> &ModelId {
        self.stub.id()
    }

    fn device(&self) -> &str {
        self.stub.device()
    }

    fn languages(&self) -> &[String] {
        self.stub.languages()
    }

    fn encode(&self, cleaned: &str) -> Result<Encoded, ScoreFailure> {
        self.stub.encode(cleaned)
    }

    fn score(&self, pool: &[Encoded]) -> Vec<Result<Verdict, ScoreFailure>> {
        match std::mem::take(&mut *self.mood.lock().unwrap_or_else(PoisonError::into_inner)) {
            Mood::Well | Mood::Stalled(_) => self.stub.score(pool),
            Mood::Broken => {
                pool.iter().map(|_| Err(ScoreFailure::Broken("sim: the device is gone".to_owned()))).collect()
            }
            Mood::Cramped(rows_max) => self.in_halves(pool, |rows, _| rows > rows_max),
            Mood::Faltering => self.in_halves(pool, |_, runs| runs == 1),
        }
    }

    fn take_stats(&self) -> ScoreStats {
        self.stub.take_stats()
    }
}

impl Moody {
    /// Runs it as batches, of which some fail: by their rows and by how many ran, this one among them.
    fn in_halves(&self, pool: &[Encoded], fails: impl Fn(usize, usize) -> bool) -> Vec<Result<Verdict, ScoreFailure>> {
        let rows: Vec<usize> = (0..pool.len()).collect();
        let mut verdicts: Vec<_> = rows.iter().map(|_| Err(ScoreFailure::Inference("not done".to_owned()))).collect();
        let mut runs = 0;
        let mut run = |batch: &[usize]| {
            runs += 1;
            if fails(batch.len(), runs) {
                return Err(ScoreFailure::Inference("this run failed".to_owned()));
            }
            let texts: Vec<Encoded> = batch.iter().map(|row| pool[*row].clone()).collect();
            self.stub.score(&texts).into_iter().collect()
        };
        divide(&rows, &mut run, &mut |row, verdict| verdicts[row] = verdict);
        verdicts
    }
}

/// What all processes of one simulation share.
pub(super) struct Site {
    pub(super) log: Log,
    pub(super) clock: Arc<ManualClock>,
    pub(super) disk: SickDisk,
    pub(super) delivery: Delivery,
    pub(super) settings: Arc<Settings>,
    /// The limit until it is raised.
    pub(super) limit: DeadLetterLimit,
    /// Every other process has room for next to nothing in its open segments.
    pub(super) is_cramped: bool,
    linker: Arc<Linker>,
    witness: Witness,
}

/// A process.
pub(super) struct Process {
    pub(super) actors: [Box<dyn Actor>; 3],
    pub(super) instance: String,
    pub(super) mood: Arc<Mutex<Mood>>,
    pub(super) clock: Arc<MachineClock>,
    slot: Arc<Slot>,
}

impl Process {
    /// Whether its model lets a stage wait.
    pub(super) fn stalls(&self, stage: usize, now: Timestamp) -> bool {
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        stage == 0 && matches!(mood, Mood::Stalled(until) if now < until)
    }

    /// The model is changed while it runs.
    pub(super) fn swap_model(&self, version: &str) {
        self.slot.swap(scorer(version, &self.mood));
    }
}

fn scorer(version: &str, mood: &Arc<Mutex<Mood>>) -> Arc<dyn Scorer> {
    let stub = StubScorer::new().with_version(version).failing_on(&clean::clean(POISON));
    Arc::new(Moody { stub, mood: mood.clone() })
}

impl Site {
    pub(super) fn new(delivery: Delivery, clock: Arc<ManualClock>, limit: DeadLetterLimit, sample: Policy) -> Self {
        let (log, settings) = (Log::new(), Arc::new(settings(delivery, limit, sample)));
        let topics = Topics::of(PIPELINE);
        for (topic, partitions) in [
            (&Arc::from(NEWS), 2),
            (&Arc::from(SOCIAL), 2),
            (&topics.scored, COUNTS.scored),
            (&topics.mentions, COUNTS.mentions),
            (&topics.index, COUNTS.mentions),
            (&topics.alerts, COUNTS.mentions),
            (&topics.dead_letters, COUNTS.dead_letters),
            (&Arc::from(LABELS), 1),
        ] {
            log.create(topic, partitions);
        }
        let csv = "id,name,aliases\nXNAS:AAA,Aaa,\nXNAS:BBB,Bbb,\nXNYS:CCC,Ccc,\nXNYS:DDD,Ddd,\n";
        let linker = Arc::new(Linker::new(&Instruments::parse(csv).unwrap()));
        let witness = Witness::alone(clock.clone());
        let is_cramped = false;
        Self { log, clock, disk: SickDisk::default(), delivery, settings, limit, is_cramped, linker, witness }
    }

    /// The topics of a stage.
    pub(super) fn inputs(&self, stage: usize) -> Vec<Arc<str>> {
        let topics = Topics::of(PIPELINE);
        match stage {
            0 => self.settings.sources.iter().map(|source| source.topic.clone()).collect(),
            1 => vec![topics.mentions],
            _ => vec![topics.scored, topics.labels],
        }
    }

    /// The consumer group of a stage.
    pub(super) fn group(stage: usize) -> Arc<str> {
        Arc::from(format!("{PIPELINE}.{}", STAGES[stage]))
    }

    /// The transactional id of a stage.
    pub(super) fn id(stage: &str, instance: &str) -> String {
        format!("{PIPELINE}.{stage}.{instance}")
    }

    fn assembly(&self, slot: Arc<Slot>, clock: Arc<dyn Clock>) -> Assembly {
        Assembly {
            settings: self.settings.clone(),
            instruments: Arc::default(),
            linker: self.linker.clone(),
            slot,
            tasks: Arc::default(),
            seat: Seat::default(),
            champion: None,
            witness: self.witness.clone(),
            clock,
        }
    }

    /// What a model of this version that is well makes at `now` of one record alone.
    pub(super) fn outputs_of(&self, record: Record, version: &str, now: Timestamp) -> Vec<Output> {
        let assembly = self.assembly(Arc::new(Slot::new(scorer(version, &Arc::default()))), self.clock.clone());
        let lease = Lease::grant(record.partition.clone());
        let mut intake = Intake::default();
        intake.assign(lease.clone(), Position::at(record.offset));
        let pool = intake.take(&lease, vec![record]).unwrap().live;
        let prepared = assembly.preparer().prepare(pool);
        let rows = finish(prepared, &assembly.routes(COUNTS), &ManualClock::new(now)).unwrap();
        rows.rows().flat_map(|row| row.outputs.clone()).collect()
    }

    /// Starts a process: its producers fence whoever has the same instance.
    pub(super) fn start(&self, instance: &str) -> Process {
        let mood = Arc::default();
        let slot = Arc::new(Slot::new(scorer("1", &mood)));
        let clock = Arc::new(MachineClock { world: self.clock.clone(), ahead_us: AtomicI64::new(0) });
        let mut assembly = self.assembly(slot.clone(), clock.clone());
        if self.is_cramped && instance.ends_with(['1', '3', '5', '7', '9']) {
            Arc::make_mut(&mut assembly.settings).archive.segment_bytes = CRAMPED;
        }
        let interval = self.settings.kafka.commit_interval;
        let routes = assembly.routes(COUNTS);
        let score = assembly.score_core(COUNTS, interval, false).unwrap();
        let (preparer, machine, to) = (assembly.preparer(), clock.clone(), routes.clone());
        // The model may change between the two halves.
        let scoring: Work<ScoreCore> = Box::new(move |pool| {
            let (prepared, machine, to) = (preparer.prepare(pool), machine.clone(), to.clone());
            Box::new(move || finish(prepared, &to, &*machine))
        });
        let signal = assembly.signal_core(COUNTS, interval, false);
        let back = ReadBack { look_back: assembly.signal_settings().look_back(), alerts: routes.topics.alerts.clone() };
        let archive = assembly.archive_core(COUNTS, self.settings.archive.segment_age, false);
        let worker = Rc::new(RefCell::new(Worker {
            store: self.disk.store(),
            clock: clock.clone(),
            on_failure: Box::new(|_| {}),
            quotas: self.settings.sample.quotas(),
            challenger: Challenger::nobody(clock.clone()),
        }));
        let (disk, world) = (self.disk.clone(), self.clock.clone());
        let writing: Work<ArchiveCore> = Box::new(move |segment| {
            let (worker, disk, world) = (worker.clone(), disk.clone(), world.clone());
            Box::new(move || {
                let (refused, began) = (disk.refusals(), world.monotonic());
                let written = worker.borrow_mut().write(segment);
                let was_patient = disk.refusals() - refused >= TRIES && world.monotonic() - began >= TRYING;
                written.map_err(|why| if was_patient { format!("sim: {why}") } else { why })
            })
        });
        let actors: [Box<dyn Actor>; 3] = [
            Box::new(self.member(0, score, (instance, &clock), (None, scoring))),
            Box::new(self.member(1, signal, (instance, &clock), (Some(back), Box::new(|()| Box::new(|| ()))))),
            Box::new(self.member(2, archive, (instance, &clock), (None, writing))),
        ];
        Process { actors, instance: instance.to_owned(), mood, clock, slot }
    }

    fn member<S: Stage>(
        &self,
        stage: usize,
        core: S,
        (instance, clock): (&str, &Arc<MachineClock>),
        (back, work): (Option<ReadBack>, Work<S>),
    ) -> Member<S> {
        let (group, script) = (Self::group(stage), Script::default());
        let id = Self::id(STAGES[stage], instance);
        Member {
            source: Source::new(self.log.clone(), group.clone(), back).with_tail(TIGHT.window_records),
            port: Transactions::new(self.log.clone(), group, &id, self.clock.clone(), script.clone()),
            core,
            script,
            work,
            clock: clock.clone(),
            delivery: self.delivery,
            state: State::default(),
        }
    }
}

/// A limit on dead letters that some seeds meet.
pub(super) const TIGHT: DeadLetterLimit = DeadLetterLimit { window_records: 8, share_max: 0.5 };
/// Bytes that open segments may have where there is next to no room: fewer than a record has.
const CRAMPED: usize = 200;
/// How often a disk must have refused a segment before its process may stop for that, and over how long.
const TRIES: usize = 8;
const TRYING: Duration = Duration::from_secs(30);

/// Short horizons, so that a simulated quarter of an hour is longer than everything that is looked back at.
fn settings(delivery: Delivery, dead_letters: DeadLetterLimit, sample: Policy) -> Settings {
    let source =
        |topic: &str| SourceSettings { topic: Arc::from(topic), kind: Arc::from("news"), fields: FieldMap::default() };
    let rule = |name: &str, pattern: &str, bound, over| Rule {
        name: Arc::from(name),
        subjects: vec![SubjectPattern(pattern.to_owned())],
        bound,
        over: Duration::from_secs(over),
        half_life: Duration::from_secs(over) / 2,
        mentions_min: 2,
        hold: Duration::from_secs(over / 10),
        keep_firing: Duration::from_secs(over / 5),
        severity: Severity::Warning,
    };
    // Where a limit is to be met, what comes before it is committed before.
    let is_tight = dead_letters == TIGHT;
    let commit_interval = if is_tight { Duration::ZERO } else { KafkaSettings::default().commit_interval };
    Settings {
        name: Arc::from(PIPELINE),
        kafka: KafkaSettings { delivery, commit_interval, ..KafkaSettings::default() },
        sources: vec![source(NEWS), source(SOCIAL)],
        model: ModelSettings { pool_posts_max: 6, ..ModelSettings::default() },
        instruments: None,
        index: IndexSettings {
            horizon: Duration::from_secs(40),
            half_life: Duration::from_secs(20),
            novelty_window: Duration::from_secs(60),
            ..IndexSettings::default()
        },
        rules: vec![
            rule("gloom", "XN*", Bound::Below(-0.2), 40),
            rule("joy", "topic:*", Bound::Above(0.1), 20),
            rule("mood", "market", Bound::Below(0.0), 30),
        ],
        archive: ArchiveSettings { segment_rows: 8, segment_age: Duration::from_secs(5), ..ArchiveSettings::default() },
        sample,
        dead_letters,
        web: WebSettings::default(),
        log: LogSettings::default(),
        tick_interval: Duration::from_secs(5),
        grace: Duration::from_secs(30),
    }
}
