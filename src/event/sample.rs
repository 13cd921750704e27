//! A sample: a scored post that was chosen for training.

use std::sync::Arc;

use crate::event::{AnswerRecord, ScoredPost, TopicRecord, Verdict};

/// A scored post with the reason it was kept; a row of the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The post and its verdict.
    pub scored: ScoredPost,
    /// What the challenger answered, where one was asked.
    pub challenge: Option<Challenge>,
    /// Which policy or strategy kept it: `all`, `hash`, or one of a mixed policy.
    pub reason: &'static str,
    /// The probability with which such a post is kept, 0 (exclusive) to 1.
    pub probability: f64,
}

/// What a challenger answered to a post.
#[derive(Debug, Clone, PartialEq)]
pub struct Challenge {
    /// The challenger's version.
    pub version: Arc<str>,
    /// The sentiment task.
    pub sentiment: AnswerRecord,
    /// The topic task.
    pub topic: TopicRecord,
}

impl Challenge {
    /// A version's verdict.
    #[must_use]
    pub fn new(version: &Arc<str>, verdict: &Verdict) -> Self {
        let (sentiment, topic) = (AnswerRecord::from(&verdict.sentiment), TopicRecord::from(&verdict.topic));
        Self { version: version.clone(), sentiment, topic }
    }
}
