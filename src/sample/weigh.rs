//! What each strategy sees in the posts of a segment: a weight from 0 (not wanted) on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::clean::sketch;
use crate::event::{Action, Challenge, ScoredPost};
use crate::sample::Strategy;
use crate::window::Copies;

/// From which likeness on a text is a copy of one before it.
const NEAR_COPY: f32 = 0.8;
/// All posts of a segment may be copies of each other, whenever they came.
const EVER: Duration = Duration::from_secs(3_650 * 24 * 3_600);

type Odds = BTreeMap<Arc<str>, f32>;

/// The weights of all posts for one strategy. Posts that have no text, and copies of a post before them, weigh nothing
/// to any but `Random`, to which all posts are equal.
pub(super) fn weights(posts: &[(&ScoredPost, Option<&Challenge>)], strategy: Strategy, fresh: &[bool]) -> Vec<f64> {
    let answered = |of: fn(&Odds) -> f64| -> Vec<f64> {
        // Squared, so that a doubtful post is far likelier than one that is nearly sure.
        posts
            .iter()
            .map(|(post, _)| of(&post.sentiment.probabilities).max(of(&post.topic.distribution)).powi(2))
            .collect()
    };
    let weights = match strategy {
        Strategy::Random => return vec![1.0; posts.len()],
        Strategy::Margin => answered(closeness),
        Strategy::Entropy => answered(entropy),
        Strategy::Disagreement => {
            posts.iter().map(|(post, other)| other.map_or(0.0, |other| apart(post, other))).collect()
        }
        Strategy::Rare => rareness(posts),
        Strategy::Novelty => vec![1.0; posts.len()],
    };
    weights.into_iter().zip(fresh).map(|(weight, fresh)| if *fresh { weight } else { 0.0 }).collect()
}

/// Whether each post has a text that is no copy of one before it.
pub(super) fn fresh(posts: &[(&ScoredPost, Option<&Challenge>)]) -> Vec<bool> {
    let mut told = Copies::new(NEAR_COPY, EVER);
    let mut now = None;
    let mut fresh = Vec::with_capacity(posts.len());
    for (post, _) in posts {
        let sketch = sketch(&post.text);
        // Log time never goes back.
        let at = now.map_or(post.appended_at, |before| post.appended_at.max(before));
        now = Some(at);
        let copies = told.tell(sketch, at);
        fresh.push(post.action != Action::Deleted && !post.text.is_empty() && copies == 0);
    }
    fresh
}

/// 1 less the distance of the two best classes; 0 where the model was not asked.
fn closeness(odds: &Odds) -> f64 {
    let (mut best, mut second) = (0.0_f32, 0.0_f32);
    for odd in odds.values() {
        (best, second) = if *odd > best { (*odd, best) } else { (best, second.max(*odd)) };
    }
    if odds.len() < 2 { 0.0 } else { f64::from(1.0 - (best - second)).clamp(0.0, 1.0) }
}

/// Shannon's entropy as a share of what it could be; 0 where the model was not asked.
fn entropy(odds: &Odds) -> f64 {
    if odds.len() < 2 {
        return 0.0;
    }
    let nats: f64 = odds.values().map(|odd| f64::from(*odd)).filter(|odd| *odd > 0.0).map(|odd| -odd * odd.ln()).sum();
    (nats / (odds.len() as f64).ln()).clamp(0.0, 1.0)
}

/// How far the answers lie apart: the greater total variation distance of the two tasks, 0 to 1, and 0 where both name the
/// same classes.
fn apart(post: &ScoredPost, other: &Challenge) -> f64 {
    let distance = |one: &Odds, two: &Odds| -> f64 {
        let apart =
            |(class, odd): (&Arc<str>, &f32)| f64::from((odd - two.get(class).copied().unwrap_or_default()).abs());
        one.iter().map(apart).sum::<f64>() / 2.0
    };
    let differ =
        |one: Option<(&Arc<str>, f32)>, two: Option<(&Arc<str>, f32)>| one.map(|it| it.0) != two.map(|it| it.0);
    let (mut sentiment, mut topic) = (0.0, 0.0);
    if differ(post.sentiment.best(), other.sentiment.best()) {
        sentiment = distance(&post.sentiment.probabilities, &other.sentiment.probabilities);
    }
    if differ(post.topic.best(), other.topic.best()) {
        topic = distance(&post.topic.distribution, &other.topic.distribution);
    }
    sentiment.max(topic)
}

/// One over the number of posts with the same answer, the greater of the two tasks: each class is wanted equally often.
fn rareness(posts: &[(&ScoredPost, Option<&Challenge>)]) -> Vec<f64> {
    fn shares(answers: &[Option<&Arc<str>>]) -> Vec<f64> {
        let mut counts: HashMap<&Arc<str>, usize> = HashMap::new();
        answers.iter().flatten().for_each(|class| *counts.entry(class).or_default() += 1);
        let share = |class: &Arc<str>| counts.get(class).map_or(0.0, |count| 1.0 / *count as f64);
        answers.iter().map(|class| class.map_or(0.0, share)).collect()
    }
    let sentiment: Vec<_> = posts.iter().map(|(post, _)| post.sentiment.best().map(|(class, _)| class)).collect();
    let topic: Vec<_> = posts.iter().map(|(post, _)| post.topic.best().map(|(class, _)| class)).collect();
    shares(&sentiment).into_iter().zip(shares(&topic)).map(|(one, other)| one.max(other)).collect()
}
