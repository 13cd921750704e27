//! An epoch: what is committed together, and how.
//!
//! An epoch keeps its outputs until its commit is acknowledged. The order of a commit is fixed here, once: produce,
//! read the group's metadata, check every lease, send offsets, commit.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::stream::transaction::{Fault, Transaction};
use crate::stream::{Lease, Partition, Position, Row, Span};
use crate::time::Clock;

/// One partition's closed rows.
#[derive(Debug)]
#[must_use = "a dropped part is lost work: reset its partition"]
pub struct Closed<T> {
    lease: Lease,
    span: Span,
    rows: Vec<T>,
}

impl<T> Closed<T> {
    pub(in crate::stream) const fn new(lease: Lease, from: Position, until: Position, rows: Vec<T>) -> Self {
        Self { lease, span: Span { from, until }, rows }
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        self.lease.partition()
    }

    /// The lease that the rows were read under.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The span that the rows came from.
    #[must_use]
    pub const fn span(&self) -> Span {
        self.span
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[T] {
        &self.rows
    }

    /// Other rows for the same span.
    pub fn transform<U>(self, change: impl FnOnce(Vec<T>) -> Vec<U>) -> Closed<U> {
        Closed { lease: self.lease, span: self.span, rows: change(self.rows) }
    }

    /// The rows were published outside the log, up to the end of the span: what is left to do is to commit that end,
    /// with the rows that remain.
    pub fn published(self) -> Epoch<T> {
        Epoch::new(vec![self])
    }
}

/// The two ways to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Outputs and offsets in one transaction.
    #[default]
    ExactlyOnce,
    /// Every delivery report good, then the offsets.
    AtLeastOnce,
}

/// How long a commit is tried: a call is repeated on a retriable error, an epoch after an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The wait before the second attempt; doubles up to 32 times that.
    pub backoff: Duration,
    /// All attempts together; then the stage stops.
    pub deadline: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { backoff: Duration::from_millis(50), deadline: Duration::from_secs(60) }
    }
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is on the log: these positions are committed. Partitions whose lease had died are not among them.
    Committed(Vec<(Partition, Position)>),
    /// This member is out of the group: nothing was committed, these partitions must be reset.
    Fenced(Vec<Partition>),
    /// Nothing can be said or done any more: stop, the restart reads the committed offsets.
    Halt(String),
}

/// What is committed together.
#[derive(Debug)]
#[must_use = "a dropped epoch is lost work: reset its partitions"]
pub struct Epoch<T> {
    parts: Vec<Closed<T>>,
}

/// How often an abort may find that something had ended before it: this transaction, and the one before.
const ENDED_MAX: usize = 2;

/// How one attempt ended without a commit.
enum Setback {
    Again(String),
    /// Its partitions begin again, and these with them.
    Fenced(Vec<Partition>),
    Halt(String),
}

impl<T> Epoch<T> {
    pub(in crate::stream) const fn new(parts: Vec<Closed<T>>) -> Self {
        Self { parts }
    }

    /// Its parts, one a partition.
    pub fn parts(&self) -> &[Closed<T>] {
        &self.parts
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().flat_map(|part| part.rows.iter())
    }
}

impl<N> Epoch<Row<N>> {
    /// Commits it through `port`: outputs and offsets together or not at all ([`Delivery::ExactlyOnce`]), or offsets
    /// only after every output was acknowledged ([`Delivery::AtLeastOnce`]). Parts with a dead lease are taken out.
    pub fn commit(
        &mut self,
        port: &mut dyn Transaction,
        delivery: Delivery,
        patience: Patience,
        clock: &dyn Clock,
    ) -> Outcome {
        let mut tries = Tries::new(patience, clock);
        let mut attempt = 0;
        loop {
            self.parts.retain(|part| part.lease.is_live());
            if self.parts.is_empty() {
                return Outcome::Committed(Vec::new());
            }
            let offsets = self.offsets();
            let result = match delivery {
                Delivery::ExactlyOnce => self.transact(port, &offsets, &mut tries),
                Delivery::AtLeastOnce => self.deliver(port, &offsets, &mut tries),
            };
            match result {
                Ok(()) => return Outcome::Committed(offsets),
                Err(Setback::Fenced(undone)) => {
                    // What is still read under these leases would be committed behind what is dropped here.
                    self.parts.iter().for_each(|part| part.lease.turn_off());
                    let all: BTreeSet<Partition> = offsets.into_iter().map(|(at, _)| at).chain(undone).collect();
                    return Outcome::Fenced(all.into_iter().collect());
                }
                Err(Setback::Halt(why)) => return Outcome::Halt(why),
                Err(Setback::Again(why)) => {
                    if !tries.wait(attempt) {
                        return Outcome::Halt(format!("the commit deadline passed; last: {why}"));
                    }
                    attempt += 1;
                }
            }
        }
    }

    fn offsets(&self) -> Vec<(Partition, Position)> {
        self.parts.iter().map(|part| (part.partition().clone(), part.span.until)).collect()
    }

    fn all_live(&self) -> bool {
        self.parts.iter().all(|part| part.lease.is_live())
    }

    fn transact(
        &self,
        port: &mut dyn Transaction,
        offsets: &[(Partition, Position)],
        tries: &mut Tries<'_>,
    ) -> Result<(), Setback> {
        let begun = tries.repeat(port, |port| port.begin());
        self.settle(port, begun, tries)?;
        for output in self.rows().flat_map(|row| &row.outputs) {
            let produced = tries.repeat(port, |port| port.produce(output));
            self.settle(port, produced, tries)?;
        }
        let read = tries.repeat(port, |port| port.read_metadata());
        self.settle(port, read, tries)?;
        if !self.all_live() {
            return self.settle(port, Err(Fault::Abortable("a lease ended".to_owned())), tries);
        }
        let sent = tries.repeat(port, |port| port.send_offsets(offsets));
        self.settle(port, sent, tries)?;
        let committed = tries.repeat(port, |port| port.commit());
        self.settle(port, committed, tries)
    }

    /// Turns a fault into what the epoch does next, aborting the transaction where that is allowed.
    fn settle(
        &self,
        port: &mut dyn Transaction,
        result: Result<(), Fault>,
        tries: &mut Tries<'_>,
    ) -> Result<(), Setback> {
        let (mut setback, abort) = match result {
            Ok(()) => return Ok(()),
            Err(Fault::Retriable(why) | Fault::Abortable(why)) => (Setback::Again(why), true),
            Err(Fault::FencedMember(_)) => (Setback::Fenced(Vec::new()), true),
            Err(Fault::Undone { partitions, .. }) => (Setback::Fenced(partitions), true),
            // An unknown outcome is never followed by an abort: the commit may stand.
            Err(Fault::Unknown(why) | Fault::Fatal(why)) => (Setback::Halt(why), false),
        };
        if !abort {
            return Err(setback);
        }
        let mut aborted = tries.repeat(port, |port| port.abort());
        for _ in 0..ENDED_MAX {
            // The transaction was ended without us, or the one before it never was. What became of it stands on the log
            // and not in memory.
            let undone = match aborted {
                Err(Fault::FencedMember(_)) => Vec::new(),
                Err(Fault::Undone { partitions, .. }) => partitions,
                _ => break,
            };
            setback = match setback {
                Setback::Fenced(known) => Setback::Fenced([known, undone].concat()),
                _ => Setback::Fenced(undone),
            };
            aborted = tries.repeat(port, |port| port.abort());
        }
        Err(aborted
            .map_or_else(|fault| Setback::Halt(format!("the transaction could not be aborted: {fault}")), |()| setback))
    }

    fn deliver(
        &self,
        port: &mut dyn Transaction,
        offsets: &[(Partition, Position)],
        tries: &mut Tries<'_>,
    ) -> Result<(), Setback> {
        for output in self.rows().flat_map(|row| &row.outputs) {
            tries.repeat(port, |port| port.produce(output)).map_err(setback_of)?;
        }
        tries.repeat(port, |port| port.flush()).map_err(setback_of)?;
        // Each time: nothing but the leases ties these positions to who reads the partition by then.
        let commit = |port: &mut dyn Transaction| match self.all_live() {
            true => port.commit_offsets(offsets),
            false => Err(Fault::Abortable("a lease ended".to_owned())),
        };
        tries.repeat(port, commit).map_err(setback_of)
    }
}

fn setback_of(fault: Fault) -> Setback {
    match fault {
        Fault::Retriable(why) | Fault::Abortable(why) => Setback::Again(why),
        Fault::FencedMember(_) => Setback::Fenced(Vec::new()),
        Fault::Undone { partitions, .. } => Setback::Fenced(partitions),
        Fault::Unknown(why) | Fault::Fatal(why) => Setback::Halt(why),
    }
}

/// The patience that is left.
pub(in crate::stream) struct Tries<'a> {
    patience: Patience,
    clock: &'a dyn Clock,
    began: Duration,
}

impl<'a> Tries<'a> {
    pub(in crate::stream) fn new(patience: Patience, clock: &'a dyn Clock) -> Self {
        Self { patience, clock, began: clock.monotonic() }
    }

    /// The same call again while it says that it is retriable.
    pub(in crate::stream) fn repeat(
        &mut self,
        port: &mut dyn Transaction,
        mut call: impl FnMut(&mut dyn Transaction) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut attempt = 0;
        loop {
            match call(port) {
                Err(Fault::Retriable(why)) => {
                    attempt += 1;
                    if !self.wait(attempt) {
                        return Err(Fault::Fatal(format!("the commit deadline passed; last: {why}")));
                    }
                }
                done => return done,
            }
        }
    }

    /// Waits before the next attempt; false when the deadline has passed.
    pub(in crate::stream) fn wait(&self, attempt: u32) -> bool {
        if self.clock.monotonic().saturating_sub(self.began) >= self.patience.deadline {
            return false;
        }
        self.clock.pause(self.patience.backoff.saturating_mul(1 << attempt.min(5)));
        true
    }
}
