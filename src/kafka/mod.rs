//! The adapter to Kafka.

mod settings;

pub use settings::KafkaSettings;
