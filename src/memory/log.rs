//! Topics, committed positions and group generations, in memory.
//!
//! Bounded by whoever uses it: [`Log::forget_before`] drops what every group is done with.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::stream::{Output, Partition, Position, Record};
use crate::time::Timestamp;

#[derive(Debug, Default)]
struct PartitionLog {
    /// Records in order; offsets may be missing (markers).
    records: VecDeque<Record>,
    /// The next offset to be given out.
    end: i64,
    /// What was dropped by [`Log::forget_before`].
    start: i64,
}

#[derive(Debug, Default)]
struct Inner {
    topics: BTreeMap<Arc<str>, Vec<PartitionLog>>,
    committed: HashMap<(Arc<str>, Partition), Position>,
    generations: HashMap<Arc<str>, u64>,
}

/// The log. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Inner>>);

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no partition {0} on the in-process log")]
pub struct NoSuchPartition(pub Partition);

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
        self.inner().append(output, at)
    }

    /// Up to `count` records from `from` on.
    #[must_use]
    pub fn read(&self, partition: &Partition, from: Position, count: usize) -> Vec<Record> {
        let mut inner = self.inner();
        let Some(log) = inner.partition(partition) else { return Vec::new() };
        let first = log.records.partition_point(|record| record.offset < from.offset());
        log.records.range(first..).take(count).cloned().collect()
    }

    /// The first record that was appended at or after `at`, as a position; the end when there is none.
    #[must_use]
    pub fn position_at(&self, partition: &Partition, at: Timestamp) -> Position {
        let mut inner = self.inner();
        let Some(log) = inner.partition(partition) else { return Position::at(0) };
        let found = log.records.iter().find(|record| record.appended_at >= at);
        Position::at(found.map_or(log.end, |record| record.offset))
    }

    /// The position behind the last record or marker (the high watermark).
    #[must_use]
    pub fn end(&self, partition: &Partition) -> Position {
        Position::at(self.inner().partition(partition).map_or(0, |log| log.end))
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

    /// Drops the records before a position: nobody needs them any more.
    pub fn forget_before(&self, partition: &Partition, position: Position) {
        let mut inner = self.inner();
        if let Some(log) = inner.partition(partition) {
            let gone = log.records.partition_point(|record| record.offset < position.offset());
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

    /// All outputs, then a marker in every partition they touched, then the positions: seen together or not at all.
    pub(in crate::memory) fn commit(
        &self,
        outputs: &[Output],
        markers: bool,
        (group, offsets): (&Arc<str>, &[(Partition, Position)]),
        at: Timestamp,
    ) -> Result<(), NoSuchPartition> {
        let mut inner = self.inner();
        for output in outputs {
            let partition = Partition::new(&output.topic, output.partition);
            if inner.partition(&partition).is_none() {
                return Err(NoSuchPartition(partition));
            }
        }
        let mut touched = std::collections::BTreeSet::new();
        for output in outputs {
            inner.append(output, at)?;
            touched.insert(Partition::new(&output.topic, output.partition));
        }
        if markers {
            for partition in touched {
                if let Some(log) = inner.partition(&partition) {
                    log.end += 1;
                }
            }
        }
        for (partition, position) in offsets {
            inner.committed.insert((group.clone(), partition.clone()), *position);
        }
        Ok(())
    }
}

impl Inner {
    fn partition(&mut self, partition: &Partition) -> Option<&mut PartitionLog> {
        let number = usize::try_from(partition.number).ok()?;
        self.topics.get_mut(&partition.topic)?.get_mut(number)
    }

    fn append(&mut self, output: &Output, at: Timestamp) -> Result<Position, NoSuchPartition> {
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
        let next = record.next();
        log.end = next.offset();
        log.records.push_back(record);
        Ok(next)
    }
}
