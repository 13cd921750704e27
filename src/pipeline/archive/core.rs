//! The archive stage's core: one open segment a partition, ended by rows, bytes, age, a revoke or the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics;
use crate::model::Task;
use crate::pipeline::archive::reader::Reader;
use crate::pipeline::archive::{ArchiveNote, ArchiveRow, Dataset, Segment, SegmentDone};
use crate::pipeline::flow::Flow;
use crate::pipeline::limit::{DeadLetterLimit, Fate as _, Watch};
use crate::pipeline::score::Routes;
use crate::pipeline::stage::{Effect, Event, Stage, WORK_MAX};
use crate::pipeline::witness::Witness;
use crate::sample::Policy;
use crate::stream::{Closed, Feed, Lease, Partition, Position, Record, Row};
use crate::time::Timestamp;

/// When a segment ends, and what goes into it.
#[derive(Debug, Clone)]
pub struct ArchiveLimits {
    /// At this many rows.
    pub rows: usize,
    /// At about this many bytes; the largest one also when all that are open have so many together.
    pub bytes: usize,
    /// At this age.
    pub age: Duration,
    /// What is kept.
    pub policy: Policy,
    /// End when what was there at the start is done.
    pub until_end: bool,
}

type ArchiveEffect = Effect<Segment, ArchiveNote>;

/// The core.
#[derive(Debug)]
pub struct ArchiveCore {
    flow: Flow<ArchiveRow>,
    /// Since when a partition's segment is open.
    open: BTreeMap<Partition, Timestamp>,
    /// Partitions whose segment is being written.
    writing: Vec<Partition>,
    /// Published segments that wait for the commit that is under way.
    published: Vec<Closed<Row<ArchiveNote>>>,
    /// Partitions whose next segment ends where another writer's does.
    ends: BTreeMap<Partition, Position>,
    reader: Reader,
    limits: ArchiveLimits,
}

impl ArchiveCore {
    /// A core with nothing assigned.
    #[must_use]
    pub fn new(limits: ArchiveLimits, routes: Routes) -> Self {
        Self {
            flow: Flow::new(Duration::ZERO, limits.until_end),
            open: BTreeMap::new(),
            writing: Vec::new(),
            published: Vec::new(),
            ends: BTreeMap::new(),
            reader: Reader { tasks: Arc::default(), policy: limits.policy.clone(), routes },
            limits,
        }
    }

    /// Stops at this limit instead of the default one.
    #[must_use]
    pub fn stopping_at(mut self, limit: DeadLetterLimit) -> Self {
        self.flow.watch = Watch::new(limit);
        self
    }

    /// Takes labels for these tasks alone, by their classes or the aliases of those.
    #[must_use]
    pub fn knowing(self, tasks: Arc<[Task]>) -> Self {
        Self { reader: Reader { tasks, ..self.reader }, ..self }
    }

    fn feed(&mut self, feed: Feed, now: Timestamp) -> Vec<ArchiveEffect> {
        match feed {
            Feed::Assigned(assignment) => {
                let partition = assignment.lease.partition();
                self.open.remove(partition);
                self.ends.retain(|at, until| at != partition || *until > assignment.committed);
                self.flow.assign(&assignment);
            }
            Feed::Records { lease, records } => return self.records(&lease, records, now),
            Feed::Revoked { partitions, .. } => self.flow.revoke(partitions),
            Feed::Lost { partitions } => self.forget(&partitions),
            Feed::End { partition } => self.flow.end(partition),
            Feed::Trouble(_) => {}
            Feed::Failed(why) => return vec![Effect::Halt(why)],
        }
        Vec::new()
    }

    fn forget(&mut self, partitions: &[Partition]) {
        self.flow.drop_all(partitions);
        self.open.retain(|at, _| !partitions.contains(at));
    }

    fn records(&mut self, lease: &Lease, records: Vec<Record>, now: Timestamp) -> Vec<ArchiveEffect> {
        if self.flow.is_finishing() {
            return Vec::new();
        }
        let taken = match self.flow.take(lease, records) {
            Ok(taken) => taken,
            Err(why) => return vec![Effect::Halt(why)],
        };
        for record in &taken.replay {
            let is_dead = self.reader.row(record).dead().is_some();
            self.flow.watch.remember(lease.partition(), is_dead);
        }
        if taken.live.is_empty() {
            return Vec::new();
        }
        self.open.entry(lease.partition().clone()).or_insert(now);
        let (reader, until) = (&self.reader, self.ends.get(lease.partition()).copied());
        let rows = taken.live.map(|record| match reader.row(&record) {
            row if until.is_some_and(|until| row.next <= until) => row.published(),
            row => row,
        });
        self.flow.add(rows, now).into_iter().collect()
    }

    /// Closes the segments that are due, as long as the workers have room.
    fn close(&mut self, now: Timestamp) -> Vec<ArchiveEffect> {
        let mut effects = Vec::new();
        let all = self.flow.is_finishing() || self.flow.all_ended();
        let due: Vec<(Partition, bool)> = self
            .open
            .iter()
            .filter(|(at, _)| !self.is_busy(at))
            .filter_map(|(at, since)| {
                let leaving = all || self.flow.revoked().contains(at);
                let aged = now.is_over(*since, self.limits.age);
                (leaving || aged || self.is_large(at) || self.ends.contains_key(at)).then(|| (at.clone(), leaving))
            })
            .collect();
        for (partition, leaving) in due {
            if self.writing.len() >= WORK_MAX {
                break;
            }
            let closed = match self.ends.get(&partition).copied() {
                None => self.flow.ledger.close_part(&partition),
                Some(until) => match self.flow.ledger.close_part_until(&partition, until) {
                    Some(closed) => Some(closed),
                    // Whoever comes next reads up to that end: nobody waits for what we have of it.
                    None if leaving => {
                        self.flow.ledger.release(&partition);
                        None
                    }
                    None => continue,
                },
            };
            if self.flow.ledger.rows(&partition).is_empty() || closed.is_none() {
                self.open.remove(&partition);
            } else {
                self.open.insert(partition.clone(), now);
            }
            if let Some(closed) = closed {
                let dataset = if partition.topic == self.reader.routes.topics.labels {
                    Dataset::Labels
                } else {
                    Dataset::Samples
                };
                self.writing.push(partition);
                effects.push(Effect::Work(Segment { dataset, closed, in_haste: leaving }));
            }
        }
        effects
    }

    /// What the open rows weigh, but for those that wait for another writer's end: all of these must come, or their
    /// partition would stand still, and they hold next to nothing.
    pub(in crate::pipeline) fn weight(&self) -> usize {
        let ledger = &self.flow.ledger;
        let waiting = self.ends.keys().filter(|at| !self.writing.contains(at));
        ledger.weight() - waiting.map(|at| ledger.weight_of(at)).sum::<usize>()
    }

    /// Whether a partition's segment is full, or the largest of those that fill the memory together.
    fn is_large(&self, partition: &Partition) -> bool {
        let ledger = &self.flow.ledger;
        let (rows, weight) = (ledger.rows(partition).len(), ledger.weight_of(partition));
        let waits = |at: &Partition| self.is_busy(at) || self.ends.contains_key(at);
        let is_largest = || self.open.keys().all(|at| waits(at) || ledger.weight_of(at) <= weight);
        let full = rows >= self.limits.rows || weight >= self.limits.bytes;
        full || (self.weight() >= self.limits.bytes && is_largest())
    }

    fn is_busy(&self, partition: &Partition) -> bool {
        let is_published = || self.published.iter().any(|done| done.partition() == partition);
        self.writing.contains(partition) || is_published() || self.flow.commits(partition)
    }

    /// Commits one published end at a time.
    fn commit(&mut self) -> Option<ArchiveEffect> {
        if self.flow.is_committing() || self.published.is_empty() {
            return None;
        }
        Some(self.flow.publish(self.published.remove(0).published()))
    }

    fn done(&mut self, done: SegmentDone) -> Vec<ArchiveEffect> {
        self.writing.retain(|at| at != done.partition());
        match done {
            SegmentDone::Published(closed) => {
                self.ends.remove(closed.partition());
                self.published.push(closed);
                Vec::new()
            }
            SegmentDone::EndsElsewhere { partition, until } => {
                self.open.remove(&partition);
                let effects = self.flow.reset(std::slice::from_ref(&partition));
                self.ends.insert(partition, until);
                effects
            }
        }
    }

    fn is_done(&self) -> bool {
        let idle = self.open.is_empty() && self.writing.is_empty() && self.published.is_empty();
        idle && !self.flow.is_committing() && (self.flow.is_finishing() || self.flow.all_ended())
    }
}

impl Stage for ArchiveCore {
    type Job = Segment;
    type Done = Result<SegmentDone, String>;
    type Note = ArchiveNote;

    fn on(&mut self, event: Event<Self::Done>, now: Timestamp) -> Vec<ArchiveEffect> {
        let mut effects = match event {
            Event::Feed(feed) => self.feed(feed, now),
            Event::Done(Ok(done)) => self.done(done),
            Event::Done(Err(why)) => vec![Effect::Halt(why)],
            Event::Committed(outcome) => self.flow.committed(outcome, now),
            Event::Turn => Vec::new(),
            Event::Finish => {
                self.flow.finish();
                Vec::new()
            }
        };
        effects.extend(self.close(now));
        effects.extend(self.commit());
        let (weight, bytes) = (self.weight(), self.limits.bytes);
        effects.extend(self.flow.throttle(weight >= 2 * bytes, weight < bytes + bytes / 2));
        let busy: Vec<Partition> =
            self.flow.revoked().iter().filter(|at| self.is_busy(at) || self.open.contains_key(*at)).cloned().collect();
        effects.extend(self.flow.settle(|at| busy.contains(at)));
        // Whoever has a partition next finds the end for itself.
        self.ends.retain(|at, _| self.flow.is_assigned(at));
        if self.is_done() {
            effects.push(Effect::Finished);
        }
        effects
    }

    #[cfg(test)]
    fn held(&self) -> std::collections::BTreeSet<Partition> {
        let known = self.open.keys().chain(&self.writing).chain(self.ends.keys());
        let published = self.published.iter().map(Closed::partition);
        self.flow.held().into_iter().chain(known.chain(published).cloned()).collect()
    }

    fn tell(&mut self, witness: &Witness) {
        witness.metrics.set(&metrics::DEAD_LETTER_LIMIT, &["archive"], self.flow.watch.used());
    }
}
