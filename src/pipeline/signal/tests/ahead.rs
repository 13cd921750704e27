//! The core folds in what was committed so far, and begins again where that was done without an alert it needed.

use std::sync::Arc;
use std::time::Duration;

use super::log::{Log, alerts, at, rule, settings};
use crate::codec::Envelope;
use crate::event::Alert;
use crate::pipeline::score::Routes;
use crate::pipeline::settings::Topics;
use crate::pipeline::signal::{SignalCore, SignalNote};
use crate::pipeline::stage::{Effect, Event, Stage};
use crate::rule::Bound;
use crate::stream::{Assignment, Command, Feed, Lease, Output, Partition, Position, Record};
use crate::time::Timestamp;

const RECORDS: i64 = 12;

/// A core, the log that it reads, and the alerts that follow from all of the log.
struct Scene {
    core: SignalCore,
    routes: Routes,
    log: Log,
    alerts: Vec<Alert>,
    partition: Partition,
}

impl Scene {
    fn new() -> Self {
        let mut log = Log::default();
        for second in 0..12 {
            log.tell(f64::from(second) * 2.0, &format!("post-{second}"), "XNAS:AAA", -0.9);
        }
        let with = settings(vec![rule("gloom", "XNAS:*", Bound::Below(-0.2), 60)]);
        let alerts = alerts(&log.run(&with));
        let envelope = Envelope { source: Arc::from("bellwether/market") };
        let topics = Topics::of("market");
        let partition = Partition::new(&topics.mentions, 0);
        let routes = Routes { topics, envelope, scored: 1, mentions: 1, dead_letters: 1, value_bytes_max: 1 << 20 };
        let core = SignalCore::new(Arc::new(with), routes.clone(), Duration::from_secs(60), false);
        Self { core, routes, log, alerts, partition }
    }

    /// The place of the record from which the last alert came.
    fn last_alert(&self) -> i64 {
        self.alerts.last().unwrap().origin.offset
    }

    fn on(&mut self, feed: Feed) -> Vec<Effect<(), SignalNote>> {
        self.core.on(Event::Feed(feed), at(60.0))
    }

    /// What is known of the partition: where its work begins, and its first `known` alerts.
    fn assign(&mut self, lease: &Lease, committed: i64, known: usize) -> Vec<Effect<(), SignalNote>> {
        let told = self.alerts[..known].iter().enumerate().map(|(offset, alert)| {
            let output = self.routes.envelope.alert(alert).to(&self.routes.topics.alerts, 0);
            record(output, offset as i64, alert.at)
        });
        let restored = told.collect();
        let is_decided = known == self.alerts.len();
        let committed = Position::at(committed);
        self.on(Feed::Assigned(Assignment { lease: lease.clone(), committed, is_decided, restored }))
    }

    fn read(&mut self, lease: &Lease, offsets: std::ops::Range<i64>) -> Vec<Effect<(), SignalNote>> {
        let records = offsets.map(|offset| {
            let (mention, appended_at) = &self.log.records[offset as usize];
            let output = self.routes.envelope.mention(mention, *appended_at, None).to(&self.partition.topic, 0);
            record(output, offset, *appended_at)
        });
        let records = records.collect();
        self.on(Feed::Records { lease: lease.clone(), records })
    }

    /// The alerts that stand in the epoch which is committed when the partition goes.
    fn committed_alerts(&mut self) -> Vec<Alert> {
        let (settled, _) = std::sync::mpsc::sync_channel(1);
        let effects = self.on(Feed::Revoked { partitions: vec![self.partition.clone()], settled });
        let epoch = effects.into_iter().find_map(|effect| match effect {
            Effect::Commit(epoch) => Some(epoch),
            _ => None,
        });
        let epoch = epoch.expect("what was read is committed");
        let said = epoch.rows().flat_map(|row| match &row.note {
            SignalNote::Folded { alerts, .. } => alerts.clone(),
            SignalNote::Dead(..) => panic!("no record is broken"),
        });
        said.collect()
    }
}

fn record(output: Output, offset: i64, appended_at: Timestamp) -> Record {
    let Output { topic, partition, key, value, headers } = output;
    Record { partition: Partition::new(&topic, partition), offset, appended_at, key, value, headers }
}

#[test]
fn what_is_read_ahead_stays_where_the_decision_brings_nothing_that_was_needed() {
    let mut scene = Scene::new();
    let lease = Lease::grant(scene.partition.clone());
    let last = scene.last_alert();
    assert!(scene.alerts.len() == 2 && last < RECORDS - 1);
    assert!(scene.assign(&lease, last, 1).is_empty());
    assert!(scene.read(&lease, 0..last).is_empty(), "replay says nothing");
    assert!(scene.assign(&lease, last + 1, 2).is_empty(), "the last alert came from what is read next");
    assert!(scene.read(&lease, last..RECORDS).is_empty());
    assert_eq!(scene.committed_alerts(), [], "both alerts were said already");
}

#[test]
fn a_partition_begins_again_where_it_was_read_ahead_without_an_alert() {
    let mut scene = Scene::new();
    let lease = Lease::grant(scene.partition.clone());
    let last = scene.last_alert();
    assert!(scene.assign(&lease, last + 1, 1).is_empty());
    assert!(scene.read(&lease, 0..last + 1).is_empty());
    let effects = scene.assign(&lease, last + 1, 2);
    let [Effect::Source(Command::Reset(told)), Effect::WasReset(reset)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((&told[..], reset), (std::slice::from_ref(&scene.partition), &scene.partition));
    assert!(scene.read(&lease, last + 1..RECORDS).is_empty(), "what still comes under the old lease is dropped");
    // The source begins with it once more, and with all that is known.
    let lease = Lease::grant(scene.partition.clone());
    assert!(scene.assign(&lease, last + 1, 2).is_empty());
    assert!(scene.read(&lease, 0..RECORDS).is_empty());
    assert_eq!(scene.committed_alerts(), [], "both alerts were said already");
}

#[test]
fn without_what_is_committed_the_alerts_follow_from_the_records() {
    let mut scene = Scene::new();
    let lease = Lease::grant(scene.partition.clone());
    assert!(scene.assign(&lease, 0, 0).is_empty());
    assert!(scene.read(&lease, 0..RECORDS).is_empty());
    let said = scene.committed_alerts();
    assert_eq!(said, scene.alerts);
}
