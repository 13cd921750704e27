//! A reader of everything that is on a topic now, in no group: what `dead-letters` looks through. Committed records only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::deadline::Deadline;
use crate::kafka::scout::Scout;
use crate::kafka::{KafkaError, KafkaSettings, partition_counts};
use crate::stream::{Partition, Position, Record, Span};
use crate::time::{Clock, Timestamp};

/// Records that are read before the deadline begins anew.
const SLICE: usize = 2_000;
/// How long a slice may take: longer than a dead writer's transaction stays open.
const SLICE_WITHIN: Duration = Duration::from_secs(120);

/// Reads one topic, as often as it is asked to.
pub struct Sweep {
    scout: Scout,
    topic: Arc<str>,
    partitions: i32,
    clock: Arc<dyn Clock>,
}

impl Sweep {
    /// Asks how many partitions the topic has. `group` is named for access rules only, and never joined.
    ///
    /// # Errors
    /// [`KafkaError::Unavailable`], [`KafkaError::MissingTopics`], [`KafkaError::Settings`].
    pub fn start(
        settings: &KafkaSettings,
        group: &str,
        topic: &Arc<str>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, KafkaError> {
        let counts = partition_counts(settings, std::slice::from_ref(topic), clock.as_ref())?;
        let Some(partitions) = counts.get(topic).copied() else {
            return Err(KafkaError::MissingTopics(vec![topic.to_string()]));
        };
        let scout = Scout::new(settings, group, clock)?;
        Ok(Self { scout, topic: topic.clone(), partitions, clock: clock.clone() })
    }

    /// Hands over every record that is there at this moment and was appended at or after `since`, partition after
    /// partition, each in its order. Waits for transactions that are open.
    ///
    /// # Errors
    /// [`KafkaError`] as the caller's, or the first error of `take`, which ends the sweep.
    pub fn run<E: From<KafkaError>>(
        &self,
        since: Option<Timestamp>,
        take: &mut dyn FnMut(&Record) -> Result<(), E>,
    ) -> Result<(), E> {
        for number in 0..self.partitions {
            let at = Partition::new(&self.topic, number);
            let deadline = self.deadline();
            let bounds = self.scout.bounds(&at, &deadline)?;
            let first = match since {
                None => Some(bounds.low),
                Some(since) => self.scout.since(&at, since, &deadline)?,
            };
            let mut from = Position::at(first.unwrap_or(bounds.high));
            while let Some(next) = self.slice(&at, Span { from, until: Position::at(bounds.high) }, take)? {
                from = next;
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(&self.clock, SLICE_WITHIN)
    }

    /// Some records of a span, and where to go on; `None` at its end.
    fn slice<E: From<KafkaError>>(
        &self,
        at: &Partition,
        span: Span,
        take: &mut dyn FnMut(&Record) -> Result<(), E>,
    ) -> Result<Option<Position>, E> {
        let (mut count, mut next, mut taken) = (0, span.from, Ok(()));
        self.scout.each(at, span, &self.deadline(), |record| {
            count += 1;
            next = record.next();
            taken = take(&record);
            taken.is_ok() && count < SLICE
        })?;
        taken.map(|()| (count == SLICE && next < span.until).then_some(next))
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep").field("topic", &self.topic).finish_non_exhaustive()
    }
}
