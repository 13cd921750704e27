//! The decision on a segment: Poisson sampling with permanent random numbers (Ohlsson, 1995).
//!
//! Each strategy gives each post a probability, in proportion to what it sees in it, whose sum is the strategy's quota.
//! A post is kept when the hash of its id lies below the largest of its probabilities. One number a post for all
//! strategies: what two of them want is kept once, and the largest probability is exactly that of being kept. So any
//! row can be weighed, also one that was kept because the model was in doubt.

use crate::event::{Challenge, ScoredPost};
use crate::sample::decide::unit;
use crate::sample::weigh::{fresh, weights};
use crate::sample::{Kept, Quota, Strategy};

/// Which posts of a segment are kept, and why; in their order. The second of a pair is what a challenger answered.
#[must_use]
pub fn choose(posts: &[(&ScoredPost, Option<&Challenge>)], quotas: &[Quota]) -> Vec<Option<Kept>> {
    let mut chosen: Vec<Kept> = vec![Kept { reason: "", probability: 0.0 }; posts.len()];
    let fresh = if quotas.iter().any(|quota| quota.strategy != Strategy::Random) { fresh(posts) } else { Vec::new() };
    for Quota { strategy, share } in quotas {
        let weights = weights(posts, *strategy, &fresh);
        let factor = factor(&weights, share * posts.len() as f64);
        for (kept, weight) in chosen.iter_mut().zip(weights) {
            let probability = (factor * weight).min(1.0);
            if probability > kept.probability {
                *kept = Kept { reason: strategy.as_str(), probability };
            }
        }
    }
    let drawn = |(kept, (post, _)): (Kept, &(&ScoredPost, _))| (unit(&post.post_id) < kept.probability).then_some(kept);
    chosen.into_iter().zip(posts).map(drawn).collect()
}

/// What the weights are multiplied by so that, none being more than 1, they come to `quota`; infinite where even all that
/// weigh anything are fewer.
fn factor(weights: &[f64], quota: f64) -> f64 {
    let mut wanted: Vec<f64> = weights.iter().copied().filter(|weight| *weight > 0.0).collect();
    wanted.sort_by(f64::total_cmp);
    let (mut rest, mut left): (f64, f64) = (wanted.iter().sum(), quota);
    while let Some(largest) = wanted.pop() {
        // Whoever is above its share is certain, and the others have what is left.
        if left * largest <= rest {
            return left / rest;
        }
        rest -= largest;
        left -= 1.0;
    }
    f64::MAX
}

#[cfg(test)]
#[path = "mix_tests.rs"]
mod tests;
