//! A post: one news item or social message.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Origin;
use crate::time::Timestamp;

/// What happened to a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    #[default]
    Created,
    /// It replaces what was said under this id before.
    Updated,
    /// It takes back what was said under this id before.
    Deleted,
}

/// A post as it was decoded from a record; the texts are as they came, cleaning makes its own copy.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// The source's id, or `topic+partition+offset` where it gave none.
    pub id: Arc<str>,
    /// Which version of the post this is: its own `updated_at`, else the append time of its record.
    pub revision: Timestamp,
    /// Created, updated or deleted.
    pub action: Action,
    /// The text as it came (title and text joined where both are there); empty for a deletion.
    pub text: String,
    /// Whether there was more text than a post keeps.
    pub truncated: bool,
    /// When its author published it; never later than `appended_at`.
    pub published_at: Timestamp,
    /// When the record was appended to the input topic.
    pub appended_at: Timestamp,
    /// The language that the source claims, untrusted.
    pub lang: Option<String>,
    /// Who delivered it (the post's own field, else the input topic).
    pub source: Arc<str>,
    /// The kind of source that the pipeline file gives: `news`, `social`, …
    pub kind: Arc<str>,
    /// Who wrote it.
    pub author: Option<String>,
    /// A link to it.
    pub url: Option<String>,
    /// The instruments that the source names, untrusted, at most 64.
    pub symbols: Vec<String>,
    /// Symbols that were left out because there were too many, of those that were read.
    pub symbols_dropped: usize,
    /// The record that it came in.
    pub origin: Origin,
    /// The W3C trace context that came with the record.
    pub traceparent: Option<Arc<str>>,
}
