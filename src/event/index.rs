//! The sentiment index of a subject.

use serde::{Deserialize, Serialize};

use crate::event::Subject;
use crate::event::finite::finite;
use crate::time::Timestamp;

/// A subject's sentiment at a moment of log time; keyed by subject on the compacted `index` topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Deterministic: the mentions record at which it was taken, and the subject.
    pub id: String,
    /// Whose sentiment.
    pub subject: Subject,
    /// Weighted mean score, −1 to 1; null when nothing in the horizon weighs anything.
    #[serde(default, deserialize_with = "finite")]
    pub value: Option<f32>,
    /// Mentions in the horizon, abstained ones included.
    pub mentions: u32,
    /// Weighted standard deviation of the scores, 0 to 1; null where `value` is.
    #[serde(default, deserialize_with = "finite")]
    pub dispersion: Option<f32>,
    /// Log time.
    pub at: Timestamp,
}
