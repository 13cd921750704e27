//! Where a partition begins: at its committed position, or earlier where state is read back. Assignment and reset
//! both come here, so there is one answer.
//!
//! The order is fixed: the committed position first, then the end of what is read back, asked so that an open
//! transaction of a dead owner counts, then the records up to that end. Whatever that owner had committed is in them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::scout::{Deadline, Scout};
use crate::kafka::{KafkaError, ReadBack};
use crate::stream::{Partition, Position, Record, Span};
use crate::time::Clock;

/// Offsets before the committed position in which its log time is looked for: ticks come every few seconds, so records
/// are among them and not markers alone.
const TAIL: i64 = 200;

/// Where one partition begins, and what was read back for it.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) partition: Partition,
    /// Where reading begins.
    pub(super) start: Position,
    /// Where the work begins.
    pub(super) committed: Position,
    /// The end at this moment, open transactions included.
    pub(super) end: Position,
    /// What was read back: the alerts, or the last records before the committed position.
    pub(super) restored: Vec<Record>,
}

/// Finds places.
pub(super) struct Placement {
    pub(super) scout: Scout,
    pub(super) read_back: Option<ReadBack>,
    /// Records before the committed position that are handed over where nothing is read back.
    pub(super) tail_records: usize,
    /// How long one placement may take: longer than a dead owner's transaction stays open.
    pub(super) patience: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl Placement {
    /// The places of `partitions`.
    ///
    /// # Errors
    /// A position that is not on the log, or the deadline: both end the stage.
    pub(super) fn place(&self, partitions: &[Partition]) -> Result<Vec<Placed>, KafkaError> {
        let deadline = Deadline::after(&self.clock, self.patience);
        let committed = self.scout.committed(partitions, &deadline)?;
        let mut placed = Vec::with_capacity(partitions.len());
        for (partition, committed) in partitions.iter().zip(committed) {
            placed.push(self.place_one(partition, committed, &deadline)?);
        }
        Ok(placed)
    }

    /// Where state is read back from: the look-back is counted from the log time of the committed position, not from
    /// the wall clock, because the log stood still for a stage that was down.
    fn replay_from(
        &self,
        back: &ReadBack,
        partition: &Partition,
        committed: i64,
        deadline: &Deadline,
    ) -> Result<Option<i64>, KafkaError> {
        let span = Span { from: Position::at(committed - TAIL), until: Position::at(committed) };
        let tail = self.scout.read(partition, span, usize::MAX, deadline)?;
        let Some(log_time) = tail.iter().map(|record| record.appended_at).max() else { return Ok(None) };
        let since = log_time.minus(back.look_back);
        self.scout.since(partition, since, deadline)
    }

    fn place_one(
        &self,
        partition: &Partition,
        committed: Option<i64>,
        deadline: &Deadline,
    ) -> Result<Placed, KafkaError> {
        let bounds = self.scout.bounds(partition, deadline)?;
        // A group that never committed begins with the oldest record there is.
        let committed = committed.unwrap_or(bounds.low);
        if !(bounds.low..=bounds.high).contains(&committed) {
            let (low, high) = (bounds.low, bounds.high);
            return Err(KafkaError::OutOfRange { partition: partition.to_string(), committed, low, high });
        }
        let (mut start, mut restored) = (committed, Vec::new());
        if let Some(back) = &self.read_back {
            let since = self.replay_from(back, partition, committed, deadline)?;
            start = since.map_or(committed, |since| since.clamp(bounds.low, committed));
            restored = self.restore(back, partition.number, deadline)?;
        } else if self.tail_records > 0 {
            restored = self.scout.tail(partition, Position::at(committed), self.tail_records, deadline)?;
        }
        Ok(Placed {
            partition: partition.clone(),
            start: Position::at(start),
            committed: Position::at(committed),
            end: Position::at(bounds.high),
            restored,
        })
    }

    /// The last record of each alert, by its key: as many as there are rules and subjects, however long the history is.
    fn restore(&self, back: &ReadBack, number: i32, deadline: &Deadline) -> Result<Vec<Record>, KafkaError> {
        let alerts = Partition::new(&back.alerts_topic, number);
        let bounds = self.scout.bounds(&alerts, deadline)?;
        let all = Span { from: Position::at(bounds.low), until: Position::at(bounds.high) };
        let mut latest = HashMap::new();
        self.scout.each(&alerts, all, deadline, |record| {
            if record.value.is_some() {
                latest.insert(record.key.clone(), record);
            }
            true
        })?;
        let mut latest: Vec<Record> = latest.into_values().collect();
        latest.sort_by_key(|record| record.offset);
        Ok(latest)
    }
}
