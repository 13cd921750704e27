//! How the brokers are reached.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::stream::Delivery;

/// The connection to Kafka and the guarantee that is asked of it. `Debug` masks secrets.
#[derive(Clone, PartialEq)]
pub struct KafkaSettings {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// Exactly once or at least once.
    pub delivery: Delivery,
    /// Part of the transactional id; random when not set.
    pub instance: Option<String>,
    /// How long an epoch is open before it is committed.
    pub commit_interval: Duration,
    /// How long a start waits for the brokers before it gives up (exit code 69).
    pub start_timeout: Duration,
    /// How long a revoke waits for work that is begun.
    pub drain_timeout: Duration,
    /// The broker's limit for an open transaction.
    pub transaction_timeout: Duration,
    /// The largest record that is taken from an input, in bytes.
    pub record_bytes_max: usize,
    /// Partitions of each topic that is created.
    pub partitions: i32,
    /// Replicas of each topic that is created.
    pub replication: i32,
    /// How long mentions, scored and dead letters are kept when we create the topics.
    pub retention: Duration,
    /// Anything else that librdkafka knows (TLS, SASL); the settings of the guarantee are refused by `config`.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            delivery: Delivery::ExactlyOnce,
            instance: None,
            commit_interval: Duration::from_millis(100),
            start_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            transaction_timeout: Duration::from_secs(10),
            record_bytes_max: 1 << 20,
            partitions: 4,
            replication: 1,
            retention: Duration::from_secs(7 * 86_400),
            properties: BTreeMap::new(),
        }
    }
}

impl KafkaSettings {
    /// Whether a librdkafka property is a secret: its value is never shown.
    #[must_use]
    pub fn is_secret(property: &str) -> bool {
        ["password", "secret", "sasl.jaas.config", "key.pem", "token"].iter().any(|part| property.contains(part))
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> = self
            .properties
            .iter()
            .map(|(name, value)| (name.as_str(), if Self::is_secret(name) { "****" } else { value.as_str() }))
            .collect();
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("delivery", &self.delivery)
            .field("instance", &self.instance)
            .field("properties", &shown)
            .finish_non_exhaustive()
    }
}
