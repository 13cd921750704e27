//! An alert: a rule's condition that holds, held or is about to hold for a subject.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::finite::finite;
use crate::event::{Origin, Subject};
use crate::time::Timestamp;

/// Where an alert is in its life (Alertmanager's words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The condition holds, but not yet for as long as the rule wants.
    Pending,
    /// The condition held for long enough.
    Firing,
    /// It is over (or a pending one came to nothing).
    Resolved,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look now.
    #[default]
    Warning,
    /// Worth waking somebody.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// A post that weighed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The post's id.
    pub post_id: Arc<str>,
    /// The start of its text.
    pub excerpt: Arc<str>,
    /// A link to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Arc<str>>,
    /// Who delivered it.
    pub source: Arc<str>,
    /// Its score, −1 to 1.
    #[serde(deserialize_with = "finite")]
    pub score: f32,
    /// Its share of the total weight, 0 to 1.
    #[serde(deserialize_with = "finite")]
    pub weight: f32,
    /// When it was published.
    pub published_at: Timestamp,
}

/// The record of the `alerts` topic, keyed by fingerprint; holds all that its own lifecycle needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Deterministic: the mentions record at which the state changed, the rule and the subject.
    pub id: String,
    /// Hash of pipeline, rule and subject: the same for the whole life of the alert and for every later one of its kind.
    pub fingerprint: String,
    /// The rule's name.
    pub rule: Arc<str>,
    /// About whom.
    pub subject: Subject,
    /// Pending, firing or resolved.
    pub state: AlertState,
    /// From the rule.
    pub severity: Severity,
    /// Log time at which the condition began to hold.
    pub starts_at: Timestamp,
    /// Log time at which it ended; null while it lasts.
    pub ends_at: Option<Timestamp>,
    /// Log time at which it went from pending to firing; null before.
    pub fired_at: Option<Timestamp>,
    /// Log time of this record.
    pub at: Timestamp,
    /// The figure that the rule looked at, null where the window is empty.
    #[serde(default, deserialize_with = "finite")]
    pub value: Option<f32>,
    /// The bound that it crossed.
    #[serde(deserialize_with = "finite")]
    pub threshold: f32,
    /// One sentence for a person.
    pub summary: String,
    /// Up to five posts, heaviest first.
    pub evidence: Vec<Evidence>,
    /// The mentions record at which the state changed.
    pub origin: Origin,
    /// The W3C trace context of the mention that began it, where one began it and had one: the same to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Arc<str>>,
}
