//! The ledger: batches come back here, in any order, and leave as epochs whose spans touch.

use std::collections::BTreeMap;

use crate::stream::batch::Part;
use crate::stream::{Batch, Closed, Ends, Epoch, Lease, Partition, Position, Weigh};

/// How many parts of a partition may wait for an earlier one before that one counts as lost.
const WAITING_MAX: usize = 64;

/// What the ledger knows of one partition.
#[derive(Debug)]
struct Account<T> {
    lease: Lease,
    /// Where the open rows begin: the position of the last close.
    from: Position,
    /// Where the next part must begin.
    next: Position,
    rows: Vec<T>,
    /// What the rows weigh.
    weight: usize,
    /// Parts that came before their turn, by where they begin.
    waiting: BTreeMap<Position, Part<T>>,
    /// Whether the next epoch is to carry its position even where it has neither rows nor progress.
    is_unsaid: bool,
}

/// Collects what was done under each lease until an epoch is closed.
#[derive(Debug)]
pub struct Ledger<T> {
    accounts: BTreeMap<Partition, Account<T>>,
}

/// Work that was lost or done twice; the stage stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// A part begins before what is already there ends.
    #[error("{partition}: a batch begins at {from}, but everything before {next} is already there")]
    Overlap {
        /// Where.
        partition: Partition,
        /// Where the batch begins.
        from: Position,
        /// Where it should have begun.
        next: Position,
    },
    /// A part never came.
    #[error("{partition}: the batch that begins at {next} is lost")]
    Gap {
        /// Where.
        partition: Partition,
        /// Where the missing one begins.
        next: Position,
    },
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self { accounts: BTreeMap::new() }
    }
}

impl<T> Ledger<T> {
    /// Opens an account at the committed position.
    pub fn assign(&mut self, lease: Lease, committed: Position) {
        let partition = lease.partition().clone();
        let (rows, waiting) = (Vec::new(), BTreeMap::new());
        let (from, next, weight, is_unsaid) = (committed, committed, 0, false);
        self.accounts.insert(partition, Account { lease, from, next, rows, weight, waiting, is_unsaid });
    }

    /// The next epoch carries the position of this partition, which begins where it is decided, come what may: one that
    /// has a position is missed when its first records are removed before anyone has read them.
    pub fn say(&mut self, partition: &Partition) {
        if let Some(account) = self.accounts.get_mut(partition) {
            account.is_unsaid = true;
        }
    }

    /// Closes an account and drops what is in it: the partition was reset, revoked or lost.
    pub fn release(&mut self, partition: &Partition) {
        self.accounts.remove(partition);
    }

    /// Takes a batch in. Parts whose lease is gone are dropped: their partition was reset.
    ///
    /// # Errors
    /// [`Disorder`] when something came twice or not at all.
    pub fn add(&mut self, batch: Batch<T>) -> Result<(), Disorder>
    where
        T: Weigh,
    {
        for part in batch.parts {
            let Some(account) = self.accounts.get_mut(part.progress.lease.partition()) else { continue };
            if account.lease != part.progress.lease || !account.lease.is_live() {
                continue;
            }
            let from = part.progress.span.from;
            if from < account.next || account.waiting.contains_key(&from) {
                let partition = part.progress.lease.partition().clone();
                return Err(Disorder::Overlap { partition, from, next: account.next });
            }
            account.waiting.insert(from, part);
            while let Some(next) = account.waiting.remove(&account.next) {
                account.next = next.progress.span.until;
                account.weight += next.rows.iter().map(Weigh::weight).sum::<usize>();
                account.rows.extend(next.rows);
            }
            if account.waiting.len() > WAITING_MAX {
                return Err(Disorder::Gap { partition: account.lease.partition().clone(), next: account.next });
            }
        }
        Ok(())
    }

    /// Adds rows that stand for no progress (a tick) to a partition that is assigned; says whether it is.
    pub fn add_aside(&mut self, partition: &Partition, rows: Vec<T>) -> bool
    where
        T: Weigh,
    {
        let Some(account) = self.accounts.get_mut(partition) else { return false };
        account.weight += rows.iter().map(Weigh::weight).sum::<usize>();
        account.rows.extend(rows);
        true
    }

    /// The partitions with an account.
    #[cfg(test)]
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.accounts.keys()
    }

    /// The rows that are open, all partitions together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.values().map(|account| account.rows.len()).sum()
    }

    /// What the open rows weigh, all partitions together.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.accounts.values().map(|account| account.weight).sum()
    }

    /// What the open rows of one partition weigh.
    #[must_use]
    pub fn weight_of(&self, partition: &Partition) -> usize {
        self.accounts.get(partition).map_or(0, |account| account.weight)
    }

    /// Whether there is nothing to close.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.values().all(|account| account.rows.is_empty() && account.from == account.next)
    }

    /// The open rows of one partition.
    #[must_use]
    pub fn rows(&self, partition: &Partition) -> &[T] {
        self.accounts.get(partition).map_or(&[], |account| &account.rows)
    }

    /// Closes everything that is open. An epoch carries the position of *every* assigned partition with rows or
    /// progress, and of those others that are to be said; `None` when there are neither rows nor progress.
    pub fn close(&mut self) -> Option<Epoch<T>> {
        if self.is_empty() {
            return None;
        }
        let partitions: Vec<Partition> = self.accounts.keys().cloned().collect();
        let closed = |partition| self.close_part(partition).or_else(|| self.close_idle(partition));
        Some(Epoch::new(partitions.iter().filter_map(closed).collect()))
    }

    /// A position that is to be said.
    fn close_idle(&mut self, partition: &Partition) -> Option<Closed<T>> {
        let account = self.accounts.get_mut(partition)?;
        let closed = || Closed::new(account.lease.clone(), account.from, account.next, Vec::new());
        std::mem::take(&mut account.is_unsaid).then(closed)
    }

    /// Closes one partition; `None` when it has neither rows nor progress.
    pub fn close_part(&mut self, partition: &Partition) -> Option<Closed<T>> {
        let account = self.accounts.get_mut(partition)?;
        if account.rows.is_empty() && account.from == account.next {
            return None;
        }
        (account.weight, account.is_unsaid) = (0, false);
        let from = std::mem::replace(&mut account.from, account.next);
        Some(Closed::new(account.lease.clone(), from, account.next, std::mem::take(&mut account.rows)))
    }

    /// Closes one partition at `until`, an end that was decided elsewhere; what lies behind it stays open. `None` when
    /// the partition is not done up to there.
    pub fn close_part_until(&mut self, partition: &Partition, until: Position) -> Option<Closed<T>>
    where
        T: Ends + Weigh,
    {
        let account =
            self.accounts.get_mut(partition).filter(|account| account.from < until && account.next >= until)?;
        let count = account.rows.partition_point(|row| row.next() <= until);
        let behind = account.rows.split_off(count);
        account.weight = behind.iter().map(Weigh::weight).sum();
        let rows = std::mem::replace(&mut account.rows, behind);
        Some(Closed::new(account.lease.clone(), std::mem::replace(&mut account.from, until), until, rows))
    }
}
