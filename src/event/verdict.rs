//! The model's answer for one text.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a task has no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abstention {
    /// The best calibrated probability is below the model's threshold.
    LowConfidence,
    /// The text is in a language that the model does not know.
    UnknownLanguage,
    /// Nothing is left of the text after cleaning.
    EmptyText,
    /// The post was deleted: there is no text.
    Deleted,
    /// The loaded model does not answer this task.
    NotAnswered,
}

impl Abstention {
    /// As in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LowConfidence => "low-confidence",
            Self::UnknownLanguage => "unknown-language",
            Self::EmptyText => "empty-text",
            Self::Deleted => "deleted",
            Self::NotAnswered => "not-answered",
        }
    }
}

/// The answer for one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Calibrated probabilities of all classes in the model's order, summing to 1; empty where the model was not asked.
    pub distribution: Vec<(Arc<str>, f32)>,
    /// Why there is no label, `None` when there is one.
    pub abstention: Option<Abstention>,
}

impl Answer {
    /// An answer without the model having been asked.
    #[must_use]
    pub fn unasked(reason: Abstention) -> Self {
        Self { distribution: Vec::new(), abstention: Some(reason) }
    }

    /// The most probable class with its probability, whether abstained or not; ties go to the earlier class.
    #[must_use]
    pub fn best(&self) -> Option<(&Arc<str>, f32)> {
        let mut best: Option<(&Arc<str>, f32)> = None;
        for (label, probability) in &self.distribution {
            if best.is_none_or(|(_, high)| *probability > high) {
                best = Some((label, *probability));
            }
        }
        best
    }

    /// The label, unless abstained.
    #[must_use]
    pub fn label(&self) -> Option<&Arc<str>> {
        if self.abstention.is_some() { None } else { self.best().map(|(label, _)| label) }
    }

    /// The probability of the best class, 0 where the model was not asked.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        self.best().map_or(0.0, |(_, probability)| probability)
    }

    /// The probability of one class, 0 where it is not among the classes.
    #[must_use]
    pub fn probability(&self, label: &str) -> f32 {
        self.distribution.iter().find(|(name, _)| &**name == label).map_or(0.0, |(_, probability)| *probability)
    }
}

/// What the model says of one text, per task.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Classes `negative`, `neutral`, `positive`.
    pub sentiment: Answer,
    /// Classes of the model's topic head.
    pub topic: Answer,
}

impl Verdict {
    /// Both tasks unanswered for the same reason.
    #[must_use]
    pub fn unasked(reason: Abstention) -> Self {
        Self { sentiment: Answer::unasked(reason), topic: Answer::unasked(reason) }
    }

    /// P(positive) − P(negative), from −1 to 1; 0 where the model was not asked.
    #[must_use]
    pub fn score(&self) -> f32 {
        self.sentiment.probability("positive") - self.sentiment.probability("negative")
    }
}
