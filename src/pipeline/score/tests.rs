//! The score stage on the in-process log with a stub model: what a post becomes, and that no cut changes it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::{Envelope, FieldMap, SourceSettings, decode_mention, decode_scored};
use crate::entity::{Instruments, Linker};
use crate::event::{Action, MentionRecord, ScoredPost};
use crate::memory::{Log, Script, Source, Transactions};
use crate::model::{Slot, StubScorer};
use crate::pipeline::score::{Preparer, Routes, ScoreCore, ScoreSettings, finish};
use crate::pipeline::stage::{Effect, Event, Stage};
use crate::pipeline::{DeadLetterLimit, Topics};
use crate::stream::{Delivery, Headers, Outcome, Output, Partition, Patience, Position, Record};
use crate::time::{ManualClock, Timestamp};

const POSTS: &[&str] = &[
    r#"{"id": "a", "text": "$AAPL shares plunge after a weak outlook", "published_at": "2026-03-02T13:30:00Z"}"#,
    r#"{"id": "b", "text": "Apple raises its dividend, a strong quarter", "published_at": "2026-03-02T13:30:01Z"}"#,
    r#"{"id": "a", "text": "$AAPL shares recover", "action": "updated", "updated_at": "2026-03-02T13:31:00Z"}"#,
    r#"{"id": "b", "action": "deleted", "updated_at": "2026-03-02T13:32:00Z"}"#,
    r#"{"id": "c", "text": "", "published_at": "2026-03-02T13:30:02Z"}"#,
    r#"{"id": "d", "lang": "de-AT", "text": "Die Aktien des Unternehmens sind heute an der Börse nach schwachen Zahlen stark gefallen"}"#,
    r#"{"text": "no id of its own"}"#,
    r#"{"id": "e", "text": "unfinished"#,
];

fn topic(name: &str) -> Arc<str> {
    Arc::from(name)
}

/// Runs the stage over the posts and gives back the log that it wrote.
fn scored(pool_posts_max: usize) -> (Log, Topics) {
    let (log, clock, topics) = (Log::new(), Arc::new(ManualClock::default()), Topics::of("test"));
    clock.move_to(Timestamp::parse("2026-03-02T13:40:00Z").unwrap());
    for (name, count) in [(&topic("posts"), 2), (&topics.scored, 2), (&topics.mentions, 3), (&topics.dead_letters, 1)] {
        log.create(name, count);
    }
    for (post, number) in POSTS.iter().zip(0..) {
        let value = Some(Bytes::from_static(post.as_bytes()));
        let post = Output { topic: topic("posts"), partition: number % 2, key: None, value, headers: Headers::new() };
        log.append(&post, crate::time::Clock::now(&*clock)).unwrap();
    }
    let envelope = Envelope { source: topic("bellwether/test") };
    let routes =
        Routes { topics: topics.clone(), envelope, scored: 2, mentions: 3, dead_letters: 1, value_bytes_max: 1 << 20 };
    let instruments = Instruments::parse("id,name,aliases\nXNAS:AAPL,Apple,\n").unwrap();
    let source = SourceSettings { topic: topic("posts"), kind: topic("news"), fields: FieldMap::default() };
    let preparer = Preparer {
        sources: Arc::from([source]),
        linker: Arc::new(Linker::new(&instruments)),
        slot: Arc::new(Slot::new(Arc::new(StubScorer::new()))),
        value_bytes_max: 1 << 20,
    };
    let settings = ScoreSettings {
        pool_posts_max,
        pool_bytes_max: 1 << 20,
        pool_wait_max: Duration::ZERO,
        commit_interval: Duration::ZERO,
        until_end: false,
        tick_partition: Partition::new(&topic("elsewhere"), 0),
        tick_interval: Duration::from_secs(5),
        sources: preparer.sources.clone(),
        limit: DeadLetterLimit::default(),
    };
    let mut core = ScoreCore::new(settings, routes.clone());
    let group = topic("test.score");
    let mut source = Source::new(log.clone(), group.clone(), None);
    source.assign_topic(&topic("posts"));
    let mut port = Transactions::new(log.clone(), group, "test.score", clock.clone(), Script::default());
    let mut events = Vec::new();
    loop {
        let event = match events.pop() {
            Some(event) => event,
            None => match source.poll(3) {
                Some(feed) => Event::Feed(feed),
                None => break,
            },
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
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
    (log, topics)
}

fn read(log: &Log, topic: &Arc<str>) -> Vec<Record> {
    log.partitions(topic).iter().flat_map(|at| log.read(at, Position::at(0), 1_000)).collect()
}

fn posts(log: &Log, topics: &Topics) -> Vec<ScoredPost> {
    read(log, &topics.scored).iter().map(|record| decode_scored(record).unwrap()).collect()
}

#[test]
fn every_record_is_scored_or_dead_and_each_id_stands_once() {
    for pool in [1, 2, 3, 1_024] {
        let (log, topics) = scored(pool);
        let ids: BTreeSet<String> = posts(&log, &topics).into_iter().map(|post| post.id).collect();
        let dead = read(&log, &topics.dead_letters);
        assert_eq!((ids.len(), dead.len()), (POSTS.len() - 1, 1), "pools of {pool}");
        assert_eq!(dead[0].value.as_deref(), Some(POSTS[7].as_bytes()), "the bytes are untouched");
    }
}

#[test]
fn no_cut_into_pools_changes_a_record() {
    let all = |pool: usize| {
        let (log, topics) = scored(pool);
        let mut values: Vec<_> = [&topics.scored, &topics.mentions, &topics.dead_letters]
            .iter()
            .flat_map(|topic| read(&log, topic))
            .map(|record| (record.partition, record.key, record.value))
            .collect();
        values.sort();
        values
    };
    let expected = all(1_024);
    for pool in [1, 2, 5] {
        assert_eq!(all(pool), expected, "pools of {pool}");
    }
}

#[test]
fn an_update_and_a_deletion_retract_in_every_partition() {
    let (log, topics) = scored(1_024);
    let mut retracted: Vec<(String, i32, String)> = Vec::new();
    for record in read(&log, &topics.mentions) {
        if let MentionRecord::Retraction(retraction) = decode_mention(&record).unwrap() {
            let before = retraction.before.to_string();
            retracted.push((retraction.post_id.to_string(), record.partition.number, before));
        }
    }
    retracted.sort();
    let expected: Vec<(String, i32, String)> = [("a", "2026-03-02T13:31:00Z"), ("b", "2026-03-02T13:32:00.000001Z")]
        .iter()
        .flat_map(|(post, before)| (0..3).map(|number| ((*post).to_owned(), number, (*before).to_owned())))
        .collect();
    assert_eq!(retracted, expected);
}

#[test]
fn what_the_model_is_not_asked_is_an_abstention_with_its_reason() {
    let (log, topics) = scored(1_024);
    let posts = posts(&log, &topics);
    let reason = |id: &str, action: Action| {
        let post = posts.iter().find(|post| &*post.post_id == id && post.action == action).unwrap();
        serde_json::to_value(post.sentiment.reason).unwrap()
    };
    assert_eq!(reason("b", Action::Deleted), "deleted");
    assert_eq!(reason("c", Action::Created), "empty-text");
    assert_eq!(reason("d", Action::Created), "unknown-language");
    assert_eq!(reason("a", Action::Created), serde_json::Value::Null);
    let foreign = posts.iter().find(|post| &*post.post_id == "d").unwrap();
    assert_eq!((foreign.lang.as_deref(), foreign.declared_lang.as_deref()), (Some("deu"), Some("de-AT")));
    let deleted = posts.iter().find(|post| post.action == Action::Deleted).unwrap();
    assert!(deleted.subjects.is_empty() && deleted.text.is_empty());
    assert!(posts.iter().any(|post| post.post_id.starts_with("posts+")), "an id is made where there is none");
}
