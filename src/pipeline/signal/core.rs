//! The signal stage's core: folds mentions into the state of their partition and commits what follows from them.
//!
//! One state a partition, made on assignment from what is on the log (mentions before the committed position are
//! replay: state yes, output no; alerts were read back by the source), dropped when the partition goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::codec::{Envelope, decode_alert, decode_mention};
use crate::event::{Alert, DeadLetter, Index, MentionRecord, Origin, Reason, Severity};
use crate::metrics;
use crate::pipeline::flow::{EPOCH_ROWS_MAX, Flow};
use crate::pipeline::limit::{DeadLetterLimit, Fate, Watch};
use crate::pipeline::score::Routes;
use crate::pipeline::signal::{Counts, Finding, PartitionState, SignalSettings};
use crate::pipeline::stage::{Effect, Event, Stage};
use crate::pipeline::witness::Witness;
use crate::stream::{Assignment, Feed, Lease, Output, Partition, Record, Row};
use crate::time::Timestamp;

/// What is said about a committed row of the signal stage.
#[derive(Debug, Clone, PartialEq)]
pub enum SignalNote {
    /// A mention, retraction or tick was folded in.
    Folded {
        /// Index records that followed.
        indices: Vec<Index>,
        /// Alert records that followed.
        alerts: Vec<Alert>,
        /// When the post behind a mention was published.
        published_at: Option<Timestamp>,
    },
    /// A record became a dead letter.
    Dead(Reason, String),
}

impl Fate for Row<SignalNote> {
    fn dead(&self) -> Option<(Reason, &str)> {
        match &self.note {
            SignalNote::Dead(reason, message) => Some((*reason, message)),
            SignalNote::Folded { .. } => None,
        }
    }
}

/// Records decoded at once, so many before a thread of its own pays. Two threads that took turns at every record would
/// wait for each other's memory.
const DECODED_AT_ONCE: usize = 32;

type Figure = fn(&Counts) -> u64;
type SignalEffect = Effect<(), SignalNote>;

/// The core.
pub struct SignalCore {
    flow: Flow<Row<SignalNote>>,
    states: BTreeMap<Partition, PartitionState>,
    settings: Arc<SignalSettings>,
    routes: Routes,
}

/// What is said of a record among the alerts that is none: it may be of a newer version, so nobody passes it over.
fn unreadable(record: &Record, why: &str) -> String {
    let (place, key) =
        (format!("{} offset {}", record.partition, record.offset), record.key.as_deref().unwrap_or_default());
    let key = String::from_utf8_lossy(key);
    let remedy = "go back to the version that wrote it, or take it away with a record of that key without a value";
    format!("an alert at {place} (key {key:?}) cannot be read back: {why}; {remedy}")
}

impl SignalCore {
    /// A core with nothing assigned.
    #[must_use]
    pub fn new(settings: Arc<SignalSettings>, routes: Routes, commit_interval: Duration, until_end: bool) -> Self {
        Self { flow: Flow::new(commit_interval, until_end), states: BTreeMap::new(), settings, routes }
    }

    /// Stops at this limit instead of the default one.
    #[must_use]
    pub fn stopping_at(mut self, limit: DeadLetterLimit) -> Self {
        self.flow.watch = Watch::new(limit);
        self
    }

    fn assign(&mut self, assignment: Assignment) -> Vec<SignalEffect> {
        let mut alerts = Vec::with_capacity(assignment.restored.len());
        for record in assignment.restored.iter().filter(|record| record.value.is_some()) {
            match decode_alert(record) {
                Ok(alert) => alerts.push(alert),
                Err(letter) => return vec![Effect::Halt(unreadable(record, &letter.message))],
            }
        }
        let partition = assignment.lease.partition().clone();
        let is_new = self.flow.assign(&assignment);
        if is_new {
            self.states.insert(partition.clone(), PartitionState::new(self.settings.clone()));
        }
        if let Some(state) = self.states.get_mut(&partition) {
            if state.comes_too_late(&alerts) {
                // What was folded in ahead must know of it: from the beginning once more.
                return self.flow.reset(&[partition]);
            }
            state.restore(alerts);
        }
        Vec::new()
    }

    fn records(&mut self, lease: &Lease, records: Vec<Record>, now: Timestamp) -> Vec<SignalEffect> {
        if self.flow.is_finishing() {
            return Vec::new();
        }
        let taken = match self.flow.take(lease, records) {
            Ok(taken) => taken,
            Err(why) => return vec![Effect::Halt(why)],
        };
        let Some(state) = self.states.get_mut(lease.partition()) else { return Vec::new() };
        let watch = &mut self.flow.watch;
        for_each_decoded(&taken.replay, |place, appended_at, mention| {
            watch.remember(lease.partition(), mention.is_err());
            if let Ok(mention) = mention {
                state.fold(mention, place, appended_at, false);
            }
        });
        let routes = &self.routes;
        let rows = taken.live.map(|record| fold(state, &record, routes));
        self.flow.add(rows, now).into_iter().collect()
    }

    fn feed(&mut self, feed: Feed, now: Timestamp) -> Vec<SignalEffect> {
        match feed {
            Feed::Assigned(assignment) => return self.assign(assignment),
            Feed::Records { lease, records } => return self.records(&lease, records, now),
            Feed::Revoked { partitions, .. } => self.flow.revoke(partitions),
            Feed::Lost { partitions } => self.flow.drop_all(&partitions),
            Feed::End { partition } => self.flow.end(partition),
            Feed::Trouble(_) => {}
            Feed::Failed(why) => return vec![Effect::Halt(why)],
        }
        Vec::new()
    }

    fn is_done(&self) -> bool {
        let idle = self.flow.ledger.is_empty() && !self.flow.is_committing();
        idle && (self.flow.is_finishing() || self.flow.all_ended())
    }
}

/// Hands over what each record says, with its place and append time, in order. Many records are decoded by a thread of
/// their own while others are folded in: a state that is read back waits for little but its own arithmetic. What that
/// thread has not begun when it is wanted is decoded here.
fn for_each_decoded(records: &[Record], mut take: impl FnMut(&Origin, Timestamp, Result<MentionRecord, DeadLetter>)) {
    let mut take = |record: &Record, mention| take(&origin_of(record), record.appended_at, mention);
    let chunks: Vec<&[Record]> = records.chunks(DECODED_AT_ONCE).collect();
    let begun = &AtomicUsize::new(0);
    let (there, queue) = bounded(chunks.len());
    std::thread::scope(|scope| {
        let chunks = &chunks;
        let decode = move || {
            while let Some(chunk) = chunks.get(begun.fetch_add(1, Ordering::Relaxed)) {
                let decoded: Vec<_> = chunk.iter().map(decode_mention).collect();
                if there.send(decoded).is_err() {
                    return;
                }
            }
        };
        if chunks.len() > 1 {
            let _without = std::thread::Builder::new().name("decode".to_owned()).spawn_scoped(scope, decode);
        }
        for (number, chunk) in chunks.iter().enumerate() {
            let is_mine = begun.compare_exchange(number, number + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            let there = if is_mine { None } else { queue.recv().ok() };
            match there {
                Some(decoded) => chunk.iter().zip(decoded).for_each(|(record, mention)| take(record, mention)),
                None => chunk.iter().for_each(|record| take(record, decode_mention(record))),
            }
        }
    });
}

fn origin_of(record: &Record) -> Origin {
    Origin { topic: record.partition.topic.clone(), partition: record.partition.number, offset: record.offset }
}

fn fold(state: &mut PartitionState, record: &Record, routes: &Routes) -> Row<SignalNote> {
    let mention = match decode_mention(record) {
        Ok(mention) => mention,
        Err(letter) => {
            let note = SignalNote::Dead(letter.reason, letter.message.clone());
            return Row { outputs: vec![routes.dead_letter(&letter)], note };
        }
    };
    let published_at = match &mention {
        MentionRecord::Mention(mention) => Some(mention.published_at),
        MentionRecord::Retraction(_) | MentionRecord::Tick(_) => None,
    };
    let findings = state.fold(mention, &origin_of(record), record.appended_at, true);
    let (mut indices, mut alerts) = (Vec::new(), Vec::new());
    let mut outputs = Vec::with_capacity(findings.len());
    for finding in findings {
        match finding {
            Finding::Index(index) => {
                outputs.push(index_output(&routes.envelope, &index, record.partition.number, routes));
                indices.push(index);
            }
            Finding::Alert(alert) => {
                let payload = routes.envelope.alert(&alert);
                outputs.push(payload.to(&routes.topics.alerts, record.partition.number));
                alerts.push(*alert);
            }
        }
    }
    Row { outputs, note: SignalNote::Folded { indices, alerts, published_at } }
}

fn index_output(envelope: &Envelope, index: &Index, partition: i32, routes: &Routes) -> Output {
    envelope.index(index).to(&routes.topics.index, partition)
}

impl Stage for SignalCore {
    type Job = ();
    type Done = ();
    type Note = SignalNote;

    fn on(&mut self, event: Event<()>, now: Timestamp) -> Vec<SignalEffect> {
        let mut effects = match event {
            Event::Feed(feed) => self.feed(feed, now),
            Event::Done(()) | Event::Turn => Vec::new(),
            Event::Committed(outcome) => self.flow.committed(outcome, now),
            Event::Finish => {
                self.flow.finish();
                Vec::new()
            }
        };
        effects.extend(self.flow.close_if_due(now));
        effects.extend(self.flow.throttle(self.flow.is_full(), self.flow.ledger.len() <= EPOCH_ROWS_MAX / 2));
        effects.extend(self.flow.settle(|_| false));
        let intake = &self.flow.intake;
        let revoked = self.flow.revoked();
        self.states.retain(|partition, _| intake.lease(partition).is_some() || revoked.contains(partition));
        if self.is_done() {
            effects.push(Effect::Finished);
        }
        effects
    }

    #[cfg(test)]
    fn held(&self) -> std::collections::BTreeSet<Partition> {
        self.flow.held().into_iter().chain(self.states.keys().cloned()).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "subjects and alerts are bounded")]
    fn tell(&mut self, witness: &Witness) {
        witness.metrics.set(&metrics::DEAD_LETTER_LIMIT, &["signal"], self.flow.watch.used());
        let counts: Vec<Counts> = self.states.values_mut().map(PartitionState::take_counts).collect();
        let total = |of: Figure| counts.iter().map(of).sum::<u64>();
        witness.metrics.set(&metrics::SUBJECTS, &[], total(|count| count.subjects) as f64);
        let ignored: [(&str, Figure); 4] = [
            ("late", |count| count.late),
            ("overflow", |count| count.overflow),
            ("retracted", |count| count.retracted),
            ("stale", |count| count.stale),
        ];
        for (reason, of) in ignored {
            witness.metrics.add(&metrics::MENTIONS_IGNORED, &[reason], total(of));
        }
        for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
            let firing: u64 =
                counts.iter().flat_map(|count| count.firing).filter(|(of, _)| *of == severity).map(|(_, n)| n).sum();
            witness.metrics.set(&metrics::ALERTS_FIRING, &[&severity.to_string()], firing as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stream::Headers;

    #[test]
    fn what_is_decoded_beside_comes_in_order_with_its_place_and_nothing_is_left_out() {
        let mention = include_bytes!("../../../schemas/examples/mention/v1/topic.json");
        for count in [0, 1, 32, 33, 1_000] {
            let records: Vec<Record> = (0..count)
                .map(|offset| Record {
                    partition: Partition::new(&Arc::from("mentions"), 3),
                    offset,
                    appended_at: Timestamp::from_millis(offset),
                    key: None,
                    value: Some(if offset % 7 == 0 { Bytes::from_static(b"{") } else { Bytes::from_static(mention) }),
                    headers: Headers::new(),
                })
                .collect();
            let mut seen = Vec::new();
            for_each_decoded(&records, |place, at, told| seen.push((place.clone(), at, told.is_ok())));
            let expected: Vec<(Origin, Timestamp, bool)> =
                records.iter().map(|record| (origin_of(record), record.appended_at, record.offset % 7 != 0)).collect();
            assert_eq!(seen, expected, "{count} records");
        }
    }
}
