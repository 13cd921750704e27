//! A sample: a scored post that was chosen for training.

use crate::event::ScoredPost;

/// A scored post with the reason it was kept; a row of the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The post and its verdict.
    pub scored: ScoredPost,
    /// Which policy kept it: `all` or `hash`.
    pub reason: &'static str,
    /// The probability with which that policy keeps such a post, 0 (exclusive) to 1.
    pub probability: f64,
}
