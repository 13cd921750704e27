//! The decision on one post: a pure function of its id, so that every run keeps the same posts.

use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::sample::{Policy, Quota};

/// Why a post is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Which policy or [strategy](crate::sample::Strategy) kept it.
    pub reason: &'static str,
    /// The probability with which such a post is kept, 0 (exclusive) to 1: its inverse is the row's weight in any
    /// estimate about all posts (Horvitz and Thompson, 1952).
    pub probability: f64,
}

/// What a policy says of one post.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// Keep it.
    Keep(Kept),
    /// Do not.
    Leave,
    /// That depends on the other posts of its segment: [`choose`](crate::sample::choose).
    Later,
}

impl Policy {
    /// The quotas of a mixed policy; none of another.
    #[must_use]
    pub fn quotas(&self) -> Arc<[Quota]> {
        match self {
            Self::All | Self::Hash(_) => Arc::default(),
            Self::Mixed(quotas) => quotas.clone(),
        }
    }

    /// Whether to keep a scored post.
    #[must_use]
    pub fn decide(&self, post_id: &str) -> Choice {
        match *self {
            Self::All => Choice::Keep(Kept { reason: "all", probability: 1.0 }),
            Self::Hash(share) if unit(post_id) < share => {
                Choice::Keep(Kept { reason: "hash", probability: share.clamp(0.0, 1.0) })
            }
            Self::Hash(_) => Choice::Leave,
            Self::Mixed(_) => Choice::Later,
        }
    }
}

/// The number of a post by which it is kept or not.
pub(super) fn unit(post_id: &str) -> f64 {
    fraction(xxh3_64(post_id.as_bytes()))
}

/// Whether a post belongs to the share (0 to 1) that a challenger answers: by another number than the one by which it is
/// kept, so that neither choice tells anything of the other.
#[must_use]
pub fn is_drawn(post_id: &str, share: f64) -> bool {
    fraction(xxh3_64_with_seed(post_id.as_bytes(), 1)) < share
}

/// A hash as a number in [0, 1): the upper 53 bits, all that a double can hold.
fn fraction(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_posts_is_kept_and_a_larger_share_keeps_them_too() {
        let ids: Vec<String> = (0..20_000).map(|n| format!("post-{n}")).collect();
        let kept =
            |share: f64| ids.iter().filter(|id| Policy::Hash(share).decide(id) != Choice::Leave).collect::<Vec<_>>();
        let (few, many) = (kept(0.1), kept(0.3));
        assert!((1_800..2_200).contains(&few.len()), "{}", few.len());
        assert!((5_700..6_300).contains(&many.len()), "{}", many.len());
        assert!(few.iter().all(|id| many.contains(id)));
    }

    #[test]
    fn nothing_is_kept_at_zero_and_everything_at_one() {
        for id in ["", "a", "post-17"] {
            assert_eq!(Policy::Hash(0.0).decide(id), Choice::Leave);
            assert_eq!(Policy::Hash(1.0).decide(id), Choice::Keep(Kept { reason: "hash", probability: 1.0 }));
            assert_eq!(Policy::All.decide(id), Choice::Keep(Kept { reason: "all", probability: 1.0 }));
        }
    }
}
