//! A scored post: the record of the `scored` topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::finite::finite;
use crate::event::{Abstention, Action, Answer, Origin, SubjectLink};
use crate::time::Timestamp;

/// Which model answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelId {
    /// Model name, such as `finance-en`.
    pub name: Arc<str>,
    /// Version, such as `1`.
    pub version: Arc<str>,
    /// Variant, such as `int8`.
    pub variant: Arc<str>,
}

/// The wire form of an [`Answer`]: all classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// The label, null when abstained.
    pub label: Option<Arc<str>>,
    /// Calibrated probability by class; empty where the model was not asked.
    #[serde(deserialize_with = "finite")]
    pub probabilities: BTreeMap<Arc<str>, f32>,
    /// Probability of the best class.
    #[serde(deserialize_with = "finite")]
    pub confidence: f32,
    /// Whether there is no label.
    pub abstained: bool,
    /// Why there is no label.
    pub reason: Option<Abstention>,
}

/// The wire form of the topic's [`Answer`]: the best three, and all classes for the archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// The label, null when abstained.
    pub label: Option<Arc<str>>,
    /// Calibrated probability of the three best classes.
    #[serde(deserialize_with = "finite")]
    pub probabilities: BTreeMap<Arc<str>, f32>,
    /// Probability of the best class.
    #[serde(deserialize_with = "finite")]
    pub confidence: f32,
    /// Whether there is no label.
    pub abstained: bool,
    /// Why there is no label.
    pub reason: Option<Abstention>,
    /// Calibrated probability of every class.
    #[serde(deserialize_with = "finite")]
    pub distribution: BTreeMap<Arc<str>, f32>,
}

/// Calibrated probability by class.
type Odds = BTreeMap<Arc<str>, f32>;

fn best(odds: &Odds) -> Option<(&Arc<str>, f32)> {
    odds.iter().max_by(|one, other| one.1.total_cmp(other.1)).map(|(class, odd)| (class, *odd))
}

impl AnswerRecord {
    /// The likeliest class, also where it abstained; `None` where the model was not asked.
    #[must_use]
    pub fn best(&self) -> Option<(&Arc<str>, f32)> {
        best(&self.probabilities)
    }
}

impl TopicRecord {
    /// As [`AnswerRecord::best`].
    #[must_use]
    pub fn best(&self) -> Option<(&Arc<str>, f32)> {
        best(&self.distribution)
    }
}

impl From<&Answer> for AnswerRecord {
    fn from(answer: &Answer) -> Self {
        Self {
            label: answer.label().cloned(),
            probabilities: answer.distribution.iter().map(|(label, p)| (label.clone(), rounded(*p))).collect(),
            confidence: rounded(answer.confidence()),
            abstained: answer.abstention.is_some(),
            reason: answer.abstention,
        }
    }
}

impl From<&Answer> for TopicRecord {
    fn from(answer: &Answer) -> Self {
        let all = AnswerRecord::from(answer);
        let mut ranked: Vec<_> = all.probabilities.iter().map(|(label, p)| (label.clone(), *p)).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        ranked.truncate(3);
        Self {
            label: all.label,
            probabilities: ranked.into_iter().collect(),
            confidence: all.confidence,
            abstained: all.abstained,
            reason: all.reason,
            distribution: all.probabilities,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_whole(truncated: &bool) -> bool {
    !*truncated
}

/// Four decimals: finer than any calibration, and short on the wire.
#[must_use]
pub fn rounded(probability: f32) -> f32 {
    (probability * 10_000.0).round() / 10_000.0
}

/// The record of the `scored` topic, keyed by post id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredPost {
    /// Deterministic: the origin as `topic+partition+offset`.
    pub id: String,
    /// The post's id.
    pub post_id: Arc<str>,
    /// The post's revision.
    pub revision: Timestamp,
    /// Created, updated or deleted.
    pub action: Action,
    /// When its author published it.
    pub published_at: Timestamp,
    /// When the record was appended to the input topic.
    pub appended_at: Timestamp,
    /// When the model answered.
    pub scored_at: Timestamp,
    /// The cleaned text, as the model saw it.
    pub text: String,
    /// The text as it came, where cleaning changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_text: Option<String>,
    /// Whether there was more text than a post keeps, so that `original_text` (or `text`) is only its start.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub truncated: bool,
    /// The language that was found (ISO 639-3), where one was.
    pub lang: Option<String>,
    /// The language that the source claims, as it wrote it; untrusted, and nothing is decided by it.
    #[serde(default)]
    pub declared_lang: Option<String>,
    /// Who delivered it.
    pub source: Arc<str>,
    /// The kind of source.
    pub kind: Arc<str>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A link to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The sentiment task.
    pub sentiment: AnswerRecord,
    /// The topic task.
    pub topic: TopicRecord,
    /// What the post is about, most relevant first.
    pub subjects: Vec<SubjectLink>,
    /// Which model answered.
    pub model: ModelId,
    /// The record that the post came in.
    pub origin: Origin,
}
