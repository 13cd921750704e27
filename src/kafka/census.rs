//! A census counts the partitions of topics, again and again, while a pipeline runs. It only asks: what a change means
//! is decided by who asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaRespErr;

use crate::kafka::client::{self, ASK, Quiet};
use crate::kafka::{KafkaError, KafkaSettings};

/// A client that asks for nothing but metadata.
pub struct Census {
    settings: KafkaSettings,
    client: BaseConsumer<Quiet>,
    topics: Vec<Arc<str>>,
    /// Errors in a row.
    errors: u32,
}

/// After so many errors in a row a new client asks, and again after twice as many: the old one may know of no broker any
/// more, and clients that end slowly stay few.
const RENEWED_AFTER: u32 = 4;

impl Census {
    /// A census of these topics; nothing is asked yet.
    ///
    /// # Errors
    /// [`KafkaError::Settings`].
    pub fn new(settings: &KafkaSettings, topics: Vec<Arc<str>>) -> Result<Self, KafkaError> {
        Ok(Self { settings: settings.clone(), client: connect(settings)?, topics, errors: 0 })
    }

    /// How many partitions each topic has now, 0 where a broker says that there is no such topic. A topic about which
    /// nobody can say anything now (a leader is being elected) is left out.
    ///
    /// # Errors
    /// What the client says when no broker answers.
    pub fn take(&mut self) -> Result<BTreeMap<Arc<str>, i32>, KafkaError> {
        let counts = self.count();
        self.errors = if counts.is_ok() { 0 } else { self.errors.saturating_add(1) };
        if self.errors >= RENEWED_AFTER && self.errors.is_power_of_two() && client::may_replace() {
            tracing::debug!(errors = self.errors, "a new client asks how many partitions the topics have");
            client::end_aside(std::mem::replace(&mut self.client, connect(&self.settings)?));
        }
        counts
    }

    fn count(&self) -> Result<BTreeMap<Arc<str>, i32>, KafkaError> {
        let mut counts = BTreeMap::new();
        for topic in &self.topics {
            let metadata = self.client.fetch_metadata(Some(topic), ASK)?;
            let found = metadata.topics().iter().find(|it| it.name() == &**topic);
            let count = found.and_then(|found| match found.error() {
                None => i32::try_from(found.partitions().len()).ok().filter(|count| *count > 0),
                Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Some(0),
                Some(_) => None,
            });
            counts.extend(count.map(|count| (topic.clone(), count)));
        }
        Ok(counts)
    }
}

fn connect(settings: &KafkaSettings) -> Result<BaseConsumer<Quiet>, KafkaError> {
    Ok(client::plain(settings, "bellwether-census").create_with_context(Quiet)?)
}

impl std::fmt::Debug for Census {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Census").field("topics", &self.topics).finish_non_exhaustive()
    }
}
