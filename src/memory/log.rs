//! Topics, committed positions, transactions and group generations, in memory.
//!
//! What Kafka does and a naive fake would not: the records of a transaction own offsets from the moment they are
//! written, so does the marker that ends it; a read-committed reader stops before the first open one; positions that a
//! transaction carries are unstable until it ends. Bounded by whoever uses it: [`Log::forget_before`] drops what every
//! group is done with.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::contents::{Contents, NoSuchPartition, Number, Ongoing, PartitionLog, Refused};
use crate::stream::{Output, Partition, Position, Record};
use crate::time::Timestamp;

/// The log. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Contents>>);

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a topic; one that is there keeps its partitions.
    pub fn create(&self, topic: &Arc<str>, partitions: i32) {
        let count = usize::try_from(partitions).unwrap_or(1).max(1);
        self.contents()
            .topics
            .entry(topic.clone())
            .or_insert_with(|| std::iter::repeat_with(PartitionLog::default).take(count).collect());
    }

    /// The partitions of a topic, in order; none when there is no such topic.
    #[must_use]
    pub fn partitions(&self, topic: &Arc<str>) -> Vec<Partition> {
        let count = self.contents().topics.get(topic).map_or(0, Vec::len);
        (0..count).filter_map(|number| i32::try_from(number).ok()).map(|n| Partition::new(topic, n)).collect()
    }

    /// Appends a record with `at` as its append time.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn append(&self, output: &Output, at: Timestamp) -> Result<Position, NoSuchPartition> {
        self.contents().append(output, at, None)
    }

    /// Up to `count` committed records from `from` on.
    #[must_use]
    pub fn read(&self, partition: &Partition, from: Position, count: usize) -> Vec<Record> {
        let mut contents = self.contents();
        let Some(log) = contents.partition(partition) else { return Vec::new() };
        let first = log.records.partition_point(|(record, _)| record.offset < from.offset());
        let stable = log.stable_end();
        let committed = log.records.range(first..).map(|(record, _)| record);
        committed.take_while(|record| record.offset < stable).take(count).cloned().collect()
    }

    /// The append time of the last committed record before a position.
    #[must_use]
    pub fn time_before(&self, partition: &Partition, position: Position) -> Option<Timestamp> {
        let mut contents = self.contents();
        let log = contents.partition(partition)?;
        let next = log.records.partition_point(|(record, _)| record.offset < position.offset());
        log.records.get(next.checked_sub(1)?).map(|(record, _)| record.appended_at)
    }

    /// The first record that was appended at or after `at`, as a position; the end when there is none.
    #[must_use]
    pub fn position_at(&self, partition: &Partition, at: Timestamp) -> Position {
        let mut contents = self.contents();
        let Some(log) = contents.partition(partition) else { return Position::at(0) };
        let found = log.records.iter().find(|(record, _)| record.appended_at >= at);
        Position::at(found.map_or(log.end, |(record, _)| record.offset))
    }

    /// The position behind the last record or marker (the high watermark), open transactions included.
    #[must_use]
    pub fn end(&self, partition: &Partition) -> Position {
        Position::at(self.contents().partition(partition).map_or(0, |log| log.end))
    }

    /// The position before the first open transaction (the last stable offset).
    #[must_use]
    pub fn stable_end(&self, partition: &Partition) -> Position {
        Position::at(self.contents().partition(partition).map_or(0, |log| log.stable_end()))
    }

    /// The position that a group committed; the start of the partition when it has none.
    #[must_use]
    pub fn committed(&self, group: &Arc<str>, partition: &Partition) -> Position {
        let mut contents = self.contents();
        if let Some(position) = contents.committed.get(&(group.clone(), partition.clone())) {
            return *position;
        }
        Position::at(contents.partition(partition).map_or(0, |log| log.start))
    }

    /// Whether a transaction that has not ended carries a position of this group and partition: what is committed
    /// cannot be said yet.
    #[must_use]
    pub fn is_unstable(&self, group: &Arc<str>, partition: &Partition) -> bool {
        let contents = self.contents();
        let carried = contents.ongoing.values().flat_map(|ongoing| &ongoing.offsets);
        carried.into_iter().any(|(of, at, _)| of == group && at == partition)
    }

    /// Drops the records before a position: nobody needs them any more.
    pub fn forget_before(&self, partition: &Partition, position: Position) {
        let mut contents = self.contents();
        if let Some(log) = contents.partition(partition) {
            let gone = log.records.partition_point(|(record, _)| record.offset < position.offset());
            log.records.drain(..gone);
            log.start = log.start.max(position.offset());
        }
    }

    /// The group's present generation; members of an earlier one are fenced.
    #[must_use]
    pub fn generation(&self, group: &Arc<str>) -> u64 {
        self.contents().generations.get(group).copied().unwrap_or(0)
    }

    /// A rebalance: everyone who does not join again is fenced.
    pub fn next_generation(&self, group: &Arc<str>) -> u64 {
        let mut contents = self.contents();
        let generation = contents.generations.entry(group.clone()).or_insert(0);
        *generation += 1;
        *generation
    }

    /// Aborts the transactions that were begun longer ago than `timeout`.
    pub fn expire_transactions(&self, now: Timestamp, timeout: Duration) {
        let mut contents = self.contents();
        let open = contents.ongoing.iter().filter(|(_, ongoing)| ongoing.decided.is_none() && !ongoing.is_left_out);
        let late: Vec<Number> =
            open.filter(|(_, ongoing)| now.since(ongoing.since) >= timeout).map(|(number, _)| *number).collect();
        late.into_iter().for_each(|number| contents.decide(number, false));
    }

    /// Whether the markers of an ended transaction are kept back until [`Log::write_marker`]: they come one after the
    /// other on a real log, so a reader may see the end of a transaction in one partition and not yet in the next.
    pub fn hold_markers(&self, hold: bool) {
        self.contents().hold_markers = hold;
    }

    /// How many markers are kept back.
    #[must_use]
    pub fn markers_held(&self) -> usize {
        let contents = self.contents();
        let ended = contents.ongoing.values().filter(|ongoing| ongoing.decided.is_some());
        ended.map(|ongoing| ongoing.touched.len() + usize::from(!ongoing.offsets.is_empty())).sum()
    }

    /// Writes one of the markers that are kept back.
    pub fn write_marker(&self, mut index: usize) {
        let mut contents = self.contents();
        let ended = contents.ongoing.iter().filter(|(_, ongoing)| ongoing.decided.is_some());
        for number in ended.map(|(number, _)| *number).collect::<Vec<_>>() {
            let Some(ongoing) = contents.ongoing.get(&number) else { continue };
            let count = ongoing.touched.len();
            if let Some(partition) = ongoing.touched.iter().nth(index).cloned() {
                return contents.end_in(number, &partition);
            }
            if index == count && !ongoing.offsets.is_empty() {
                return contents.settle_offsets(number);
            }
            index -= count + usize::from(!ongoing.offsets.is_empty());
        }
    }

    /// A producer with a transactional id begins: whoever had it is fenced, and what that one left open is aborted.
    pub(in crate::memory) fn init_producer(&self, id: &Arc<str>) -> u64 {
        let mut contents = self.contents();
        contents.settle(id, true);
        let epoch = contents.epochs.entry(id.clone()).or_insert(0);
        *epoch += 1;
        *epoch
    }

    /// Begins a transaction; the one before it of this producer is settled first.
    pub(in crate::memory) fn begin(&self, (id, epoch): (&Arc<str>, u64), at: Timestamp) -> Result<Number, Refused> {
        let mut contents = self.contents();
        contents.guard(id, epoch)?;
        contents.settle(id, false);
        contents.next_number += 1;
        let number = contents.next_number;
        let (producer, touched) = (id.clone(), BTreeSet::new());
        let ongoing = Ongoing { producer, since: at, decided: None, is_left_out: false, touched, offsets: Vec::new() };
        contents.ongoing.insert(number, ongoing);
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
        let mut contents = self.contents();
        contents.guard(id, epoch)?;
        contents.open(number)?;
        let partition = Partition::new(&output.topic, output.partition);
        contents.append(output, at, Some(number))?;
        contents.open(number)?.touched.insert(partition);
        Ok(())
    }

    /// As if a transaction were committed, and all its markers left out (KAFKA-20734). The partitions whose positions it
    /// carries.
    pub(in crate::memory) fn leave_out(
        &self,
        number: Number,
        (id, epoch): (&Arc<str>, u64),
    ) -> Result<Vec<Partition>, Refused> {
        let mut contents = self.contents();
        contents.guard(id, epoch)?;
        let ongoing = contents.open(number)?;
        ongoing.is_left_out = true;
        Ok(ongoing.offsets.iter().map(|(_, partition, _)| partition.clone()).collect())
    }

    /// Decides what was left out, by the markers of the transaction behind it.
    pub(in crate::memory) fn decide_left_out(&self, number: Number, commit: bool) {
        let mut contents = self.contents();
        contents.decide(number, commit);
        contents.write_markers(number);
    }

    /// Decides all that was left out: it shows, as with the next commit of its producer, or goes, where that is gone.
    pub fn end_what_was_left_out(&self, is_gone: impl Fn(&str) -> bool) {
        let mut contents = self.contents();
        let left = contents.ongoing.iter().filter(|(_, ongoing)| ongoing.decided.is_none() && ongoing.is_left_out);
        let left: Vec<(Number, bool)> = left.map(|(number, ongoing)| (*number, !is_gone(&ongoing.producer))).collect();
        left.into_iter().for_each(|(number, commit)| contents.decide(number, commit));
    }

    /// Adds positions to a transaction.
    pub(in crate::memory) fn offsets_in(
        &self,
        number: Number,
        (id, epoch): (&Arc<str>, u64),
        group: &Arc<str>,
        offsets: &[(Partition, Position)],
    ) -> Result<(), Refused> {
        let mut contents = self.contents();
        contents.guard(id, epoch)?;
        let carried = offsets.iter().map(|(partition, position)| (group.clone(), partition.clone(), *position));
        contents.open(number)?.offsets.extend(carried);
        Ok(())
    }

    /// Ends a transaction.
    pub(in crate::memory) fn end_transaction(
        &self,
        number: Number,
        (id, epoch): (&Arc<str>, u64),
        commit: bool,
    ) -> Result<(), Refused> {
        let mut contents = self.contents();
        contents.guard(id, epoch)?;
        contents.open(number)?;
        contents.decide(number, commit);
        Ok(())
    }

    /// Commits positions without a transaction.
    pub(in crate::memory) fn commit_offsets(&self, group: &Arc<str>, offsets: &[(Partition, Position)]) {
        let mut contents = self.contents();
        for (partition, position) in offsets {
            contents.committed.insert((group.clone(), partition.clone()), *position);
        }
    }
}
