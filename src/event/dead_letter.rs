//! A dead letter: a record that could not be used, its bytes untouched, and why.

use std::fmt;

use crate::stream::Record;

/// Why a record could not be used; the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The bytes are not JSON, or not a JSON object.
    Malformed,
    /// A field is missing.
    MissingField,
    /// A field has the wrong type or cannot be read (a time, an action).
    InvalidField,
    /// The record is larger than the pipeline takes.
    TooLarge,
    /// The model fails on this text alone.
    NotScorable,
}

impl Reason {
    /// Every reason, for metrics.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::MissingField, Self::InvalidField, Self::TooLarge, Self::NotScorable];

    /// The label of metrics and the value of Kafka Connect's `exception.class.name` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::MissingField => "missing_field",
            Self::InvalidField => "invalid_field",
            Self::TooLarge => "too_large",
            Self::NotScorable => "not_scorable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that could not be used.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The record as it came: key, bytes, headers, place.
    pub record: Record,
    /// The stage that gave up on it: `score`, `signal` or `archive`.
    pub stage: &'static str,
    /// The class of the failure.
    pub reason: Reason,
    /// What exactly was wrong, for a person.
    pub message: String,
}
