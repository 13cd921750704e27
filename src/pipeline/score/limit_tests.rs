//! Too many dead letters stop the stage before they are written, at the same record however they come and whoever starts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::{Envelope, FieldMap, SourceSettings};
use crate::entity::{Instruments, Linker};
use crate::memory::{Log, Script, Source, Transactions};
use crate::model::{Slot, StubScorer};
use crate::pipeline::score::{Preparer, Routes, ScoreCore, ScoreSettings, finish};
use crate::pipeline::stage::{Effect, Event, Stage};
use crate::pipeline::{DeadLetterLimit, Topics};
use crate::stream::{Delivery, Headers, Outcome, Output, Partition, Patience, Position};
use crate::time::{ManualClock, Timestamp};

const LIMIT: DeadLetterLimit = DeadLetterLimit { window_records: 20, share_max: 0.25 };

/// A topic whose records after the first thirty have their text at `/body`.
fn broken_topic() -> Log {
    let (log, topics) = (Log::new(), Topics::of("test"));
    for topic in [&Arc::from("posts"), &topics.scored, &topics.mentions, &topics.dead_letters] {
        log.create(topic, 1);
    }
    for number in 0..200 {
        let field = if number < 30 { "text" } else { "body" };
        let value = Some(Bytes::from(format!("{{\"id\":\"{number}\",\"{field}\":\"Shares rise\"}}")));
        let post = Output { topic: Arc::from("posts"), partition: 0, key: None, value, headers: Headers::new() };
        log.append(&post, Timestamp::from_millis(number)).unwrap();
    }
    log
}

fn fields(pointers: &[&str]) -> FieldMap {
    FieldMap { text: pointers.iter().map(|&pointer| pointer.to_owned()).collect(), ..FieldMap::default() }
}

/// Starts a process and lets it run until it stops or has nothing to do; returns why it stopped.
fn run(log: &Log, fields: FieldMap, limit: DeadLetterLimit, poll: usize) -> Option<String> {
    let (clock, topics) = (Arc::new(ManualClock::default()), Topics::of("test"));
    let routes = Routes {
        topics,
        envelope: Envelope { source: Arc::from("bellwether/test") },
        scored: 1,
        mentions: 1,
        dead_letters: 1,
        value_bytes_max: 1 << 20,
    };
    let preparer = Preparer {
        sources: Arc::from([SourceSettings { topic: Arc::from("posts"), kind: Arc::from("news"), fields }]),
        linker: Arc::new(Linker::new(&Instruments::default())),
        slot: Arc::new(Slot::new(Arc::new(StubScorer::new()))),
        value_bytes_max: 1 << 20,
    };
    let settings = ScoreSettings {
        pool_posts_max: poll,
        pool_bytes_max: 64 << 20,
        pool_wait_max: Duration::ZERO,
        commit_interval: Duration::ZERO,
        until_end: false,
        tick_partition: Partition::new(&Arc::from("elsewhere"), 0),
        tick_interval: Duration::from_secs(5),
        sources: preparer.sources.clone(),
        limit,
    };
    let mut core = ScoreCore::new(settings, routes.clone());
    let group: Arc<str> = Arc::from("test.score");
    let mut source = Source::new(log.clone(), group.clone(), None).with_tail(limit.window_records);
    source.assign_topic(&Arc::from("posts"));
    let mut port = Transactions::new(log.clone(), group, "test.score", clock.clone(), Script::default());
    let mut events = Vec::new();
    loop {
        let event = match events.pop() {
            Some(event) => event,
            None => Event::Feed(source.poll(poll)?),
        };
        for effect in core.on(event, crate::time::Clock::now(&*clock)) {
            match effect {
                Effect::Work(pool) => events.push(Event::Done(finish(preparer.prepare(pool), &routes, &*clock))),
                Effect::Commit(mut epoch) => {
                    let outcome = epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), &*clock);
                    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
                    events.push(Event::Committed(outcome));
                }
                Effect::Source(command) => source.command(command),
                Effect::BadData(why) => return Some(why),
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
}

/// Scored posts, dead letters and the committed position.
fn written(log: &Log) -> (usize, usize, i64) {
    let topics = Topics::of("test");
    let count = |topic: &Arc<str>| log.read(&Partition::new(topic, 0), Position::at(0), usize::MAX).len();
    let posts = Partition::new(&Arc::from("posts"), 0);
    let committed = log.committed(&Arc::from("test.score"), &posts).offset();
    (count(&topics.scored), count(&topics.dead_letters), committed)
}

#[test]
fn too_many_dead_letters_stop_the_stage_before_they_are_written() {
    for poll in [1, 3, 7, 64] {
        let log = broken_topic();
        let why = run(&log, FieldMap::default(), LIMIT, poll).expect("it stops");
        assert!(why.starts_with("6 of the last 20 records of posts/0 are dead letters and 5 may be"), "{why}");
        assert!(why.contains("missing_field: field text is missing"), "{why}");
        let (scored, dead, committed) = written(&log);
        assert!(scored <= 30 && dead <= 5 && committed <= 35, "polls of {poll}: {scored}, {dead}, {committed}");
        assert_eq!((scored + dead) as i64, committed, "polls of {poll}");
    }
}

#[test]
fn a_restart_stops_again_at_the_same_record_and_drains_nothing() {
    let log = broken_topic();
    run(&log, FieldMap::default(), LIMIT, 1).expect("it stops");
    let after_one = written(&log);
    assert_eq!(after_one, (30, 5, 35), "one record at a time: all that the limit allows is written");
    for poll in [1, 7, 64] {
        run(&log, FieldMap::default(), LIMIT, poll).expect("it stops again");
        assert_eq!(written(&log), after_one, "polls of {poll}");
    }
}

#[test]
fn a_mended_mapping_or_a_raised_limit_goes_on_and_nothing_is_lost() {
    for (pointers, share_max, expected) in [(&["/text", "/body"][..], 0.25, (195, 5)), (&["/text"], 1.0, (30, 170))] {
        let log = broken_topic();
        run(&log, FieldMap::default(), LIMIT, 1).expect("it stops");
        let why = run(&log, fields(pointers), DeadLetterLimit { share_max, ..LIMIT }, 7);
        assert_eq!(why, None);
        assert_eq!(written(&log), (expected.0, expected.1, 200), "{pointers:?} {share_max}");
    }
}
