//! The decision: a pure function of the post's id, so that every run keeps the same posts.

use xxhash_rust::xxh3::xxh3_64;

use crate::sample::Policy;

/// Why a post is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Which policy kept it: `all` or `hash`.
    pub reason: &'static str,
    /// The probability with which the policy keeps a post, 0 (exclusive) to 1: its inverse is the row's weight in any
    /// estimate about all posts.
    pub probability: f64,
}

impl Policy {
    /// Whether to keep a scored post.
    #[must_use]
    pub fn decide(&self, post_id: &str) -> Option<Kept> {
        match *self {
            Self::All => Some(Kept { reason: "all", probability: 1.0 }),
            Self::Hash(share) => {
                let kept = Kept { reason: "hash", probability: share.clamp(0.0, 1.0) };
                (unit(post_id) < share).then_some(kept)
            }
        }
    }
}

/// The hash of a text as a number in [0, 1): the upper 53 bits, all that a double can hold.
fn unit(text: &str) -> f64 {
    (xxh3_64(text.as_bytes()) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_share_of_the_posts_is_kept_and_a_larger_share_keeps_them_too() {
        let ids: Vec<String> = (0..20_000).map(|n| format!("post-{n}")).collect();
        let kept = |share: f64| ids.iter().filter(|id| Policy::Hash(share).decide(id).is_some()).collect::<Vec<_>>();
        let (few, many) = (kept(0.1), kept(0.3));
        assert!((1_800..2_200).contains(&few.len()), "{}", few.len());
        assert!((5_700..6_300).contains(&many.len()), "{}", many.len());
        assert!(few.iter().all(|id| many.contains(id)));
    }

    #[test]
    fn nothing_is_kept_at_zero_and_everything_at_one() {
        for id in ["", "a", "post-17"] {
            assert_eq!(Policy::Hash(0.0).decide(id), None);
            assert_eq!(Policy::Hash(1.0).decide(id).unwrap().probability.to_bits(), 1.0_f64.to_bits());
            assert_eq!(Policy::All.decide(id).unwrap().reason, "all");
        }
    }
}
