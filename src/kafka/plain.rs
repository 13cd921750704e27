//! A producer for one topic outside any stage: what `replay` writes posts with, and `label` labels. Idempotent, keyed, and bounded: a
//! caller that is faster than the brokers waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use crate::kafka::client::{self, Quiet};
use crate::kafka::reports::Reports;
use crate::kafka::{KafkaError, KafkaSettings, wire};
use crate::stream::{Headers, partition_for};
use crate::time::Clock;

/// How long a full queue may stand still before a send fails.
const STALLED: Duration = Duration::from_secs(30);

/// Writes records to one topic.
pub struct PlainProducer {
    sender: ThreadedProducer<Reports>,
    topic: Arc<str>,
    partitions: i32,
    /// Where the next record without a key goes.
    turn: i32,
}

impl PlainProducer {
    /// Asks how many partitions the topic has.
    ///
    /// # Errors
    /// [`KafkaError::Unavailable`], [`KafkaError::MissingTopics`], [`KafkaError::Settings`].
    pub fn start(settings: &KafkaSettings, topic: &Arc<str>, clock: &dyn Clock) -> Result<Self, KafkaError> {
        let asker: BaseConsumer<Quiet> = client::plain(settings, "bellwether-replay").create_with_context(Quiet)?;
        let counts = client::reach(&asker, settings, std::slice::from_ref(topic), clock)?;
        let partitions = counts.first().map_or(0, |it| it.1);
        if partitions == 0 {
            return Err(KafkaError::MissingTopics(vec![topic.to_string()]));
        }
        let sender = client::producer(settings, "bellwether-replay", None).create_with_context(Reports::default())?;
        Ok(Self { sender, topic: topic.clone(), partitions, turn: 0 })
    }

    /// Hands a record over; waits while the queue is full. The record's time is the moment of sending.
    ///
    /// # Errors
    /// When the record is too large, an earlier one was not delivered, or nothing moves any more.
    pub fn send(&mut self, key: Option<&[u8]>, value: &[u8]) -> Result<(), KafkaError> {
        self.send_with(key, value, &Headers::new())
    }

    /// As [`PlainProducer::send`], with headers.
    ///
    /// # Errors
    /// Likewise.
    pub fn send_with(&mut self, key: Option<&[u8]>, value: &[u8], headers: &Headers) -> Result<(), KafkaError> {
        let partition = if let Some(key) = key {
            partition_for(key, self.partitions)
        } else {
            self.turn = (self.turn + 1) % self.partitions;
            self.turn
        };
        let reports = self.sender.context();
        loop {
            let mut record: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(&self.topic).partition(partition).payload(value);
            if let Some(key) = key {
                record = record.key(key);
            }
            if !headers.is_empty() {
                record = record.headers(wire::headers(headers));
            }
            reports.sent();
            let Err((error, _)) = self.sender.send(record) else { return self.check() };
            reports.unsent();
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                return Err(KafkaError::refused("sending a record", error));
            }
            self.check()?;
            if !reports.wait(reports.counts().open / 2, STALLED) {
                return Err(KafkaError::TimedOut { what: "sending".to_owned(), waited: STALLED });
            }
        }
    }

    /// Records that the brokers have acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.sender.context().counts().good
    }

    /// Waits until everything is acknowledged; returns how many records that are.
    ///
    /// # Errors
    /// When one was not delivered.
    pub fn finish(self) -> Result<u64, KafkaError> {
        if !self.sender.context().wait(0, STALLED) {
            return Err(KafkaError::TimedOut { what: "the last acknowledgements".to_owned(), waited: STALLED });
        }
        self.check()?;
        Ok(self.acknowledged())
    }

    fn check(&self) -> Result<(), KafkaError> {
        match self.sender.context().counts().bad {
            Some(why) => Err(KafkaError::refused("a record was not delivered", why)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PlainProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainProducer").field("topic", &self.topic).finish_non_exhaustive()
    }
}
