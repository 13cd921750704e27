//! People's answers, put in order: the latest of each person, the latest of all, and who disagrees.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::event::Label;
use crate::model::Task;
use crate::time::Timestamp;

/// One person's latest answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vote {
    /// Who.
    pub annotator: Arc<str>,
    /// The class, by the model's own name.
    pub label: String,
    /// When.
    pub at: Timestamp,
}

/// What was read, and what of it cannot be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCounts {
    /// Records.
    pub read: usize,
    /// Of a task that the model does not have.
    pub unknown_task: usize,
    /// Of a class that its task does not have.
    pub unknown_class: usize,
    /// Taken back or changed by the same person later.
    pub superseded: usize,
    /// Of posts, or of people for one post, beyond those that are held.
    #[serde(default)]
    pub beyond: usize,
    /// When the newest that can be used was given.
    #[serde(default)]
    pub newest: Option<Timestamp>,
}

/// People whose answer for one post and task is held: the latest.
const PEOPLE_MAX: usize = 100;

/// Answers by post and task, one a person; of a bounded number of posts, however many labels there are.
#[derive(Debug)]
pub struct Labels {
    votes: HashMap<Arc<str>, BTreeMap<String, Vec<Vote>>>,
    counts: LabelCounts,
    posts_max: usize,
    seed: u64,
    /// Posts whose hash is not below are not held.
    hashes_below: Option<u64>,
}

impl Labels {
    /// Holds nothing yet, and the answers for so many posts at most: those with the smallest hashes under the seed, a
    /// choice that does not depend on order. On the way it holds up to twice as many.
    #[must_use]
    pub fn of_posts(posts_max: usize, seed: u64) -> Self {
        Self { votes: HashMap::new(), counts: LabelCounts::default(), posts_max, seed, hashes_below: None }
    }

    /// Takes one in.
    pub fn take(&mut self, label: Label, tasks: &[Task]) {
        self.counts.read += 1;
        let Some(task) = tasks.iter().find(|task| task.name == *label.task) else {
            self.counts.unknown_task += 1;
            return;
        };
        let Some(class) = task.resolve(&label.label) else {
            self.counts.unknown_class += 1;
            return;
        };
        if self.hashes_below.is_some_and(|bound| self.hash(&label.post_id) >= bound) {
            self.counts.beyond += 1;
            return;
        }
        self.counts.newest = self.counts.newest.max(Some(label.at));
        let vote = Vote { annotator: label.annotator, label: class.to_owned(), at: label.at };
        let votes = self.votes.entry(label.post_id).or_default().entry(task.name.clone()).or_default();
        match votes.iter_mut().find(|known| known.annotator == vote.annotator) {
            None => {
                votes.push(vote);
                if votes.len() > PEOPLE_MAX {
                    let order = |vote: &Vote| (vote.at, Reverse(vote.annotator.clone()));
                    let earliest = votes.iter().enumerate().min_by_key(|(_, vote)| order(vote)).map(|(place, _)| place);
                    votes.swap_remove(earliest.unwrap_or_default());
                    self.counts.beyond += 1;
                }
            }
            Some(known) => {
                self.counts.superseded += 1;
                if known.at <= vote.at {
                    *known = vote;
                }
            }
        }
        if self.votes.len() > 2 * self.posts_max {
            self.cut();
        }
    }

    /// Lets go of what is held beyond `posts_max`; after the last label.
    pub fn cut(&mut self) {
        if self.votes.len() <= self.posts_max {
            return;
        }
        let mut hashes: Vec<u64> = self.votes.keys().map(|id| self.hash(id)).collect();
        hashes.sort_unstable();
        let bound = hashes.get(self.posts_max).copied().unwrap_or(u64::MAX);
        self.hashes_below = Some(bound);
        let (seed, beyond) = (self.seed, &mut self.counts.beyond);
        self.votes.retain(|id, tasks| {
            let stays = xxh3_64_with_seed(id.as_bytes(), seed) < bound;
            *beyond += if stays { 0 } else { tasks.values().map(Vec::len).sum() };
            stays
        });
    }

    fn hash(&self, post_id: &str) -> u64 {
        xxh3_64_with_seed(post_id.as_bytes(), self.seed)
    }

    /// What was read.
    #[must_use]
    pub const fn counts(&self) -> &LabelCounts {
        &self.counts
    }

    /// Labelled posts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.votes.len()
    }

    /// Whether nothing can be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.votes.is_empty()
    }

    /// Whether somebody answered for this post.
    #[must_use]
    pub fn has(&self, post_id: &str) -> bool {
        self.votes.contains_key(post_id)
    }

    /// The ids of the labelled posts.
    pub fn posts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.votes.keys()
    }

    /// All answers for a post and task.
    #[must_use]
    pub fn votes(&self, post_id: &str, task: &str) -> &[Vote] {
        self.votes.get(post_id).and_then(|tasks| tasks.get(task)).map_or(&[], Vec::as_slice)
    }

    /// The answer that counts: the latest; of two at one moment the one whose annotator comes first in the alphabet, so
    /// that it does not depend on the order of files.
    #[must_use]
    pub fn answer(&self, post_id: &str, task: &str) -> Option<&str> {
        let votes = self.votes(post_id, task).iter();
        let latest = votes.max_by(|one, other| one.at.cmp(&other.at).then(other.annotator.cmp(&one.annotator)));
        latest.map(|vote| vote.label.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn tasks() -> Vec<Task> {
        vec![Task {
            name: "sentiment".to_owned(),
            output: String::new(),
            labels: ["negative", "neutral", "positive"].map(str::to_owned).into(),
            temperature: 1.0,
            abstain_below: 0.0,
            aliases: BTreeMap::from([("bearish".to_owned(), "negative".to_owned())]),
        }]
    }

    fn labels(all: &[(&str, &str, &str, &str, i64)]) -> Labels {
        let mut labels = Labels::of_posts(1_000, 0);
        for (post_id, task, label, annotator, at) in all {
            let [post_id, task, label, annotator] = [post_id, task, label, annotator].map(|text| Arc::from(*text));
            labels
                .take(Label { post_id, task, label, annotator, at: Timestamp::from_millis(*at), note: None }, &tasks());
        }
        labels
    }

    #[test]
    fn the_latest_answer_wins_whatever_the_order_of_the_records() {
        let mut all = [
            ("a", "sentiment", "negative", "kim", 1),
            ("a", "sentiment", "neutral", "kim", 3),
            ("a", "sentiment", "positive", "lee", 2),
            ("b", "sentiment", "bearish", "lee", 2),
        ];
        for _ in 0..all.len() {
            all.rotate_left(1);
            let labels = labels(&all);
            assert_eq!(labels.answer("a", "sentiment"), Some("neutral"));
            assert_eq!(labels.votes("a", "sentiment").len(), 2, "one a person");
            assert_eq!(labels.answer("b", "sentiment"), Some("negative"), "an alias is its own class");
            assert_eq!(labels.counts().superseded, 1);
            assert_eq!(labels.counts().newest, Some(Timestamp::from_millis(3)));
        }
        all.reverse();
        assert_eq!(labels(&all).answer("a", "topic"), None);
    }

    #[test]
    fn of_two_at_one_moment_the_order_does_not_decide() {
        let one = ("a", "sentiment", "negative", "kim", 1);
        let other = ("a", "sentiment", "positive", "lee", 1);
        for all in [[one, other], [other, one]] {
            assert_eq!(labels(&all).answer("a", "sentiment"), Some("negative"));
        }
    }

    #[test]
    fn what_the_model_does_not_know_is_counted_and_left_out() {
        let labels = labels(&[("a", "mood", "negative", "kim", 1), ("a", "sentiment", "sad", "kim", 1)]);
        assert!(labels.is_empty());
        assert_eq!((labels.counts().unknown_task, labels.counts().unknown_class, labels.counts().read), (1, 1, 2));
    }

    fn of_post(post_id: &str, annotator: &str, at: i64) -> Label {
        let [post_id, task, label, annotator] = [post_id, "sentiment", "neutral", annotator].map(Arc::from);
        Label { post_id, task, label, annotator, at: Timestamp::from_millis(at), note: None }
    }

    #[test]
    fn however_many_posts_have_labels_the_same_few_are_held_and_the_rest_is_counted() {
        let read = |ids: &mut dyn Iterator<Item = usize>| {
            let (mut labels, mut most) = (Labels::of_posts(50, 7), 0);
            for id in ids {
                labels.take(of_post(&format!("post-{id}"), "kim", 1), &tasks());
                most = most.max(labels.len());
            }
            labels.cut();
            let mut held: Vec<Arc<str>> = labels.posts().cloned().collect();
            held.sort_unstable();
            (held, labels.counts().beyond, most)
        };
        let (held, beyond, most) = read(&mut (0..10_000));
        assert_eq!((held.len(), beyond), (50, 9_950));
        assert!(most <= 100, "{most} on the way");
        assert_eq!(read(&mut (0..10_000).rev()).0, held, "whatever the order");
        assert_eq!(read(&mut (0..50)).1, 0);
    }

    #[test]
    fn of_a_crowd_that_answers_for_one_post_the_latest_are_held() {
        let mut labels = Labels::of_posts(10, 0);
        for person in 0..1_000 {
            labels.take(of_post("a", &format!("p{person}"), person % 500), &tasks());
        }
        let votes = labels.votes("a", "sentiment");
        assert_eq!((votes.len(), labels.counts().beyond), (PEOPLE_MAX, 900));
        assert!(votes.iter().all(|vote| vote.at >= Timestamp::from_millis(450)), "{votes:?}");
    }
}
