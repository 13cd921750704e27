//! Which dead letters are meant.

use std::sync::Arc;

use crate::codec::Letter;
use crate::event::Reason;
use crate::time::Timestamp;

/// A choice of letters; an empty list means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterFilter {
    /// Why they could not be used.
    pub reasons: Vec<Reason>,
    /// The topics that their records came from.
    pub topics: Vec<Arc<str>>,
    /// Written at or after this moment.
    pub since: Option<Timestamp>,
    /// Written before this moment.
    pub until: Option<Timestamp>,
}

impl LetterFilter {
    /// Whether a letter is meant.
    #[must_use]
    pub fn takes(&self, letter: &Letter) -> bool {
        let at = letter.written_at();
        (self.reasons.is_empty() || self.reasons.contains(&letter.reason))
            && (self.topics.is_empty() || self.topics.contains(&letter.record.partition.topic))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }
}
