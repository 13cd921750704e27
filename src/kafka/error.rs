//! What can go wrong before or beside the work on records. A fault inside a commit is a
//! [`Fault`](crate::stream::Fault); a source that gives up says so with [`Feed::Failed`](crate::stream::Feed).

use std::sync::Arc;
use std::time::Duration;

/// A call to Kafka that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// librdkafka refuses the settings; values are never part of the text.
    #[error("librdkafka refuses the settings: {0}")]
    Settings(String),
    /// Nobody answered within the time that the settings give; the process exits with 69.
    #[error(
        "no broker at {servers} answered within {} s: {last}; correct `kafka.bootstrap_servers` or start the broker \
         (BELLWETHER__KAFKA__BOOTSTRAP_SERVERS, `kafka.start_timeout`)",
        waited.as_secs()
    )]
    Unavailable {
        /// The bootstrap servers.
        servers: String,
        /// How long it was tried.
        waited: Duration,
        /// The last error.
        last: String,
    },
    /// Topics that are needed are not there.
    #[error("missing topics: {}; create them with `bellwether topics`", .0.join(", "))]
    MissingTopics(Vec<String>),
    /// Topics were deleted under a running pipeline.
    #[error(
        "topics are gone: {}; they were deleted while the pipeline ran. Records of a topic that is made anew under the \
         same name would repeat ids: start a pipeline with a new name, on new inputs where an input was deleted",
        .0.join(", ")
    )]
    TopicsGone(Vec<String>),
    /// A step was not done by its deadline.
    #[error("{what} was not done within {} s", waited.as_secs())]
    TimedOut {
        /// What.
        what: String,
        /// How long it was tried.
        waited: Duration,
    },
    /// The committed position of a group is not on the log any more.
    #[error(
        "the committed position {committed} of {partition} is not on the log, which holds [{low}..{high}): records were \
         deleted before they were read, or the topic was made anew; set the group's offsets yourself to go on"
    )]
    OutOfRange {
        /// `topic/number`.
        partition: String,
        /// What the group committed.
        committed: i64,
        /// The first position that is there.
        low: i64,
        /// The end.
        high: i64,
    },
    /// What comes next in a partition that is being read is not on the log any more.
    #[error(
        "the next position {next} of {partition} is not on the log, which holds [{low}..{high}): records were deleted \
         before they were read, or the topic was made anew; set the group's offsets yourself to go on"
    )]
    Overtaken {
        /// `topic/number`.
        partition: String,
        /// What was to be read.
        next: i64,
        /// The first position that is there.
        low: i64,
        /// The end.
        high: i64,
    },
    /// A group that has worked before has no position any more.
    #[error(
        "the group {group} has no committed position, but {trace} was made by it: brokers forget the positions of a group \
         that nobody is in for `offsets.retention.minutes`, and to begin with the oldest record would make everything \
         again; set the group's offsets yourself, or begin a pipeline with another name"
    )]
    Forgotten {
        /// The group.
        group: String,
        /// What it made: a partition, or a file.
        trace: String,
    },
    /// A group has positions, and what it made before it committed them is not there.
    #[error(
        "the group {group} has committed positions, but {place} does not exist: what it wrote is elsewhere, on another \
         host or on a disk that is not mounted; bring it back, or make that folder to begin anew there"
    )]
    Missing {
        /// The group.
        group: String,
        /// What should be there.
        place: String,
    },
    /// The broker or the client refused a call.
    #[error("{what}: {why}")]
    Refused {
        /// The call.
        what: &'static str,
        /// Its answer.
        why: String,
    },
    /// No such partition.
    #[error("{0} has no partition {1}")]
    NoPartition(Arc<str>, i32),
}

impl KafkaError {
    /// A call that was refused.
    pub(super) fn refused(what: &'static str, why: impl ToString) -> Self {
        Self::Refused { what, why: why.to_string() }
    }
}

impl From<rdkafka::error::KafkaError> for KafkaError {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        use rdkafka::error::KafkaError as Theirs;
        match error {
            // The fourth field is the value, which may be a secret.
            Theirs::ClientConfig(_, why, name, _) => Self::Settings(format!("{name}: {why}")),
            Theirs::ClientCreation(why) => Self::Settings(why),
            other => Self::refused("kafka", other),
        }
    }
}
