//! The lines of the page: what is kept of a post, an alert and a dead letter once they are to be looked at.
//!
//! Every text is cut, so that fifty posts of a megabyte each do not make a page of fifty megabytes.

use std::sync::Arc;

use serde::Serialize;

use crate::event::{Abstention, Alert, AlertState, Evidence, ScoredPost, Severity, Subject};
use crate::time::Timestamp;

/// Characters of a text that are shown.
const TEXT_CHARS_MAX: usize = 320;
/// Characters of a name (a source, a kind, a label) that are shown.
const NAME_CHARS_MAX: usize = 80;
/// Bytes of a link; a longer one is left out, for half a link leads nowhere.
const LINK_BYTES_MAX: usize = 2_048;
/// Subjects of a post that are shown.
const SUBJECTS_MAX: usize = 8;
/// Posts that are shown as the evidence of an alert.
const EVIDENCE_MAX: usize = 5;

/// A scored post for the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PostLine {
    /// The scored record's id: the same post twice on the board is two lines.
    pub id: String,
    /// When its author published it.
    pub published_at: Timestamp,
    /// Who delivered it.
    pub source: String,
    /// The kind of source.
    pub kind: String,
    /// The cleaned text, at most 320 characters.
    pub text: String,
    /// A link to it, where it has one of at most 2,048 bytes. Untrusted: any scheme.
    pub url: Option<String>,
    /// How it leans.
    pub sentiment: Lean,
    /// What it is about: a class of the topic task.
    pub topic: Answered,
    /// The first eight subjects, most relevant first.
    pub subjects: Vec<Subject>,
    /// Subjects that are not shown.
    pub subjects_more: usize,
}

/// The sentiment of a post.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lean {
    /// P(positive) − P(negative), −1 to 1; null where the model was not asked.
    pub score: Option<f32>,
    /// The label, or why there is none.
    #[serde(flatten)]
    pub answer: Answered,
}

/// The answer of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    /// The label, null when the model abstained.
    pub label: Option<String>,
    /// Probability of the best class.
    pub confidence: f32,
    /// Why there is no label.
    pub reason: Option<Abstention>,
}

/// A change of an alert for the page, without its evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertLine {
    /// The alert record's id.
    pub id: String,
    /// The same for the whole life of the alert.
    pub fingerprint: String,
    /// The rule's name.
    pub rule: String,
    /// About whom.
    pub subject: Subject,
    /// What it became.
    pub state: AlertState,
    /// From the rule.
    pub severity: Severity,
    /// Log time of the change.
    pub at: Timestamp,
    /// Log time at which the condition began to hold.
    pub starts_at: Timestamp,
    /// The figure that the rule looked at.
    pub value: Option<f32>,
    /// The bound that it crossed.
    pub threshold: f32,
    /// One sentence for a person.
    pub summary: String,
}

/// A firing alert for the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FiringLine {
    /// What it says.
    #[serde(flatten)]
    pub alert: AlertLine,
    /// The posts that weighed most, at most five.
    pub evidence: Vec<Evidence>,
}

/// A dead letter for the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetterLine {
    /// When.
    pub at: Timestamp,
    /// The stage that gave up.
    pub stage: &'static str,
    /// The class of the failure.
    pub reason: String,
    /// What was wrong.
    pub message: String,
}

impl From<&ScoredPost> for PostLine {
    fn from(post: &ScoredPost) -> Self {
        let answers = &post.sentiment.probabilities;
        let of = |label: &str| answers.get(label).copied().unwrap_or(0.0);
        let score = (!answers.is_empty()).then(|| of("positive") - of("negative"));
        Self {
            id: shown(&post.id, TEXT_CHARS_MAX),
            published_at: post.published_at,
            source: shown(&post.source, NAME_CHARS_MAX),
            kind: shown(&post.kind, NAME_CHARS_MAX),
            text: shown(&post.text, TEXT_CHARS_MAX),
            url: post.url.clone().filter(|url| url.len() <= LINK_BYTES_MAX),
            sentiment: Lean {
                score,
                answer: answered(post.sentiment.label.as_ref(), post.sentiment.confidence, post.sentiment.reason),
            },
            topic: answered(post.topic.label.as_ref(), post.topic.confidence, post.topic.reason),
            subjects: post.subjects.iter().take(SUBJECTS_MAX).map(|link| link.subject.clone()).collect(),
            subjects_more: post.subjects.len().saturating_sub(SUBJECTS_MAX),
        }
    }
}

fn answered(label: Option<&Arc<str>>, confidence: f32, reason: Option<Abstention>) -> Answered {
    Answered { label: label.map(|label| shown(label, NAME_CHARS_MAX)), confidence, reason }
}

impl From<&Alert> for AlertLine {
    fn from(alert: &Alert) -> Self {
        Self {
            id: shown(&alert.id, TEXT_CHARS_MAX),
            fingerprint: shown(&alert.fingerprint, NAME_CHARS_MAX),
            rule: shown(&alert.rule, NAME_CHARS_MAX),
            subject: alert.subject.clone(),
            state: alert.state,
            severity: alert.severity,
            at: alert.at,
            starts_at: alert.starts_at,
            value: alert.value,
            threshold: alert.threshold,
            summary: shown(&alert.summary, TEXT_CHARS_MAX),
        }
    }
}

impl From<&Alert> for FiringLine {
    fn from(alert: &Alert) -> Self {
        let evidence = alert.evidence.iter().take(EVIDENCE_MAX).map(|post| Evidence {
            excerpt: Arc::from(shown(&post.excerpt, TEXT_CHARS_MAX)),
            source: Arc::from(shown(&post.source, NAME_CHARS_MAX)),
            url: post.url.clone().filter(|url| url.len() <= LINK_BYTES_MAX),
            ..post.clone()
        });
        Self { alert: alert.into(), evidence: evidence.collect() }
    }
}

impl DeadLetterLine {
    /// The same with its texts cut to what is shown.
    #[must_use]
    pub(super) fn cut(self) -> Self {
        Self { reason: shown(&self.reason, NAME_CHARS_MAX), message: shown(&self.message, TEXT_CHARS_MAX), ..self }
    }
}

/// At most `most` characters of a text; an ellipsis says that there was more.
pub(super) fn shown(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(shown("naïve", 5), "naïve");
        assert_eq!(shown("naïvely", 5), "naïv…");
        assert_eq!(shown(&"ü".repeat(1_000_000), TEXT_CHARS_MAX).chars().count(), TEXT_CHARS_MAX);
    }
}
