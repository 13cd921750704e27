//! The posts that caused an alert.

use crate::event::Evidence;
use crate::rule::Bound;
use crate::window::{Told, alike};

/// Posts shown with an alert.
pub const EVIDENCE_MAX: usize = 5;
/// Posts looked at when stories are told apart; the rest weighs less than these.
const LOOKS_MAX: usize = 200;

/// Up to five posts of a window, heaviest first; those that lean the alert's way come before others, and a story that is
/// shown already comes after all others. `near_copy` as in the index settings.
#[must_use]
pub fn evidence<'a>(bound: Bound, inside: impl Iterator<Item = (f64, &'a Told)>, near_copy: f32) -> Vec<Evidence> {
    let mut posts: Vec<(f64, &Told)> = inside.filter(|(weight, _)| *weight > 0.0).collect();
    let total: f64 = posts.iter().map(|(weight, _)| weight).sum();
    let leans = |told: &Told| match bound {
        Bound::Below(threshold) => told.score < threshold.max(0.0),
        Bound::Above(threshold) => told.score > threshold.min(0.0),
    };
    posts.sort_by(|(one, a), (other, b)| {
        let by_weight = other.total_cmp(one).then_with(|| a.post_id.cmp(&b.post_id));
        leans(b).cmp(&leans(a)).then(by_weight)
    });
    let mut shown: Vec<(f64, &Told)> = Vec::with_capacity(EVIDENCE_MAX);
    let mut copies: Vec<(f64, &Told)> = Vec::new();
    for post in posts.into_iter().take(LOOKS_MAX) {
        if shown.len() == EVIDENCE_MAX {
            break;
        }
        let is_copy = shown.iter().any(|(_, told)| alike(told.sketch, post.1.sketch, near_copy));
        if is_copy { copies.push(post) } else { shown.push(post) }
    }
    shown.extend(copies);
    shown.truncate(EVIDENCE_MAX);
    shown.into_iter().map(|(weight, told)| exhibit(told, weight / total)).collect()
}

fn exhibit(told: &Told, share: f64) -> Evidence {
    Evidence {
        post_id: told.post_id.clone(),
        excerpt: told.excerpt.clone(),
        url: told.url.clone(),
        source: told.source.clone(),
        score: told.score,
        weight: ((share * 10_000.0).round() / 10_000.0) as f32,
        published_at: told.published_at,
    }
}
