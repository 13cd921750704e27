//! A mention: one post about one subject, the unit of the `mentions` topic.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::finite::finite;
use crate::event::shared::{shared, shared_if_any};
use crate::event::{Origin, Subject};
use crate::time::{Timestamp, from_text};

/// 32 minima of four bits each over the shingles of a text: the share of equal ones estimates how alike two texts are.
/// On the wire: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sketch(pub u128);

impl fmt::Display for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, |text| u128::from_str_radix(text, 16).map(Self))
    }
}

/// What one post says of one subject; keyed by subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mention {
    /// Deterministic: the post's origin and the subject, `topic+partition+offset+subject`.
    pub id: String,
    /// The post's id.
    #[serde(deserialize_with = "shared")]
    pub post_id: Arc<str>,
    /// The post's revision: the highest wins.
    pub revision: Timestamp,
    /// What it is about.
    pub subject: Subject,
    /// P(positive) − P(negative), −1 to 1.
    #[serde(deserialize_with = "finite")]
    pub score: f32,
    /// `negative`, `neutral` or `positive`; null when the model abstained (then it weighs nothing).
    #[serde(default, deserialize_with = "shared_if_any")]
    pub label: Option<Arc<str>>,
    /// Probability of the best class.
    #[serde(deserialize_with = "finite")]
    pub confidence: f32,
    /// How much the post is about the subject, 0 to 1.
    #[serde(deserialize_with = "finite")]
    pub relevance: f32,
    /// Event time.
    pub published_at: Timestamp,
    /// Who delivered the post.
    #[serde(deserialize_with = "shared")]
    pub source: Arc<str>,
    /// The kind of source.
    #[serde(deserialize_with = "shared")]
    pub kind: Arc<str>,
    /// The start of the text, at most 160 characters.
    #[serde(deserialize_with = "shared")]
    pub excerpt: Arc<str>,
    /// A link to the post.
    #[serde(default, deserialize_with = "shared_if_any", skip_serializing_if = "Option::is_none")]
    pub url: Option<Arc<str>>,
    /// For finding near-copies.
    pub sketch: Sketch,
    /// The record that the post came in.
    pub origin: Origin,
    /// The W3C trace context that came with the record; on the wire it is a header.
    #[serde(skip)]
    pub traceparent: Option<Arc<str>>,
}

/// Takes back all mentions of a post whose revision is before a moment; goes to every partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retraction {
    /// Deterministic: the post's origin and the partition that this copy goes to.
    pub id: String,
    /// The post whose mentions are taken back.
    #[serde(deserialize_with = "shared")]
    pub post_id: Arc<str>,
    /// Mentions with a revision earlier than this are void. An update retracts what came before its own revision,
    /// a deletion its own revision too (one microsecond later).
    pub before: Timestamp,
    /// The record that caused it.
    pub origin: Origin,
}

/// Makes log time pass where nothing is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// The wall clock of whoever wrote it; for people, log time is the append time.
    pub at: Timestamp,
}

/// A record of the `mentions` topic, told apart by the field `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MentionRecord {
    /// A post speaks of a subject.
    Mention(Mention),
    /// A post is taken back.
    Retraction(Retraction),
    /// Time passes.
    Tick(Tick),
}
