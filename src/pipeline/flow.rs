//! What the stages have in common: the way from intake to commit, with revokes, resets and the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::pipeline::limit::{DeadLetterLimit, Fate, Watch};
use crate::pipeline::stage::Effect;
use crate::stream::{
    Assignment, Batch, Command, Epoch, Intake, Lease, Ledger, Outcome, Partition, Record, Row, Taken, Weigh,
};
use crate::time::Timestamp;

/// An epoch is closed at this many rows even before its interval is over; while one of this size is open and another
/// is being committed, nothing more is taken.
pub(in crate::pipeline) const EPOCH_ROWS_MAX: usize = 20_000;
/// Likewise, bytes of outputs and notes.
pub(in crate::pipeline) const EPOCH_BYTES_MAX: usize = 64 << 20;

/// An epoch stays open so many times as long as the last commit took, so that a broker that is slow, or busy, is not
/// asked to commit all the time...
const COMMITS_OPEN: u32 = 3;
/// ...but no longer than this, unless the interval itself is longer.
const STRETCHED_MAX: Duration = Duration::from_secs(1);

/// Intake, ledger and the commit that is under way.
#[derive(Debug)]
pub(in crate::pipeline) struct Flow<R> {
    pub(in crate::pipeline) intake: Intake,
    pub(in crate::pipeline) ledger: Ledger<R>,
    pub(in crate::pipeline) watch: Watch,
    committing: BTreeSet<Partition>,
    revoked: BTreeSet<Partition>,
    ended: BTreeSet<Partition>,
    assigned: BTreeMap<Partition, Lease>,
    opened_at: Option<Timestamp>,
    interval: Duration,
    commit_began: Option<Timestamp>,
    commit_took: Duration,
    until_end: bool,
    finishing: bool,
    paused: bool,
}

impl<R: Weigh> Flow<R> {
    pub(in crate::pipeline) fn new(interval: Duration, until_end: bool) -> Self {
        Self {
            intake: Intake::default(),
            ledger: Ledger::default(),
            watch: Watch::new(DeadLetterLimit::default()),
            committing: BTreeSet::new(),
            revoked: BTreeSet::new(),
            ended: BTreeSet::new(),
            assigned: BTreeMap::new(),
            opened_at: None,
            interval,
            commit_began: None,
            commit_took: Duration::ZERO,
            until_end,
            finishing: false,
            paused: false,
        }
    }

    /// A partition begins; or it is decided where, under the lease that it has. Says whether it is new.
    pub(in crate::pipeline) fn assign(&mut self, assignment: &Assignment) -> bool {
        let (lease, committed) = (&assignment.lease, assignment.committed);
        let partition = lease.partition().clone();
        self.revoked.remove(&partition);
        self.ended.remove(&partition);
        self.intake.assign(lease.clone(), committed);
        self.ledger.assign(lease.clone(), committed);
        if assignment.is_decided {
            self.ledger.say(&partition);
        }
        let is_new = self.assigned.get(&partition) != Some(lease);
        if is_new {
            self.watch.begin(&partition);
            self.assigned.insert(partition, lease.clone());
        }
        is_new
    }

    /// Partitions go: no more is read, what is done is still committed.
    pub(in crate::pipeline) fn revoke(&mut self, partitions: Vec<Partition>) {
        for partition in partitions {
            self.intake.release(&partition);
            self.revoked.insert(partition);
        }
    }

    /// Partitions are gone.
    pub(in crate::pipeline) fn drop_all(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.intake.release(partition);
            self.ledger.release(partition);
            self.watch.forget(partition);
            self.assigned.remove(partition);
            self.revoked.remove(partition);
            self.ended.remove(partition);
        }
    }

    /// Takes records in; an error is a reason to halt.
    pub(in crate::pipeline) fn take(&mut self, lease: &Lease, records: Vec<Record>) -> Result<Taken, String> {
        self.intake.take(lease, records).map_err(|error| error.to_string())
    }

    /// Takes finished rows in, and says why the stage must stop: a batch was lost or came twice, or too many of the
    /// rows that are in order now are dead letters.
    pub(in crate::pipeline) fn add<J, N>(&mut self, batch: Batch<R>, now: Timestamp) -> Option<Effect<J, N>>
    where
        R: Fate,
    {
        let open = |lease: &Lease| (lease.partition().clone(), self.ledger.rows(lease.partition()).len());
        let before: BTreeMap<Partition, usize> = batch.leases().map(open).collect();
        if let Err(error) = self.ledger.add(batch) {
            return Some(Effect::Halt(error.to_string()));
        }
        self.mark_open(now);
        for (partition, before) in before {
            for row in self.ledger.rows(&partition).iter().skip(before) {
                if let Err(too_many) = self.watch.take(&partition, row.dead()) {
                    return Some(Effect::BadData(too_many.to_string()));
                }
            }
        }
        None
    }

    /// Adds rows without progress, such as ticks.
    pub(in crate::pipeline) fn add_aside(&mut self, partition: &Partition, rows: Vec<R>, now: Timestamp) {
        if self.ledger.add_aside(partition, rows) {
            self.mark_open(now);
        }
    }

    /// Whether no more rows may come in until the open ones are closed.
    pub(in crate::pipeline) fn is_full(&self) -> bool {
        self.ledger.len() >= EPOCH_ROWS_MAX || self.ledger.weight() >= EPOCH_BYTES_MAX
    }

    /// Asks the source to wait when too much is waiting, and to go on when there is `room` again.
    pub(in crate::pipeline) fn throttle<J, N>(&mut self, full: bool, room: bool) -> Option<Effect<J, N>> {
        match self.paused {
            false if full => {
                self.paused = true;
                Some(Effect::Source(Command::Pause))
            }
            true if room && !full => {
                self.paused = false;
                Some(Effect::Source(Command::Resume))
            }
            _ => None,
        }
    }

    fn mark_open(&mut self, now: Timestamp) {
        if self.opened_at.is_none() && !self.ledger.is_empty() {
            self.opened_at = Some(now);
        }
    }

    /// Everything of this partition that was there at the start was handed over.
    pub(in crate::pipeline) fn end(&mut self, partition: Partition) {
        self.ended.insert(partition);
    }

    /// Take nothing new.
    pub(in crate::pipeline) fn finish(&mut self) {
        self.finishing = true;
    }

    pub(in crate::pipeline) const fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Whether a partition was given to us and has not gone.
    pub(in crate::pipeline) fn is_assigned(&self, partition: &Partition) -> bool {
        self.assigned.contains_key(partition)
    }

    /// The partitions that are on their way out.
    pub(in crate::pipeline) const fn revoked(&self) -> &BTreeSet<Partition> {
        &self.revoked
    }

    /// The partitions of which anything is held.
    #[cfg(test)]
    pub(in crate::pipeline) fn held(&self) -> BTreeSet<Partition> {
        let known = self.committing.iter().chain(&self.revoked).chain(&self.ended).chain(self.assigned.keys());
        known.chain(self.intake.partitions()).chain(self.ledger.partitions()).cloned().collect()
    }

    /// Whether a commit is under way.
    pub(in crate::pipeline) fn is_committing(&self) -> bool {
        !self.committing.is_empty()
    }

    /// Whether positions of this partition are being committed.
    pub(in crate::pipeline) fn commits(&self, partition: &Partition) -> bool {
        self.committing.contains(partition)
    }

    /// With `--until-end`: whether every assigned partition was handed over whole.
    pub(in crate::pipeline) fn all_ended(&self) -> bool {
        self.until_end && !self.assigned.is_empty() && self.assigned.keys().all(|at| self.ended.contains(at))
    }

    /// Marks one closed partition as being committed (the archive commits a partition at a time).
    pub(in crate::pipeline) fn begin_commit(&mut self, partition: Partition) {
        self.committing.insert(partition);
    }

    /// Revoked partitions of which nothing is open or being committed, and of which `busy` says no; they are
    /// forgotten here.
    pub(in crate::pipeline) fn settle<J, N>(&mut self, busy: impl Fn(&Partition) -> bool) -> Option<Effect<J, N>> {
        let done = |at: &Partition| !self.commits(at) && self.ledger.rows(at).is_empty() && !busy(at);
        let settled: Vec<Partition> = self.revoked.iter().filter(|at| done(at)).cloned().collect();
        self.drop_all(&settled);
        (!settled.is_empty()).then_some(Effect::Settled(settled))
    }

    /// What to do with partitions that were fenced: each begins again.
    pub(in crate::pipeline) fn reset<J, N>(&mut self, partitions: &[Partition]) -> Vec<Effect<J, N>> {
        let mut again = Vec::new();
        for partition in partitions {
            let lease = self.intake.release(partition);
            if let Some(lease) = lease.or_else(|| self.assigned.get(partition).cloned()) {
                lease.turn_off();
            }
            self.ledger.release(partition);
            self.ended.remove(partition);
            if !self.revoked.contains(partition) {
                again.push(partition.clone());
            }
        }
        if again.is_empty() {
            return Vec::new();
        }
        let command = Effect::Source(Command::Reset(again.clone()));
        std::iter::once(command).chain(again.into_iter().map(Effect::WasReset)).collect()
    }
}

impl<N> Flow<Row<N>> {
    /// Closes and commits when it is time: the interval is over (it is stretched while commits take long), the epoch is
    /// large, a partition is leaving, or the end has come.
    pub(in crate::pipeline) fn close_if_due<J>(&mut self, now: Timestamp) -> Option<Effect<J, N>> {
        if self.is_committing() || self.ledger.is_empty() {
            return None;
        }
        let open_for = self.interval.max((self.commit_took * COMMITS_OPEN).min(STRETCHED_MAX));
        let aged = self.opened_at.is_none_or(|at| now.is_over(at, open_for));
        let leaving = self.revoked.iter().any(|at| !self.ledger.rows(at).is_empty());
        if !(aged || self.is_full() || leaving || self.finishing || self.all_ended()) {
            return None;
        }
        let epoch = self.ledger.close()?;
        self.opened_at = None;
        self.commit_began = Some(now);
        self.committing = epoch.parts().iter().map(|part| part.partition().clone()).collect();
        Some(Effect::Commit(epoch))
    }
}

impl<R: Weigh> Flow<R> {
    /// A commit ended: what follows.
    pub(in crate::pipeline) fn committed<J, N>(&mut self, outcome: Outcome, now: Timestamp) -> Vec<Effect<J, N>> {
        self.committing.clear();
        self.commit_took = self.commit_began.take().map_or(Duration::ZERO, |began| now.since(began));
        match outcome {
            Outcome::Committed(_) => Vec::new(),
            Outcome::Fenced(partitions) => self.reset(&partitions),
            Outcome::Halt(why) => vec![Effect::Halt(why)],
        }
    }

    /// One epoch of a published segment.
    pub(in crate::pipeline) fn publish<J, N>(&mut self, epoch: Epoch<Row<N>>) -> Effect<J, N> {
        for part in epoch.parts() {
            self.begin_commit(part.partition().clone());
        }
        Effect::Commit(epoch)
    }
}
