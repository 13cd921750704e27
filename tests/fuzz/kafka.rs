//! What `config` needs of Kafka's adapter: its settings, without a client.

#[path = "../../src/kafka/settings.rs"]
mod settings;

pub use settings::*;

/// Without librdkafka every property is as good as another.
pub fn property_objection(_property: &str, _value: &str) -> Option<String> {
    None
}
