//! A whole pipeline, checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::ArchiveSettings;
use crate::codec::SourceSettings;
use crate::kafka::KafkaSettings;
use crate::model::ModelSettings;
use crate::pipeline::DeadLetterLimit;
use crate::rule::Rule;
use crate::sample::Policy;
use crate::telemetry::LogSettings;
use crate::web::WebSettings;
use crate::window::IndexSettings;

/// Everything that a pipeline file says, with the defaults and the environment applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The prefix of all that the pipeline owns.
    pub name: Arc<str>,
    /// The brokers.
    pub kafka: KafkaSettings,
    /// The inputs; at least one.
    pub sources: Vec<SourceSettings>,
    /// The model.
    pub model: ModelSettings,
    /// The instruments file; without one only topics and `market` are subjects.
    pub instruments: Option<PathBuf>,
    /// The index.
    pub index: IndexSettings,
    /// The rules; names are unique.
    pub rules: Vec<Rule>,
    /// The archive.
    pub archive: ArchiveSettings,
    /// What is kept in it.
    pub sample: Policy,
    /// How many dead letters are too many.
    pub dead_letters: DeadLetterLimit,
    /// The listener.
    pub web: WebSettings,
    /// The log.
    pub log: LogSettings,
    /// How often the owner of the first input's partition 0 writes a tick.
    pub tick_interval: Duration,
    /// How long a shutdown waits for what is begun.
    pub grace: Duration,
}

/// The topics that a pipeline owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Scored posts.
    pub scored: Arc<str>,
    /// Mentions, retractions and ticks.
    pub mentions: Arc<str>,
    /// Indices.
    pub index: Arc<str>,
    /// Alerts.
    pub alerts: Arc<str>,
    /// Dead letters.
    pub dead_letters: Arc<str>,
    /// Labels.
    pub labels: Arc<str>,
}

impl Topics {
    /// The topics of the pipeline `name`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let topic = |part: &str| Arc::from(format!("{name}.{part}"));
        Self {
            scored: topic("scored"),
            mentions: topic("mentions"),
            index: topic("index"),
            alerts: topic("alerts"),
            dead_letters: topic("dead-letters"),
            labels: topic("labels"),
        }
    }
}
