//! A label: a person's answer for a post.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The record of the `labels` topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// The post that was labelled.
    pub post_id: Arc<str>,
    /// The task, `sentiment` or `topic`.
    pub task: Arc<str>,
    /// The class.
    pub label: Arc<str>,
    /// Who says so.
    pub annotator: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
