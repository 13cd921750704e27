//! The adapter to Kafka: the one room that knows rdkafka.
//!
//! [`Source`] reads for a stage (its polling thread, what happens when partitions come and go, back-pressure);
//! [`Producer`] makes the port through which a stage commits; `topics` keeps the pipeline's topics; [`PlainProducer`],
//! [`Tail`] and [`Sweep`] serve the command line. The guarantee itself is in [`crate::stream`]: this room only does as it says.
//! All calls block; none is made from an async task.

mod aside;
mod census;
mod client;
mod deadline;
mod desk;
mod error;
mod fault;
mod forgotten;
mod handle;
mod hang;
mod markers;
mod membership;
mod outlet;
mod placement;
mod plain;
mod poller;
mod producer;
mod rebalance;
mod reports;
mod scout;
mod settings;
mod source;
mod stall;
mod sweep;
mod tail;
mod topics;
mod transaction;
mod wire;

pub use census::Census;
pub use client::{event_bytes_max, producer_bytes_max, property_objection, scout_bytes_max, source_bytes_max};
pub use error::KafkaError;
pub use forgotten::Traces;
pub use handle::SourceHandle;
pub use markers::Reach;
pub use membership::{Lag, Membership, Rebalances};
pub use plain::PlainProducer;
pub use producer::Producer;
pub use settings::KafkaSettings;
pub use source::{ReadBack, Source, SourceConfig};
pub use sweep::Sweep;
pub use tail::Tail;
pub use topics::{TopicFinding, TopicPlan, TopicReport, Upkeep, ensure_topics, inspect_topics, partition_counts};
pub use transaction::KafkaTransaction;
pub use wire::is_reading_names;
