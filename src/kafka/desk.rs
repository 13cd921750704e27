//! What the polling thread holds: the partitions with their leases, and what was read and not handed over yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::kafka::membership::Board;
use crate::kafka::outlet::Outlet;
use crate::kafka::placement::Placed;
use crate::kafka::wire;
use crate::stream::{Assignment, Feed, Lease, Partition, Position, Record};

/// Records of one partition in one hand-over, at most.
const RECORDS_MAX: usize = 500;
/// Bytes of one partition in one hand-over: it is cut when it has passed this.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// A partition that is assigned.
#[derive(Debug)]
pub(super) struct Held {
    lease: Lease,
    /// The next position to read.
    pub(super) next: Position,
    /// The end that is waited for, until it was reported.
    pub(super) target: Option<Position>,
    /// When the last record came (the clock's monotonic time).
    pub(super) moved_at: Duration,
    gathered: Vec<Record>,
    bytes: usize,
}

/// The partitions of one source.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) topics: Vec<Arc<str>>,
    pub(super) held: BTreeMap<Partition, Held>,
    pub(super) outlet: Outlet,
    pub(super) board: Arc<Board>,
    pub(super) until_end: bool,
    /// Nothing is to be read now: the stage said so, or it takes nothing.
    pub(super) paused: bool,
    /// Why the source ends, when it failed.
    pub(super) failed: Option<String>,
    trouble: bool,
}

impl Desk {
    pub(super) const fn new(topics: Vec<Arc<str>>, outlet: Outlet, board: Arc<Board>, until_end: bool) -> Self {
        let held = BTreeMap::new();
        Self { topics, held, outlet, board, until_end, paused: false, failed: None, trouble: false }
    }

    /// Our name of a topic, shared and not copied for each record.
    pub(super) fn topic(&self, name: &str) -> Arc<str> {
        self.topics.iter().find(|topic| &***topic == name).cloned().unwrap_or_else(|| Arc::from(name))
    }

    /// Begins a partition; or, where it has begun ahead, it is decided now where.
    pub(super) fn grant(&mut self, placed: Placed, now: Duration) {
        let at = placed.lease.partition().clone();
        self.board.placed(&at, placed.committed, placed.end.offset());
        self.board.member.store(true, Ordering::SeqCst);
        let target = self.until_end.then_some(placed.end);
        self.begin(placed, true, now);
        if let Some(held) = self.held.get_mut(&at) {
            held.target = target;
        }
    }

    /// Begins a partition, if it has not begun under this lease, with what is known of it; where its work begins may be
    /// decided later.
    pub(super) fn begin(&mut self, placed: Placed, is_decided: bool, now: Duration) {
        let Placed { lease, start, committed, restored, .. } = placed;
        match self.held.get_mut(lease.partition()) {
            Some(held) if held.lease == lease => flush_one(held, &mut self.outlet),
            _ => {
                let (gathered, target) = (Vec::new(), None);
                let held = Held { lease: lease.clone(), next: start, target, moved_at: now, gathered, bytes: 0 };
                self.held.insert(lease.partition().clone(), held);
            }
        }
        self.outlet.push(Feed::Assigned(Assignment { lease, committed, is_decided, restored }));
    }

    /// Takes a record that was read, and says how many bytes it has. One of a partition that is not held is nobody's.
    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>, now: Duration) -> usize {
        let at = Partition { topic: self.topic(message.topic()), number: message.partition() };
        let Some(held) = self.held.get(&at) else { return 0 };
        if Position::at(message.offset()) < held.next {
            return 0;
        }
        self.gather(wire::record(message, &at.topic), now)
    }

    /// Takes a record of a partition that is held, not read before, and says how many bytes it has.
    pub(super) fn gather(&mut self, record: Record, now: Duration) -> usize {
        let Some(held) = self.held.get_mut(&record.partition) else { return 0 };
        let size = record.size();
        held.next = record.next();
        held.moved_at = now;
        held.bytes += size;
        held.gathered.push(record);
        if held.gathered.len() >= RECORDS_MAX || held.bytes >= BYTES_MAX {
            flush_one(held, &mut self.outlet);
        }
        size
    }

    /// Moves what was gathered to the outlet, and says of which partitions the end was reached.
    pub(super) fn flush(&mut self) {
        for (partition, held) in &mut self.held {
            flush_one(held, &mut self.outlet);
            if held.target.is_some_and(|end| held.next >= end) {
                held.target = None;
                self.outlet.push(Feed::End { partition: partition.clone() });
            }
        }
    }

    /// Everything before the target of this partition was handed over, though no record says so.
    pub(super) fn ended(&mut self, partition: &Partition) {
        if let Some(held) = self.held.get_mut(partition)
            && held.target.take().is_some()
        {
            flush_one(held, &mut self.outlet);
            self.outlet.push(Feed::End { partition: partition.clone() });
        }
    }

    /// Takes partitions off the desk; what was read of them and not handed over is dropped. Their leases stay on.
    pub(super) fn release(&mut self, partitions: &[Partition]) -> Vec<Lease> {
        self.outlet.forget(partitions);
        for at in partitions {
            self.board.left(at);
        }
        partitions.iter().filter_map(|at| self.held.remove(at)).map(|held| held.lease).collect()
    }

    /// Who holds nothing has nothing to commit: called when the leases of what was released are off.
    pub(super) fn count_membership(&self) {
        self.board.member.store(!self.held.is_empty(), Ordering::SeqCst);
    }

    /// Tells the stage that partitions go, and returns where it will say that it is done with them.
    pub(super) fn announce(&mut self, partitions: Vec<Partition>) -> Receiver<()> {
        let (settled, done) = sync_channel(1);
        self.outlet.push(Feed::Revoked { partitions, settled });
        done
    }

    /// Partitions are gone: their leases go off at once.
    pub(super) fn lose(&mut self, partitions: Vec<Partition>) {
        for lease in self.release(&partitions) {
            lease.turn_off();
        }
        self.count_membership();
        if !partitions.is_empty() {
            self.outlet.push(Feed::Lost { partitions });
        }
    }

    /// The brokers cannot be reached, or can be again; said once.
    pub(super) fn trouble(&mut self, why: Option<String>) {
        if self.trouble != why.is_some() {
            self.trouble = why.is_some();
            self.outlet.push(Feed::Trouble(why));
        }
    }

    /// The source cannot go on. The first reason stays.
    pub(super) fn fail(&mut self, why: String) {
        self.failed.get_or_insert(why);
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.held.keys().cloned().collect()
    }
}

fn flush_one(held: &mut Held, outlet: &mut Outlet) {
    if !held.gathered.is_empty() {
        held.bytes = 0;
        let records = std::mem::take(&mut held.gathered);
        outlet.push(Feed::Records { lease: held.lease.clone(), records });
    }
}
