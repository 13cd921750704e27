//! What the in-process log holds, and how a transaction ends in it.
//!
//! Behind the lock of [`Log`](super::Log), which is the way in.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::stream::{Output, Partition, Position, Record};
use crate::time::Timestamp;

/// A transaction's number.
pub(super) type Number = u64;

/// One partition.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    /// Records in order, with the transaction that wrote them; offsets may be missing (markers, aborted records).
    pub(super) records: VecDeque<(Record, Option<Number>)>,
    /// Open transactions, by number, with their first offset here.
    pub(super) open: BTreeMap<Number, i64>,
    /// The next offset to be given out.
    pub(super) end: i64,
    /// What was dropped by [`Log::forget_before`](super::Log::forget_before).
    pub(super) start: i64,
}

impl PartitionLog {
    /// The end for a read-committed reader.
    pub(super) fn stable_end(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }
}

/// A transaction that has not ended, or whose markers are not all written.
#[derive(Debug)]
pub(super) struct Ongoing {
    pub(super) producer: Arc<str>,
    pub(super) since: Timestamp,
    /// Once decided: whether it was committed.
    pub(super) decided: Option<bool>,
    /// Said to be committed, and without any marker: its producer's next transaction decides.
    pub(super) is_left_out: bool,
    pub(super) touched: BTreeSet<Partition>,
    pub(super) offsets: Vec<(Arc<str>, Partition, Position)>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) topics: BTreeMap<Arc<str>, Vec<PartitionLog>>,
    pub(super) committed: HashMap<(Arc<str>, Partition), Position>,
    pub(super) generations: HashMap<Arc<str>, u64>,
    pub(super) epochs: HashMap<Arc<str>, u64>,
    pub(super) ongoing: BTreeMap<Number, Ongoing>,
    pub(super) next_number: Number,
    pub(super) hold_markers: bool,
}

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no partition {0} on the in-process log")]
pub struct NoSuchPartition(pub Partition);

/// A transaction's call came too late.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("another producer has this transactional id")]
    Fenced,
    #[error("the transaction was ended by its timeout")]
    Expired,
    #[error(transparent)]
    Missing(#[from] NoSuchPartition),
}

impl Contents {
    pub(super) fn partition(&mut self, partition: &Partition) -> Option<&mut PartitionLog> {
        let number = usize::try_from(partition.number).ok()?;
        self.topics.get_mut(&partition.topic)?.get_mut(number)
    }

    pub(super) fn append(
        &mut self,
        output: &Output,
        at: Timestamp,
        by: Option<Number>,
    ) -> Result<Position, NoSuchPartition> {
        let partition = Partition::new(&output.topic, output.partition);
        let Some(log) = self.partition(&partition) else { return Err(NoSuchPartition(partition)) };
        let record = Record {
            partition,
            offset: log.end,
            appended_at: at,
            key: output.key.clone(),
            value: output.value.clone(),
            headers: output.headers.clone(),
        };
        if let Some(number) = by {
            log.open.entry(number).or_insert(log.end);
        }
        let next = record.next();
        log.end = next.offset();
        log.records.push_back((record, by));
        Ok(next)
    }

    pub(super) fn guard(&self, id: &Arc<str>, epoch: u64) -> Result<(), Refused> {
        if self.epochs.get(id) == Some(&epoch) { Ok(()) } else { Err(Refused::Fenced) }
    }

    pub(super) fn open(&mut self, number: Number) -> Result<&mut Ongoing, Refused> {
        self.ongoing.get_mut(&number).filter(|ongoing| ongoing.decided.is_none()).ok_or(Refused::Expired)
    }

    pub(super) fn decide(&mut self, number: Number, commit: bool) {
        let Some(ongoing) = self.ongoing.get_mut(&number) else { return };
        ongoing.decided = Some(commit);
        if !commit {
            ongoing.offsets.clear();
        }
        let nothing_left = ongoing.touched.is_empty() && ongoing.offsets.is_empty();
        if nothing_left || !self.hold_markers {
            self.write_markers(number);
        }
    }

    pub(super) fn write_markers(&mut self, number: Number) {
        let touched = self.ongoing.get(&number).map(|ongoing| ongoing.touched.clone()).unwrap_or_default();
        for partition in touched {
            self.end_in(number, &partition);
        }
        self.settle_offsets(number);
    }

    /// The marker in one partition.
    pub(super) fn end_in(&mut self, number: Number, partition: &Partition) {
        let Some(ongoing) = self.ongoing.get_mut(&number) else { return };
        let committed = ongoing.decided == Some(true);
        ongoing.touched.remove(partition);
        if let Some(log) = self.partition(partition) {
            log.open.remove(&number);
            log.end += 1;
            if !committed {
                log.records.retain(|(_, by)| *by != Some(number));
            }
        }
        self.forget_if_over(number);
    }

    pub(super) fn settle_offsets(&mut self, number: Number) {
        let Some(ongoing) = self.ongoing.get_mut(&number) else { return };
        for (group, partition, position) in std::mem::take(&mut ongoing.offsets) {
            self.committed.insert((group, partition), position);
        }
        self.forget_if_over(number);
    }

    pub(super) fn forget_if_over(&mut self, number: Number) {
        let over =
            |ongoing: &Ongoing| ongoing.decided.is_some() && ongoing.touched.is_empty() && ongoing.offsets.is_empty();
        if self.ongoing.get(&number).is_some_and(over) {
            self.ongoing.remove(&number);
        }
    }

    /// Ends what a producer has left open, and writes its markers. What was left out stays so, unless it is `all`.
    pub(super) fn settle(&mut self, id: &Arc<str>, all: bool) {
        let mine = self.ongoing.iter().filter(|(_, ongoing)| ongoing.producer == *id && (all || !ongoing.is_left_out));
        for number in mine.map(|(number, _)| *number).collect::<Vec<_>>() {
            if self.ongoing.get(&number).is_some_and(|ongoing| ongoing.decided.is_none()) {
                self.decide(number, false);
            }
            self.write_markers(number);
        }
    }
}
