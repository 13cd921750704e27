//! Which samples are most worth a label: those between whose two best classes the model hesitates most, each story once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::archive::{ArchiveError, ArchivedPost, Odds, Shelf};
use crate::clean::{likeness, sketch};
use crate::event::Sketch;
use crate::retrain::dataset::Labels;

/// Samples looked at for each one that is shown, so that near-copies can be left out.
const SPARE: usize = 8;

/// A sample that waits for a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The sample.
    pub post: ArchivedPost,
    /// How far the best class is ahead of the second, 0 to 1.
    pub margin: f32,
}

impl Candidate {
    /// What the model says of a task, best first.
    #[must_use]
    pub fn guesses(&self, task: &str) -> Vec<(&str, f32)> {
        let mut guesses: Vec<(&str, f32)> =
            odds(&self.post, task).iter().map(|(label, probability)| (label.as_str(), *probability)).collect();
        guesses.sort_by(|one, other| other.1.total_cmp(&one.1));
        guesses
    }
}

fn odds<'a>(post: &'a ArchivedPost, task: &str) -> &'a Odds {
    if task == "topic" { &post.topic } else { &post.sentiment }
}

/// How far the best class is ahead of the second; `None` where the model was not asked.
fn margin(odds: &Odds) -> Option<f32> {
    let (mut best, mut second) = (f32::NEG_INFINITY, 0.0_f32);
    for (_, probability) in odds {
        if *probability > best {
            (best, second) = (*probability, best.max(0.0));
        } else {
            second = second.max(*probability);
        }
    }
    (!odds.is_empty()).then_some((best - second).max(0.0))
}

/// The samples without a label in `task` that are most worth one, the hardest first; at most `count`, no two of them
/// near-copies by the share `near_copy` of equal parts.
///
/// # Errors
/// When the archive cannot be read.
pub fn worth_a_label(
    shelf: &Shelf,
    labels: &Labels,
    task: &str,
    count: usize,
    near_copy: f32,
) -> Result<Vec<Candidate>, ArchiveError> {
    // By margin in millionths, so that there is an order, and id.
    let mut hardest: BTreeMap<(u32, Arc<str>), ArchivedPost> = BTreeMap::new();
    let mut places: HashMap<Arc<str>, u32> = HashMap::new();
    shelf.each_post(|post| {
        let known = places.get(&post.post_id).map(|margin| (*margin, post.post_id.clone()));
        let is_older =
            known.as_ref().and_then(|key| hardest.get(key)).is_some_and(|other| other.revision > post.revision);
        if is_older || labels.answer(&post.post_id, task).is_some() {
            return;
        }
        if let Some(key) = known {
            hardest.remove(&key);
            places.remove(&post.post_id);
        }
        let usable = !post.is_deleted && !post.text.trim().is_empty();
        let Some(margin) = margin(odds(&post, task)).filter(|_| usable) else { return };
        let key = ((margin * 1e6) as u32, post.post_id.clone());
        places.insert(post.post_id.clone(), key.0);
        hardest.insert(key, post);
        if hardest.len() > count.saturating_mul(SPARE)
            && let Some(((_, id), _)) = hardest.pop_last()
        {
            places.remove(&id);
        }
    })?;
    let mut shown: Vec<Sketch> = Vec::new();
    let mut chosen = Vec::new();
    for ((margin, _), post) in hardest {
        if chosen.len() >= count {
            break;
        }
        let mine = sketch(&post.text);
        if shown.iter().all(|other| likeness(mine, *other) < near_copy) {
            shown.push(mine);
            chosen.push(Candidate { post, margin: margin as f32 / 1e6 });
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "tests")]
    use super::*;

    #[test]
    fn the_margin_is_that_of_the_two_best_whatever_their_order() {
        let odds = |values: &[f32]| -> Odds { values.iter().map(|value| ("class".to_owned(), *value)).collect() };
        assert_eq!(margin(&odds(&[])), None);
        assert_eq!(margin(&odds(&[1.0])), Some(1.0));
        for values in [[0.5, 0.25, 0.125], [0.125, 0.5, 0.25], [0.25, 0.125, 0.5]] {
            assert_eq!(margin(&odds(&values)), Some(0.25), "{values:?}");
        }
    }
}
