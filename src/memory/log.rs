//! Topics, committed positions, transactions and group generations, in memory.
//!
//! What Kafka does and a naive fake would not: the records of a transaction own offsets from the moment they are
//! written, so does the marker that ends it; a read-committed reader stops before the first open one; positions that a
//! transaction carries are unstable until it ends. Bounded by whoever uses it: [`Log::forget_before`] drops what every
//! group is done with.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::stream::{Output, Partition, Position, Record};
use crate::time::Timestamp;

/// A transaction's number.
pub(in crate::memory) type Number = u64;

#[derive(Debug, Default)]
struct PartitionLog {
    /// Records in order, with the transaction that wrote them; offsets may be missing (markers, aborted records).
    records: VecDeque<(Record, Option<Number>)>,
    /// Open transactions, by number, with their first offset here.
    open: BTreeMap<Number, i64>,
    /// The next offset to be given out.
    end: i64,
    /// What was dropped by [`Log::forget_before`].
    start: i64,
}

impl PartitionLog {
    /// The end for a read-committed reader.
    fn stable_end(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }
}

/// A transaction that has not ended, or whose markers are not all written.
#[derive(Debug)]
struct Ongoing {
    producer: Arc<str>,
    since: Timestamp,
    /// Once decided: whether it was committed.
    decided: Option<bool>,
    touched: BTreeSet<Partition>,
    offsets: Vec<(Arc<str>, Partition, Position)>,
}

#[derive(Debug, Default)]
struct Inner {
    topics: BTreeMap<Arc<str>, Vec<PartitionLog>>,
    committed: HashMap<(Arc<str>, Partition), Position>,
    generations: HashMap<Arc<str>, u64>,
    epochs: HashMap<Arc<str>, u64>,
    ongoing: BTreeMap<Number, Ongoing>,
    next_number: Number,
    hold_markers: bool,
}

/// The log. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Inner>>);

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no partition {0} on the in-process log")]
pub struct NoSuchPartition(pub Partition);

/// A transaction's call came too late.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::memory) enum Refused {
    #[error("another producer has this transactional id")]
    Fenced,
    #[error("the transaction was ended by its timeout")]
    Expired,
    #[error(transparent)]
    Missing(#[from] NoSuchPartition),
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a topic; one that is there keeps its partitions.
    pub fn create(&self, topic: &Arc<str>, partitions: i32) {
        let count = usize::try_from(partitions).unwrap_or(1).max(1);
        self.inner()
            .topics
            .entry(topic.clone())
            .or_insert_with(|| std::iter::repeat_with(PartitionLog::default).take(count).collect());
    }

    /// The partitions of a topic, in order; none when there is no such topic.
    #[must_use]
    pub fn partitions(&self, topic: &Arc<str>) -> Vec<Partition> {
        let count = self.inner().topics.get(topic).map_or(0, Vec::len);
        (0..count).filter_map(|number| i32::try_from(number).ok()).map(|n| Partition::new(topic, n)).collect()
    }

    /// Appends a record with `at` as its append time.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn append(&self, output: &Output, at: Timestamp) -> Result<Position, NoSuchPartition> {
        self.inner().append(output, at, None)
    }

    /// Up to `count` committed records from `from` on.
    #[must_use]
    pub fn read(&self, partition: &Partition, from: Position, count: usize) -> Vec<Record> {
        let mut inner = self.inner();
        let Some(log) = inner.partition(partition) else { return Vec::new() };
        let first = log.records.partition_point(|(record, _)| record.offset < from.offset());
        let stable = log.stable_end();
        let committed = log.records.range(first..).map(|(record, _)| record);
        committed.take_while(|record| record.offset < stable).take(count).cloned().collect()
    }

    /// The append time of the last committed record before a position.
    #[must_use]
    pub fn time_before(&self, partition: &Partition, position: Position) -> Option<Timestamp> {
        let mut inner = self.inner();
        let log = inner.partition(partition)?;
        let next = log.records.partition_point(|(record, _)| record.offset < position.offset());
        log.records.get(next.checked_sub(1)?).map(|(record, _)| record.appended_at)
    }

    /// The first record that was appended at or after `at`, as a position; the end when there is none.
    #[must_use]
    pub fn position_at(&self, partition: &Partition, at: Timestamp) -> Position {
        let mut inner = self.inner();
        let Some(log) = inner.partition(partition) else { return Position::at(0) };
        let found = log.records.iter().find(|(record, _)| record.appended_at >= at);
        Position::at(found.map_or(log.end, |(record, _)| record.offset))
    }

    /// The position behind the last record or marker (the high watermark), open transactions included.
    #[must_use]
    pub fn end(&self, partition: &Partition) -> Position {
        Position::at(self.inner().partition(partition).map_or(0, |log| log.end))
    }

    /// The position before the first open transaction (the last stable offset).
    #[must_use]
    pub fn stable_end(&self, partition: &Partition) -> Position {
        Position::at(self.inner().partition(partition).map_or(0, |log| log.stable_end()))
    }

    /// The position that a group committed; the start of the partition when it has none.
    #[must_use]
    pub fn committed(&self, group: &Arc<str>, partition: &Partition) -> Position {
        let mut inner = self.inner();
        if let Some(position) = inner.committed.get(&(group.clone(), partition.clone())) {
            return *position;
        }
        Position::at(inner.partition(partition).map_or(0, |log| log.start))
    }

    /// Whether a transaction that has not ended carries a position of this group and partition: what is committed
    /// cannot be said yet.
    #[must_use]
    pub fn is_unstable(&self, group: &Arc<str>, partition: &Partition) -> bool {
        let inner = self.inner();
        let carried = inner.ongoing.values().flat_map(|ongoing| &ongoing.offsets);
        carried.into_iter().any(|(of, at, _)| of == group && at == partition)
    }

    /// Drops the records before a position: nobody needs them any more.
    pub fn forget_before(&self, partition: &Partition, position: Position) {
        let mut inner = self.inner();
        if let Some(log) = inner.partition(partition) {
            let gone = log.records.partition_point(|(record, _)| record.offset < position.offset());
            log.records.drain(..gone);
            log.start = log.start.max(position.offset());
        }
    }

    /// The group's present generation; members of an earlier one are fenced.
    #[must_use]
    pub fn generation(&self, group: &Arc<str>) -> u64 {
        self.inner().generations.get(group).copied().unwrap_or(0)
    }

    /// A rebalance: everyone who does not join again is fenced.
    pub fn next_generation(&self, group: &Arc<str>) -> u64 {
        let mut inner = self.inner();
        let generation = inner.generations.entry(group.clone()).or_insert(0);
        *generation += 1;
        *generation
    }

    /// Aborts the transactions that were begun longer ago than `timeout`.
    pub fn expire_transactions(&self, now: Timestamp, timeout: Duration) {
        let mut inner = self.inner();
        let open = inner.ongoing.iter().filter(|(_, ongoing)| ongoing.decided.is_none());
        let late: Vec<Number> =
            open.filter(|(_, ongoing)| now.since(ongoing.since) >= timeout).map(|(number, _)| *number).collect();
        late.into_iter().for_each(|number| inner.decide(number, false));
    }

    /// Whether the markers of an ended transaction are kept back until [`Log::write_marker`]: they come one after the
    /// other on a real log, so a reader may see the end of a transaction in one partition and not yet in the next.
    pub fn hold_markers(&self, hold: bool) {
        self.inner().hold_markers = hold;
    }

    /// How many markers are kept back.
    #[must_use]
    pub fn markers_held(&self) -> usize {
        let inner = self.inner();
        let ended = inner.ongoing.values().filter(|ongoing| ongoing.decided.is_some());
        ended.map(|ongoing| ongoing.touched.len() + usize::from(!ongoing.offsets.is_empty())).sum()
    }

    /// Writes one of the markers that are kept back.
    pub fn write_marker(&self, mut index: usize) {
        let mut inner = self.inner();
        let ended = inner.ongoing.iter().filter(|(_, ongoing)| ongoing.decided.is_some());
        for number in ended.map(|(number, _)| *number).collect::<Vec<_>>() {
            let Some(ongoing) = inner.ongoing.get(&number) else { continue };
            let count = ongoing.touched.len();
            if let Some(partition) = ongoing.touched.iter().nth(index).cloned() {
                return inner.end_in(number, &partition);
            }
            if index == count && !ongoing.offsets.is_empty() {
                return inner.settle_offsets(number);
            }
            index -= count + usize::from(!ongoing.offsets.is_empty());
        }
    }

    /// A producer with a transactional id begins: whoever had it is fenced, and what that one left open is aborted.
    pub(in crate::memory) fn init_producer(&self, id: &Arc<str>) -> u64 {
        let mut inner = self.inner();
        inner.settle(id);
        let epoch = inner.epochs.entry(id.clone()).or_insert(0);
        *epoch += 1;
        *epoch
    }

    /// Begins a transaction; the one before it of this producer is settled first.
    pub(in crate::memory) fn begin(&self, (id, epoch): (&Arc<str>, u64), at: Timestamp) -> Result<Number, Refused> {
        let mut inner = self.inner();
        inner.guard(id, epoch)?;
        inner.settle(id);
        inner.next_number += 1;
        let number = inner.next_number;
        let ongoing =
            Ongoing { producer: id.clone(), since: at, decided: None, touched: BTreeSet::new(), offsets: Vec::new() };
        inner.ongoing.insert(number, ongoing);
        Ok(number)
    }

    /// Appends inside a transaction.
    pub(in crate::memory) fn append_in(
        &self,
        number: Number,
        (id, epoch): (&Arc<str>, u64),
        output: &Output,
        at: Timestamp,
    ) -> Result<(), Refused> {
        let mut inner = self.inner();
        inner.guard(id, epoch)?;
        inner.open(number)?;
        let partition = Partition::new(&output.topic, output.partition);
        inner.append(output, at, Some(number))?;
        inner.open(number)?.touched.insert(partition);
        Ok(())
    }

    /// Adds positions to a transaction.
    pub(in crate::memory) fn offsets_in(
        &self,
        number: Number,
        (id, epoch): (&Arc<str>, u64),
        group: &Arc<str>,
        offsets: &[(Partition, Position)],
    ) -> Result<(), Refused> {
        let mut inner = self.inner();
        inner.guard(id, epoch)?;
        let carried = offsets.iter().map(|(partition, position)| (group.clone(), partition.clone(), *position));
        inner.open(number)?.offsets.extend(carried);
        Ok(())
    }

    /// Ends a transaction.
    pub(in crate::memory) fn end_transaction(
        &self,
        number: Number,
        (id, epoch): (&Arc<str>, u64),
        commit: bool,
    ) -> Result<(), Refused> {
        let mut inner = self.inner();
        inner.guard(id, epoch)?;
        inner.open(number)?;
        inner.decide(number, commit);
        Ok(())
    }

    /// Commits positions without a transaction.
    pub(in crate::memory) fn commit_offsets(&self, group: &Arc<str>, offsets: &[(Partition, Position)]) {
        let mut inner = self.inner();
        for (partition, position) in offsets {
            inner.committed.insert((group.clone(), partition.clone()), *position);
        }
    }
}

impl Inner {
    fn partition(&mut self, partition: &Partition) -> Option<&mut PartitionLog> {
        let number = usize::try_from(partition.number).ok()?;
        self.topics.get_mut(&partition.topic)?.get_mut(number)
    }

    fn append(&mut self, output: &Output, at: Timestamp, by: Option<Number>) -> Result<Position, NoSuchPartition> {
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

    fn guard(&self, id: &Arc<str>, epoch: u64) -> Result<(), Refused> {
        if self.epochs.get(id) == Some(&epoch) { Ok(()) } else { Err(Refused::Fenced) }
    }

    fn open(&mut self, number: Number) -> Result<&mut Ongoing, Refused> {
        self.ongoing.get_mut(&number).filter(|ongoing| ongoing.decided.is_none()).ok_or(Refused::Expired)
    }

    fn decide(&mut self, number: Number, commit: bool) {
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

    fn write_markers(&mut self, number: Number) {
        let touched = self.ongoing.get(&number).map(|ongoing| ongoing.touched.clone()).unwrap_or_default();
        for partition in touched {
            self.end_in(number, &partition);
        }
        self.settle_offsets(number);
    }

    /// The marker in one partition.
    fn end_in(&mut self, number: Number, partition: &Partition) {
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

    fn settle_offsets(&mut self, number: Number) {
        let Some(ongoing) = self.ongoing.get_mut(&number) else { return };
        for (group, partition, position) in std::mem::take(&mut ongoing.offsets) {
            self.committed.insert((group, partition), position);
        }
        self.forget_if_over(number);
    }

    fn forget_if_over(&mut self, number: Number) {
        let over =
            |ongoing: &Ongoing| ongoing.decided.is_some() && ongoing.touched.is_empty() && ongoing.offsets.is_empty();
        if self.ongoing.get(&number).is_some_and(over) {
            self.ongoing.remove(&number);
        }
    }

    /// Ends what a producer has left open, and writes its markers.
    fn settle(&mut self, id: &Arc<str>) {
        let mine = self.ongoing.iter().filter(|(_, ongoing)| ongoing.producer == *id);
        for number in mine.map(|(number, _)| *number).collect::<Vec<_>>() {
            if self.ongoing.get(&number).is_some_and(|ongoing| ongoing.decided.is_none()) {
                self.decide(number, false);
            }
            self.write_markers(number);
        }
    }
}
