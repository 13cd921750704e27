//! Where a partition begins: at its committed position, or earlier where state is read back. Assignment and reset
//! both come here, so there is one answer.
//!
//! The order is fixed: the committed position first, then the end of what is read back, asked so that an open
//! transaction of a dead owner counts, then the records up to that end. Whatever that owner had committed is in them.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::kafka::rebalance::Listener;
use crate::kafka::scout::{Deadline, Scout};
use crate::kafka::{KafkaError, ReadBack, wire};
use crate::stream::{Partition, Position, Record, Span};
use crate::time::Clock;

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
    /// What was read back from the alerts.
    pub(super) restored: Vec<Record>,
}

/// Finds places.
pub(super) struct Placement {
    pub(super) scout: Scout,
    pub(super) read_back: Option<ReadBack>,
    /// How long one placement may take: longer than a dead owner's transaction stays open.
    pub(super) patience: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl Placement {
    /// The places of `partitions`.
    ///
    /// # Errors
    /// A position that is not on the log, or the deadline: both end the stage.
    pub(super) fn place(
        &self,
        consumer: &BaseConsumer<Listener>,
        partitions: &[Partition],
    ) -> Result<Vec<Placed>, KafkaError> {
        let deadline = Deadline::after(&self.clock, self.patience);
        let committed = committed(consumer, partitions, &deadline)?;
        let since = match &self.read_back {
            Some(back) => self.scout.since(partitions, self.clock.now().minus(back.look_back), &deadline)?,
            None => vec![None; partitions.len()],
        };
        let mut placed = Vec::with_capacity(partitions.len());
        for ((partition, committed), since) in partitions.iter().zip(committed).zip(since) {
            placed.push(self.place_one(partition, committed, since, &deadline)?);
        }
        Ok(placed)
    }

    fn place_one(
        &self,
        partition: &Partition,
        committed: Option<i64>,
        since: Option<i64>,
        deadline: &Deadline,
    ) -> Result<Placed, KafkaError> {
        let bounds = self.scout.bounds(partition, deadline)?;
        // A group that never committed begins with the oldest record there is.
        let committed = committed.unwrap_or(bounds.low);
        if !(bounds.low..=bounds.high).contains(&committed) {
            let (low, high) = (bounds.low, bounds.high);
            return Err(KafkaError::OutOfRange { partition: partition.to_string(), committed, low, high });
        }
        let start = since.map_or(committed, |since| since.clamp(bounds.low, committed));
        let restored = match &self.read_back {
            Some(back) => self.restore(back, partition.number, deadline)?,
            None => Vec::new(),
        };
        Ok(Placed {
            partition: partition.clone(),
            start: Position::at(start),
            committed: Position::at(committed),
            end: Position::at(bounds.high),
            restored,
        })
    }

    fn restore(&self, back: &ReadBack, number: i32, deadline: &Deadline) -> Result<Vec<Record>, KafkaError> {
        let alerts = Partition::new(&back.alerts_topic, number);
        let bounds = self.scout.bounds(&alerts, deadline)?;
        let all = Span { from: Position::at(bounds.low), until: Position::at(bounds.high) };
        self.scout.read(&alerts, all, usize::MAX, deadline)
    }
}

/// What the group committed; waits for transactions with its offsets that are still open.
fn committed(
    consumer: &BaseConsumer<Listener>,
    partitions: &[Partition],
    deadline: &Deadline,
) -> Result<Vec<Option<i64>>, KafkaError> {
    let found = deadline.ask("asking for the committed positions", |limit| {
        let found = consumer.committed_offsets(wire::bare_list(partitions), limit)?;
        found.elements().iter().try_for_each(|element| element.error())?;
        Ok(found)
    })?;
    let position = |at: &Partition| match found.find_partition(&at.topic, at.number)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    Ok(partitions.iter().map(position).collect())
}
