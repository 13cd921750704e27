//! While a commit does not end, a stage takes in no more than its bounds say; when it ends, everything else comes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::{Envelope, FieldMap, SourceSettings};
use crate::entity::{Instruments, Linker};
use crate::memory::{Log, Script, Source, Transactions};
use crate::model::{Slot, StubScorer};
use crate::pipeline::archive::{ArchiveCore, ArchiveLimits};
use crate::pipeline::flow::EPOCH_ROWS_MAX;
use crate::pipeline::score::{Preparer, Routes, ScoreCore, ScoreSettings, finish};
use crate::pipeline::signal::{SignalCore, SignalSettings};
use crate::pipeline::stage::{Effect, Event, Stage, WORK_MAX};
use crate::pipeline::{DeadLetterLimit, Topics};
use crate::sample::Policy;
use crate::stream::{Delivery, Epoch, Feed, Headers, Output, Partition, Patience, Position, Row};
use crate::time::{Clock as _, ManualClock, Timestamp};
use crate::window::IndexSettings;

const POSTS: usize = 45_000;
const POOL: usize = 512;
/// Records handed over at once.
const EVENT: usize = 500;

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

/// A log with posts, and what the stages are made of.
struct Scene {
    log: Log,
    clock: Arc<ManualClock>,
    routes: Routes,
}

impl Scene {
    fn new() -> Self {
        let (log, clock, topics) = (Log::new(), Arc::new(ManualClock::default()), Topics::of("test"));
        clock.move_to(Timestamp::parse("2026-03-02T13:40:00Z").unwrap());
        for topic in [&name("posts"), &topics.scored, &topics.mentions, &topics.index, &topics.alerts] {
            log.create(topic, 1);
        }
        for number in 0..POSTS {
            let value =
                Some(Bytes::from(format!(r#"{{"id":"{number}","text":"Shares rise after a strong quarter"}}"#)));
            let post = Output { topic: name("posts"), partition: 0, key: None, value, headers: Headers::new() };
            log.append(&post, clock.now()).unwrap();
        }
        let envelope = Envelope { source: name("bellwether/test") };
        let routes = Routes { topics, envelope, scored: 1, mentions: 1, dead_letters: 1, value_bytes_max: 1 << 20 };
        Self { log, clock, routes }
    }

    fn score(&self) -> (ScoreCore, Preparer) {
        let source = SourceSettings { topic: name("posts"), kind: name("news"), fields: FieldMap::default() };
        let preparer = Preparer {
            sources: Arc::from([source]),
            linker: Arc::new(Linker::new(&Instruments::default())),
            slot: Arc::new(Slot::new(Arc::new(StubScorer::new()))),
            value_bytes_max: 1 << 20,
        };
        let settings = ScoreSettings {
            pool_posts_max: POOL,
            pool_bytes_max: 1 << 30,
            pool_wait_max: Duration::ZERO,
            commit_interval: Duration::ZERO,
            until_end: false,
            tick_partition: Partition::new(&name("elsewhere"), 0),
            tick_interval: Duration::from_secs(5),
            sources: preparer.sources.clone(),
            limit: DeadLetterLimit::default(),
        };
        (ScoreCore::new(settings, self.routes.clone()), preparer)
    }

    /// Lets a stage take what it wants. Its first commit stands still until it wants no more; then it ends, as do all
    /// others. Returns the records that it had taken until then, and all of them in the end.
    fn drive<S: Stage>(
        &self,
        stage: &str,
        mut core: S,
        input: &Arc<str>,
        mut work: impl FnMut(S::Job) -> Option<S::Done>,
    ) -> (usize, usize) {
        let group = name(&format!("test.{stage}"));
        let mut source = Source::new(self.log.clone(), group.clone(), None);
        source.assign_topic(input);
        let mut port = Transactions::new(self.log.clone(), group, stage, self.clock.clone(), Script::default());
        let mut commit = |mut epoch: Epoch<Row<S::Note>>| {
            Event::Committed(epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), &*self.clock))
        };
        let (mut events, mut held, mut taken, mut stood) = (Vec::new(), None, 0, None);
        loop {
            let event = match events.pop().or_else(|| source.poll(EVENT).map(Event::Feed)) {
                Some(event) => event,
                None => match held.take() {
                    Some(epoch) => {
                        stood = Some(taken);
                        commit(epoch)
                    }
                    None => return (stood.unwrap_or(taken), taken),
                },
            };
            if let Event::Feed(Feed::Records { records, .. }) = &event {
                taken += records.len();
            }
            for effect in core.on(event, self.clock.now()) {
                match effect {
                    Effect::Work(job) => events.extend(work(job).map(Event::Done)),
                    Effect::Commit(epoch) if stood.is_none() => held = Some(epoch),
                    Effect::Commit(epoch) => events.push(commit(epoch)),
                    Effect::Source(command) => source.command(command),
                    _ => panic!("{stage} does something else"),
                }
            }
        }
    }
}

#[test]
fn a_commit_that_hangs_holds_every_stage_up_and_nothing_grows() {
    let scene = Scene::new();
    let (core, preparer) = scene.score();
    let (routes, clock) = (scene.routes.clone(), scene.clock.clone());
    let (stood, all) =
        scene.drive("score", core, &name("posts"), |pool| Some(finish(preparer.prepare(pool), &routes, &*clock)));
    // One epoch is full, by rows or bytes, and may have passed its bound by two pools; two pools wait, and an event more.
    assert!((5 * POOL..EPOCH_ROWS_MAX + 5 * POOL + EVENT).contains(&stood), "score: {stood}");
    assert_eq!(all, POSTS);

    let settings = Arc::new(SignalSettings {
        pipeline: name("test"),
        index: IndexSettings::default(),
        rules: Vec::new(),
        names: HashMap::new(),
    });
    let core = SignalCore::new(settings, scene.routes.clone(), Duration::ZERO, false);
    let (stood, all) = scene.drive("signal", core, &scene.routes.topics.mentions, |()| Some(()));
    assert!((EPOCH_ROWS_MAX..EPOCH_ROWS_MAX + 3 * EVENT).contains(&stood), "signal: {stood}");
    assert_eq!(all, 2 * POSTS, "each post has a topic and the market");

    // Files that are not written: as much as is open and as many segments as there are jobs.
    let bytes = 64 << 10;
    let age = Duration::from_secs(3_600);
    let limits = ArchiveLimits { rows: usize::MAX, bytes, age, policy: Policy::All, until_end: false };
    let scored = &scene.routes.topics.scored;
    let size = scene.log.read(&Partition::new(scored, 0), Position::at(0), 1)[0].size();
    let (taken, _) = scene.drive("archive", ArchiveCore::new(limits, scene.routes.clone()), scored, |_| None);
    assert!(taken * size < (2 + 2 * WORK_MAX) * bytes + 2 * EVENT * size, "archive: {taken} records of {size} bytes");
}
