//! Which scored posts are kept.

use std::sync::Arc;

/// The sampling policy.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    /// Every scored post.
    All,
    /// A share of them (0 to 1), chosen by a hash of the post's id: the same posts in every run.
    Hash(f64),
    /// By several strategies, each with its quota; decided when a segment is closed, over its rows.
    Mixed(Arc<[Quota]>),
}

/// How much a strategy may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    /// What it looks for.
    pub strategy: Strategy,
    /// The share of a segment's posts that it takes, 0 (exclusive) to 1, in expectation.
    pub share: f64,
}

/// What makes a post worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Any post, so that rates of all posts can be estimated.
    Random,
    /// The two best classes are close to each other.
    Margin,
    /// The probability is spread over the classes.
    Entropy,
    /// Champion and challenger answer differently.
    Disagreement,
    /// The answer is one that the segment has few of.
    Rare,
    /// No post of the segment before it has nearly the same text.
    Novelty,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Random, Self::Margin, Self::Entropy, Self::Disagreement, Self::Rare, Self::Novelty];

    /// The name in the file, and the reason in a row.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Margin => "margin",
            Self::Entropy => "entropy",
            Self::Disagreement => "disagreement",
            Self::Rare => "rare",
            Self::Novelty => "novelty",
        }
    }
}
