//! A reader of the last records and all that follow, in no group: what `watch` looks through. Committed records only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::kafka::client::{self, ASK, Quiet};
use crate::kafka::{KafkaError, KafkaSettings, wire};
use crate::stream::Record;
use crate::time::Clock;

/// Follows several topics.
pub struct Tail {
    consumer: BaseConsumer<Quiet>,
    topics: Vec<Arc<str>>,
}

impl Tail {
    /// Begins `last` offsets before the end of every partition (transaction markers count as offsets), or at its
    /// beginning if that is nearer.
    ///
    /// # Errors
    /// [`KafkaError::Unavailable`], [`KafkaError::MissingTopics`], [`KafkaError::Settings`].
    pub fn start(
        settings: &KafkaSettings,
        topics: &[Arc<str>],
        last: u32,
        clock: &dyn Clock,
    ) -> Result<Self, KafkaError> {
        let mut config = client::consumer(settings, "bellwether-tail", "bellwether-tail");
        // Whoever watches does not care whether old records are deleted meanwhile.
        config.set("auto.offset.reset", "earliest").set("statistics.interval.ms", "0");
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet)?;
        let counts = client::reach(&consumer, settings, topics, clock)?;
        let missing: Vec<String> = counts.iter().filter(|it| it.1 == 0).map(|it| it.0.to_string()).collect();
        if !missing.is_empty() {
            return Err(KafkaError::MissingTopics(missing));
        }
        let mut places = TopicPartitionList::new();
        for (topic, count) in &counts {
            for number in 0..*count {
                let (low, high) = consumer.fetch_watermarks(topic, number, ASK)?;
                let start = high.saturating_sub(i64::from(last)).max(low);
                places.add_partition_offset(topic, number, Offset::Offset(start))?;
            }
        }
        consumer.assign(&places)?;
        Ok(Self { consumer, topics: topics.to_vec() })
    }

    /// The next record, in order within a partition; `None` when none came within `limit`.
    ///
    /// # Errors
    /// What does not pass by itself, such as a topic that is deleted or may not be read.
    pub fn next(&self, limit: Duration) -> Result<Option<Record>, KafkaError> {
        match self.consumer.poll(limit) {
            None => Ok(None),
            Some(Ok(message)) => {
                let known = self.topics.iter().find(|topic| &***topic == message.topic());
                let topic = known.cloned().unwrap_or_else(|| Arc::from(message.topic()));
                Ok(Some(wire::record(&message, &topic)))
            }
            Some(Err(error)) if is_final(&error) => Err(KafkaError::refused("reading", error)),
            Some(Err(error)) => {
                tracing::warn!(%error, "reading");
                Ok(None)
            }
        }
    }
}

fn is_final(error: &Theirs) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::UnknownTopic | Code::TopicAuthorizationFailed | Code::Fatal))
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("topics", &self.topics).finish_non_exhaustive()
    }
}
