//! The challenger: another version that answers a share of what is archived, so that one can see how it would do.
//!
//! It is asked by the thread that writes segments, when one is closed, long after the champion's answer was committed:
//! no post waits for it. When a stage waits for its own work, or a segment has taken [`ASK_MAX`], the rest is dropped
//! and counted.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::event::{Challenge, ScoredPost};
use crate::metrics;
use crate::model::{Encoded, Scorer, question};
use crate::pipeline::witness::Witness;
use crate::sample::is_drawn;
use crate::time::Clock;

/// Texts that are asked between two looks at the load.
const ASKED_AT_ONCE: usize = 64;
/// How long one segment may keep the challenger.
const ASK_MAX: Duration = Duration::from_secs(10);

/// Where the challenger sits, if there is one. Clones share it.
#[derive(Clone, Default)]
pub struct Seat(Arc<RwLock<Option<Arc<dyn Scorer>>>>);

impl Seat {
    /// Who sits there.
    #[must_use]
    pub fn get(&self) -> Option<Arc<dyn Scorer>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Seats somebody, or nobody.
    pub fn set(&self, scorer: Option<Arc<dyn Scorer>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = scorer;
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seat").field(&self.get().map(|scorer| scorer.id().clone())).finish()
    }
}

/// Asks whoever sits in a seat.
pub struct Challenger {
    seat: Seat,
    share: f64,
    clock: Arc<dyn Clock>,
    witness: Option<Witness>,
}

impl Challenger {
    /// Asks about a share of the posts, 0 to 1, by a hash of their ids.
    #[must_use]
    pub fn new(seat: Seat, share: f64, clock: Arc<dyn Clock>, witness: Witness) -> Self {
        Self { seat, share, clock, witness: Some(witness) }
    }

    /// Never asks.
    #[must_use]
    pub fn nobody(clock: Arc<dyn Clock>) -> Self {
        Self { seat: Seat::default(), share: 0.0, clock, witness: None }
    }

    /// What the challenger answers: one a post, in their order; `None` where it is not asked, or has no answer.
    pub fn ask(&self, posts: &[&ScoredPost]) -> Vec<Option<Challenge>> {
        let mut challenges = vec![None; posts.len()];
        let Some(scorer) = self.seat.get() else { return challenges };
        let mut drawn: Vec<_> = posts.iter().zip(&mut challenges).filter(|(post, _)| self.is_drawn(post)).collect();
        let (mut left, began) = (drawn.len(), self.clock.monotonic());
        for some in drawn.chunks_mut(ASKED_AT_ONCE) {
            if self.is_pressed() || self.clock.monotonic().saturating_sub(began) >= ASK_MAX {
                break;
            }
            left -= some.len();
            self.ask_some(&*scorer, some);
        }
        self.count("dropped", left);
        challenges
    }

    /// Asks about nothing, since somebody waits; what it would have been asked counts as dropped.
    pub fn pass(&self, posts: &[&ScoredPost]) -> Vec<Option<Challenge>> {
        if self.seat.get().is_some() {
            self.count("dropped", posts.iter().filter(|post| self.is_drawn(post)).count());
        }
        vec![None; posts.len()]
    }

    fn is_drawn(&self, post: &ScoredPost) -> bool {
        is_drawn(&post.post_id, self.share) && !post.sentiment.probabilities.is_empty()
    }

    fn ask_some(&self, scorer: &dyn Scorer, posts: &mut [(&&ScoredPost, &mut Option<Challenge>)]) {
        let questions: Vec<Option<Encoded>> =
            posts.iter().map(|(post, _)| question(&post.text, scorer).ok().and_then(Result::ok)).collect();
        let pool: Vec<Encoded> = questions.iter().flatten().cloned().collect();
        let mut verdicts = scorer.score(&pool).into_iter();
        for ((post, challenge), question) in posts.iter_mut().zip(&questions) {
            let verdict = question.as_ref().and_then(|_| verdicts.next()).and_then(Result::ok);
            self.count(if verdict.is_some() { "asked" } else { "failed" }, 1);
            if let Some(verdict) = verdict {
                let answer = Challenge::new(&scorer.id().version, &verdict);
                self.compare(post, &answer);
                **challenge = Some(answer);
            }
        }
        let Some(witness) = &self.witness else { return };
        for batch in scorer.take_stats().batches {
            witness.metrics.observe(&metrics::CHALLENGER_INFERENCE, &[], batch.seconds);
        }
    }

    /// Side by side: how often they agree and how sure each is.
    fn compare(&self, post: &ScoredPost, other: &Challenge) {
        let Some(Witness { metrics, .. }) = &self.witness else { return };
        let pairs = [
            ("sentiment", post.sentiment.best(), other.sentiment.best()),
            ("topic", post.topic.best(), other.topic.best()),
        ];
        for (task, champion, challenger) in pairs {
            let class = |best: Option<(&Arc<str>, f32)>| best.map(|(class, _)| class.clone());
            let sure = |best: Option<(&Arc<str>, f32)>| best.map_or(0.0, |(_, odd)| f64::from(odd));
            let agree = if class(champion) == class(challenger) { "yes" } else { "no" };
            metrics.add(&metrics::CHALLENGER_ANSWERS, &[task, agree], 1);
            metrics.observe(&metrics::CHALLENGER_CONFIDENCE, &[task, "champion"], sure(champion));
            metrics.observe(&metrics::CHALLENGER_CONFIDENCE, &[task, "challenger"], sure(challenger));
        }
    }

    fn is_pressed(&self) -> bool {
        self.witness.as_ref().is_some_and(Witness::is_pressed)
    }

    fn count(&self, outcome: &'static str, posts: usize) {
        if let Some(witness) = &self.witness {
            witness.metrics.add(&metrics::CHALLENGER_POSTS, &[outcome], posts as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::model::StubScorer;
    use crate::stream::Command;
    use crate::telemetry::Metrics;
    use crate::time::ManualClock;

    /// The stub's own answers, so that another stub agrees with them.
    fn post(number: usize, text: &str) -> ScoredPost {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/examples/scored/v1/negative.json");
        let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        value["post_id"] = format!("post-{number}").into();
        let mut scored: ScoredPost = serde_json::from_value(value).unwrap();
        let stub = StubScorer::new();
        let verdict = stub.score(&[stub.encode(text).unwrap()]).remove(0).unwrap();
        let answer = Challenge::new(&stub.id().version, &verdict);
        (scored.sentiment, scored.topic, scored.text) = (answer.sentiment, answer.topic, text.to_owned());
        scored
    }

    fn witness() -> (Witness, Metrics) {
        let witness = Witness::alone(Arc::new(ManualClock::default()));
        let metrics = witness.metrics.clone();
        (witness, metrics)
    }

    fn shown(metrics: &Metrics, line: &str) -> bool {
        metrics.render().lines().any(|it| it == line)
    }

    #[test]
    fn a_share_is_answered_compared_and_the_same_share_each_time() {
        let posts: Vec<ScoredPost> = (0..400).map(|number| post(number, "Aurora Mills beats, shares surge")).collect();
        let posts: Vec<&ScoredPost> = posts.iter().collect();
        let ((witness, metrics), seat) = (witness(), Seat::default());
        let challenger = Challenger::new(seat.clone(), 0.25, Arc::new(ManualClock::default()), witness);
        assert!(challenger.ask(&posts).iter().all(Option::is_none), "nobody sits there");
        seat.set(Some(Arc::new(StubScorer::new().with_version("7"))));
        let answers = challenger.ask(&posts);
        let count = answers.iter().flatten().count();
        assert!((70..130).contains(&count), "{count}");
        let first = answers.iter().flatten().next().unwrap();
        assert_eq!((&*first.version, &first.sentiment.label), ("7", &posts[0].sentiment.label));
        assert_ne!(first.sentiment, posts[0].sentiment, "it has an answer of its own");
        assert!(answers.iter().flatten().all(|answer| answer == first));
        assert_eq!(challenger.ask(&posts), answers);
        let asked = format!("bellwether_challenger_posts_total{{outcome=\"asked\"}} {}", 2 * count);
        assert!(shown(&metrics, &asked), "{}", metrics.render());
        let agreed = format!("bellwether_challenger_answers_total{{agrees=\"yes\",task=\"topic\"}} {}", 2 * count);
        assert!(shown(&metrics, &agreed), "{}", metrics.render());
    }

    #[test]
    fn under_load_it_is_left_out_first_and_counted() {
        let post = post(1, "Aurora Mills falls");
        let ((witness, metrics), seat) = (witness(), Seat::default());
        seat.set(Some(Arc::new(StubScorer::new())));
        let challenger = Challenger::new(seat, 1.0, Arc::new(ManualClock::default()), witness.clone());
        witness.paused(&Command::Pause);
        assert_eq!(challenger.ask(&[&post]), [None]);
        assert!(shown(&metrics, "bellwether_challenger_posts_total{outcome=\"dropped\"} 1"), "{}", metrics.render());
        witness.paused(&Command::Resume);
        assert!(challenger.ask(&[&post])[0].is_some());
        assert_eq!(challenger.pass(&[&post]), [None], "somebody waits for the segment");
        assert!(shown(&metrics, "bellwether_challenger_posts_total{outcome=\"dropped\"} 2"), "{}", metrics.render());
    }

    #[test]
    fn a_text_that_breaks_it_and_one_that_the_champion_was_not_asked_have_no_answer() {
        let (broken, mut unasked) = (post(1, "this one breaks it"), post(2, "Aurora Mills falls"));
        unasked.sentiment.probabilities.clear();
        let ((witness, metrics), seat) = (witness(), Seat::default());
        seat.set(Some(Arc::new(StubScorer::new().failing_on("this one breaks it"))));
        let challenger = Challenger::new(seat, 1.0, Arc::new(ManualClock::default()), witness);
        assert_eq!(challenger.ask(&[&broken, &unasked]), [None, None]);
        assert!(shown(&metrics, "bellwether_challenger_posts_total{outcome=\"failed\"} 1"), "{}", metrics.render());
    }
}
