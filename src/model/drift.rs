//! Whether what comes in, and what is answered, still looks as it did when the model was judged; without any label.
//!
//! A [`Profile`] counts what posts look like. The distance of two profiles is the population stability index, the
//! symmetric form of the Kullback–Leibler divergence: Σ (p − q) ln(p / q) over the buckets, in nats. By the rule of thumb
//! of credit scoring (Siddiqi, 2006) 0.1 is worth a look and 0.25 is another population. How often the model is right is
//! estimated by average thresholded confidence (Garg et al., 2022): where it was judged, a share of the answers as large
//! as its accuracy was surer than some threshold; the share that is surer now is the estimate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Abstention;
use crate::model::Encoded;

/// Upper bounds of the buckets of lengths, in tokens; one more is open.
const LENGTHS: [usize; 9] = [8, 12, 16, 24, 32, 48, 64, 96, 128];
/// Upper bounds of the shares of tokens that the tokeniser does not know; one more is open.
const UNKNOWN: [f64; 4] = [0.0, 0.02, 0.05, 0.1];
/// Upper bounds of confidences; one more is open.
const CONFIDENCES: [f32; 7] = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];
/// Buckets that tokens fall into by a hash of their number.
const WORDS: usize = 64;
/// Posts of a block, and blocks that are looked at together.
const BLOCK: (u64, usize) = (250, 8);
/// Posts without which nothing is said: chance alone would look like a change.
const POSTS_MIN: u64 = 1_000;
/// Added to each bucket, so that an empty one is not infinitely far away.
const PSEUDO: f64 = 0.5;

/// A task's name with its best class and that class's probability, where it was asked.
pub type Said<'a> = (&'a str, Option<(&'a Arc<str>, f32)>);

/// A post as a profile sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What the model was asked; `None` where it was not.
    pub tokens: Option<&'a Encoded>,
    /// Why it was not.
    pub unasked: Option<Abstention>,
    /// What it answered.
    pub said: [Said<'a>; 2],
}

/// Counts of what posts look like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Posts.
    pub posts: u64,
    /// By number of tokens.
    length: Vec<u64>,
    /// By the share of tokens that the tokeniser does not know.
    unknown_tokens: Vec<u64>,
    /// Tokens, by a hash.
    vocabulary: Vec<u64>,
    /// Whether the model was asked, or why not (`unknown-language`, `empty-text`).
    asked: BTreeMap<String, u64>,
    /// By task and best class.
    answers: BTreeMap<String, BTreeMap<String, u64>>,
    /// By task and how sure.
    confidence: BTreeMap<String, Vec<u64>>,
}

impl Profile {
    /// Counts a post. `unknown` is the token that stands for what the tokeniser does not know.
    pub fn note(&mut self, seen: &Seen<'_>, unknown: Option<u32>) {
        self.posts += 1;
        let asked = seen.unasked.map_or("asked", Abstention::as_str);
        *self.asked.entry(asked.to_owned()).or_default() += 1;
        if let Some(tokens) = seen.tokens {
            let length = tokens.ids.len();
            count(&mut self.length, bucket(&LENGTHS, |bound| length <= *bound), LENGTHS.len() + 1);
            let strange = tokens.ids.iter().filter(|id| Some(**id) == unknown).count();
            let share = strange as f64 / length.max(1) as f64;
            count(&mut self.unknown_tokens, bucket(&UNKNOWN, |bound| share <= *bound), UNKNOWN.len() + 1);
            for id in &tokens.ids {
                // The upper bits of a multiplicative hash (Knuth).
                let place = (id.wrapping_mul(0x9e37_79b9) >> 26) as usize;
                count(&mut self.vocabulary, place, WORDS);
            }
        }
        for (task, (class, sure)) in seen.said.iter().filter_map(|(task, best)| Some((*task, (*best)?))) {
            *self.answers.entry(task.to_owned()).or_default().entry(class.to_string()).or_default() += 1;
            let place = bucket(&CONFIDENCES, |bound| sure <= *bound);
            count(self.confidence.entry(task.to_owned()).or_default(), place, CONFIDENCES.len() + 1);
        }
    }

    /// Counts the posts of another one too.
    pub fn add(&mut self, other: &Self) {
        self.posts += other.posts;
        for (mine, theirs) in [
            (&mut self.length, &other.length),
            (&mut self.unknown_tokens, &other.unknown_tokens),
            (&mut self.vocabulary, &other.vocabulary),
        ] {
            add(mine, theirs);
        }
        add_named(&mut self.asked, &other.asked);
        for (task, theirs) in &other.answers {
            add_named(self.answers.entry(task.clone()).or_default(), theirs);
        }
        for (task, theirs) in &other.confidence {
            add(self.confidence.entry(task.clone()).or_default(), theirs);
        }
    }

    /// How far it is from another one, by feature: `length`, `unknown-tokens`, `vocabulary`, `language`, and of each
    /// task its mix of answers and how sure they are.
    #[must_use]
    pub fn distances(&self, from: &Self) -> Vec<(String, f64)> {
        let of = |name: &str, one: &[u64], other: &[u64]| (name.to_owned(), distance(&aligned(one, other)));
        let mut distances = vec![
            of("length", &self.length, &from.length),
            of("unknown-tokens", &self.unknown_tokens, &from.unknown_tokens),
            of("vocabulary", &self.vocabulary, &from.vocabulary),
        ];
        // Where nobody was left unasked, it was not looked at who is.
        if from.asked.len() > 1 {
            distances.push(("language".to_owned(), distance(&named(&self.asked, &from.asked))));
        }
        let (none, nothing) = (BTreeMap::new(), Vec::new());
        for (task, answers) in &from.answers {
            let ours = self.answers.get(task).unwrap_or(&none);
            distances.push((task.clone(), distance(&named(ours, answers))));
            let sure = |of: &Self| of.confidence.get(task).unwrap_or(&nothing).clone();
            distances.push(of(&format!("{task}-confidence"), &sure(self), &sure(from)));
        }
        distances
    }
}

/// An answer to a row with a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Graded {
    /// How sure it was, 0 to 1.
    pub sure: f32,
    /// Whether it was right.
    pub is_right: bool,
    /// How many posts the row stands for: one over the probability with which it was kept (Horvitz and Thompson, 1952). Which
    /// of those that were kept people labelled is not in it.
    pub weight: f64,
}

impl Graded {
    /// The share of these answers that are so, by weight; 0 of none.
    #[must_use]
    pub fn share(answers: &[Self], is_so: impl Fn(&Self) -> bool) -> f64 {
        let weight = |of: &mut dyn Iterator<Item = &Self>| of.map(|answer| answer.weight).sum::<f64>();
        let all = weight(&mut answers.iter());
        if all > 0.0 { weight(&mut answers.iter().filter(|answer| is_so(answer))) / all } else { 0.0 }
    }
}

/// Rows that must carry the weight of those that a model is judged by.
const ROWS_MIN: f64 = 30.0;

/// How good a task was where the model was judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Rows with a label.
    pub rows: u64,
    /// The share of right answers, each by its weight.
    pub accuracy: f64,
    /// So sure, or surer, was a share of the answers as near to `accuracy` as there is.
    pub threshold: f32,
}

impl Judged {
    /// `None` without any, and where so few of them carry the weight that chance alone decides.
    #[must_use]
    pub fn of(answers: &[Graded]) -> Option<Self> {
        let (all, squares) = answers
            .iter()
            .fold((0.0, 0.0), |(all, squares), answer| (all + answer.weight, squares + answer.weight * answer.weight));
        let rows = answers.len() as u64;
        // So many rows of equal weight would say as much (Kish, 1965).
        let effective = all * all / squares;
        if answers.is_empty() || effective < ROWS_MIN.min(rows as f64) * (1.0 - 1e-9) {
            return None;
        }
        let mut sorted = answers.to_vec();
        sorted.sort_by(|one, other| other.sure.total_cmp(&one.sure));
        let accuracy = Graded::share(answers, |answer| answer.is_right);
        // The last of those that make up the share best; above all of them when none was right.
        let (mut so_far, mut nearest, mut threshold) = (0.0, accuracy * all, 1.0);
        for answer in &sorted {
            so_far += answer.weight;
            let far = (so_far - accuracy * all).abs();
            if far < nearest {
                (nearest, threshold) = (far, answer.sure);
            }
        }
        Some(Self { rows, accuracy, threshold })
    }
}

/// What the model was judged on: the file `reference.json` of a version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// What those posts looked like.
    pub profile: Profile,
    /// By task.
    pub judged: BTreeMap<String, Judged>,
}

/// What the last posts look like beside the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// By feature, see [`Profile::distances`].
    pub distances: Vec<(String, f64)>,
    /// By task: the share of right answers as it is estimated, and as it was judged.
    pub accuracy: Vec<(String, f64, f64)>,
}

/// The last two thousand posts, in blocks.
#[derive(Debug, Default)]
pub struct Drift {
    version: Option<Arc<str>>,
    unknown: Option<u32>,
    reference: Option<Arc<Reference>>,
    blocks: VecDeque<Block>,
    /// What was found last.
    told: Option<Findings>,
}

#[derive(Debug, Default)]
struct Block {
    profile: Profile,
    /// By task: answers, and those at least as sure as the threshold.
    sure: BTreeMap<String, (u64, u64)>,
}

impl Drift {
    /// Begins anew with the model that answers from now on; what was told of the one before, which is over.
    pub fn begin(
        &mut self,
        version: &Arc<str>,
        reference: Option<Arc<Reference>>,
        unknown: Option<u32>,
    ) -> Option<Findings> {
        let told = self.told.take();
        *self = Self { version: Some(version.clone()), unknown, reference, ..Self::default() };
        told
    }

    /// Counts a post that `version` answered; findings each time that a block is full and there are enough posts.
    pub fn note(&mut self, version: &Arc<str>, seen: &Seen<'_>) -> Option<Findings> {
        let reference = self.reference.clone()?;
        if self.version.as_ref() != Some(version) {
            return None;
        }
        if self.blocks.back().is_none_or(|block| block.profile.posts >= BLOCK.0) {
            self.blocks.push_back(Block::default());
        }
        let block = self.blocks.back_mut()?;
        block.profile.note(seen, self.unknown);
        for (task, (_, sure)) in seen.said.iter().filter_map(|(task, best)| Some((*task, (*best)?))) {
            if let Some(judged) = reference.judged.get(task) {
                let (all, surer) = block.sure.entry(task.to_owned()).or_default();
                *all += 1;
                *surer += u64::from(sure >= judged.threshold);
            }
        }
        let found = (block.profile.posts >= BLOCK.0).then(|| self.findings(&reference)).flatten()?;
        self.told = Some(found.clone());
        Some(found)
    }

    fn findings(&mut self, reference: &Reference) -> Option<Findings> {
        while self.blocks.len() > BLOCK.1 {
            self.blocks.pop_front();
        }
        let (mut profile, mut sure): (Profile, BTreeMap<String, (u64, u64)>) = Default::default();
        for block in &self.blocks {
            profile.add(&block.profile);
            for (task, (all, surer)) in &block.sure {
                let of_task = sure.entry(task.clone()).or_default();
                *of_task = (of_task.0 + all, of_task.1 + surer);
            }
        }
        let estimate = |(task, (all, surer)): (String, (u64, u64))| {
            let judged = reference.judged.get(&task)?.accuracy;
            Some((task, surer as f64 / all.max(1) as f64, judged))
        };
        let accuracy = sure.into_iter().filter_map(estimate).collect();
        (profile.posts >= POSTS_MIN).then(|| Findings { distances: profile.distances(&reference.profile), accuracy })
    }
}

fn bucket<T>(bounds: &[T], fits: impl FnMut(&T) -> bool) -> usize {
    bounds.iter().position(fits).unwrap_or(bounds.len())
}

fn count(counts: &mut Vec<u64>, place: usize, places: usize) {
    counts.resize(places.max(counts.len()), 0);
    if let Some(count) = counts.get_mut(place) {
        *count += 1;
    }
}

fn add(mine: &mut Vec<u64>, theirs: &[u64]) {
    mine.resize(mine.len().max(theirs.len()), 0);
    mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
}

fn add_named(mine: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    theirs.iter().for_each(|(name, count)| *mine.entry(name.clone()).or_default() += count);
}

/// Two lists of counts, side by side.
fn aligned(one: &[u64], other: &[u64]) -> Vec<(u64, u64)> {
    let at = |counts: &[u64], place| counts.get(place).copied().unwrap_or(0);
    (0..one.len().max(other.len())).map(|place| (at(one, place), at(other, place))).collect()
}

fn named(one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>) -> Vec<(u64, u64)> {
    let at = |counts: &BTreeMap<String, u64>, name: &String| counts.get(name).copied().unwrap_or(0);
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().map(|name| (at(one, name), at(other, name))).collect()
}

/// The population stability index of two lists of counts, in nats; 0 where there is nothing to compare.
fn distance(pairs: &[(u64, u64)]) -> f64 {
    let (all, others): (u64, u64) = pairs.iter().fold((0, 0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    if all == 0 || others == 0 {
        return 0.0;
    }
    let share = |count: u64, all: u64| (count as f64 + PSEUDO) / (all as f64 + PSEUDO * pairs.len() as f64);
    pairs
        .iter()
        .map(|(one, other)| {
            let (p, q) = (share(*one, all), share(*other, others));
            (p - q) * (p / q).ln()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    /// Posts with lengths and words of their own; `sure` of each, by its number.
    fn posts(count: u32, word: u32, sure: impl Fn(u32) -> f32) -> Vec<(Encoded, Arc<str>, f32)> {
        let ids = |number: u32| (0..6 + number % 20).map(|place| word + (number * 31 + place * 7) % 17).collect();
        let class = |number: u32| Arc::from(if number.is_multiple_of(4) { "negative" } else { "neutral" });
        (0..count).map(|number| (Encoded { ids: ids(number), hash: 0 }, class(number), sure(number))).collect()
    }

    fn seen(post: &(Encoded, Arc<str>, f32)) -> Seen<'_> {
        Seen { tokens: Some(&post.0), unasked: None, said: [("sentiment", Some((&post.1, post.2))), ("topic", None)] }
    }

    fn profile(posts: &[(Encoded, Arc<str>, f32)]) -> Profile {
        let mut profile = Profile::default();
        posts.iter().for_each(|post| profile.note(&seen(post), Some(3)));
        profile
    }

    fn of(distances: &[(String, f64)], feature: &str) -> f64 {
        distances.iter().find(|(name, _)| name == feature).unwrap().1
    }

    #[test]
    fn what_is_alike_is_near_and_each_change_shows_where_it_is() {
        let usual = posts(2_000, 100, |number| 0.5 + (number % 50) as f32 / 100.0);
        let reference = profile(&usual);
        let near = profile(&posts(1_200, 100, |number| 0.5 + (number % 50) as f32 / 100.0)).distances(&reference);
        assert_eq!(near.len(), 5);
        assert!(near.iter().all(|(_, distance)| *distance < 0.02), "{near:?}");

        let words = profile(&posts(1_200, 90_000, |number| 0.5 + (number % 50) as f32 / 100.0)).distances(&reference);
        assert!(of(&words, "vocabulary") > 0.1 && of(&words, "length") < 0.02, "{words:?}");
        let unsure = profile(&posts(1_200, 100, |number| 0.3 + (number % 20) as f32 / 100.0)).distances(&reference);
        assert!(of(&unsure, "sentiment-confidence") > 0.25 && of(&unsure, "sentiment") < 0.02, "{unsure:?}");
        let mut grim = posts(1_200, 100, |number| 0.5 + (number % 50) as f32 / 100.0);
        grim.iter_mut().for_each(|post| post.1 = Arc::from("negative"));
        assert!(of(&profile(&grim).distances(&reference), "sentiment") > 0.25);
        let mut strange = posts(1_200, 100, |_| 0.9);
        strange.iter_mut().for_each(|post| post.0.ids.iter_mut().step_by(3).for_each(|id| *id = 3));
        assert!(of(&profile(&strange).distances(&reference), "unknown-tokens") > 0.25);
        let mut foreign = Profile::default();
        let unasked = Seen {
            tokens: None,
            unasked: Some(Abstention::UnknownLanguage),
            said: [("sentiment", None), ("topic", None)],
        };
        (0..1_000).for_each(|_| foreign.note(&unasked, None));
        let silent = foreign.distances(&reference);
        assert!(silent.iter().all(|(feature, _)| feature != "language"), "it was not looked at: {silent:?}");
        let mut some = reference.clone();
        some.note(&unasked, None);
        assert!(of(&foreign.distances(&some), "language") > 0.25);
    }

    #[test]
    fn the_estimate_is_the_accuracy_where_it_was_judged_and_falls_with_confidence() {
        let graded = |sure: f32, is_right: bool, weight: f64| Graded { sure, is_right, weight };
        let of = |n: u16| graded(f32::from(n) / 1_000.0, n >= 200, 1.0);
        let answers: Vec<Graded> = (0..1_000).map(of).collect();
        let judged = Judged::of(&answers).unwrap();
        assert_eq!((judged.rows, judged.threshold.to_bits()), (1_000, 0.2_f32.to_bits()));
        assert!((judged.accuracy - 0.8).abs() < 1e-9);
        assert_eq!(Judged::of(&[]), None);
        assert!(Judged::of(&[graded(0.9, false, 1.0)]).unwrap().threshold >= 1.0, "nobody is so sure");
        assert_eq!(Judged::of(&[graded(0.9, true, 3.0)]).unwrap().threshold.to_bits(), 0.9_f32.to_bits());
        // Of the sure half of these answers one in ten was kept, of the others each: it is as good as before.
        let kept = |(n, answer): (u16, &Graded)| match n {
            0..500 => Some(*answer),
            n => (n % 10 == 0).then_some(Graded { weight: 10.0, ..*answer }),
        };
        let kept: Vec<Graded> = (0_u16..).zip(&answers).filter_map(kept).collect();
        let found = Judged::of(&kept).unwrap();
        assert_eq!((found.rows, found.threshold.to_bits()), (550, judged.threshold.to_bits()));
        assert!((found.accuracy - judged.accuracy).abs() < 1e-9, "{found:?}");
        // One that stands for nine tenths of all decides nothing, and what comes nearest to the share is taken.
        let mut heavy = answers.clone();
        heavy[0].weight = 9_000.0;
        assert_eq!(Judged::of(&heavy), None);
        heavy[0] = graded(1.0, false, 150.0);
        let found = Judged::of(&heavy).unwrap();
        let share = Graded::share(&heavy, |answer| answer.sure >= found.threshold);
        assert!((share - found.accuracy).abs() < 1e-3, "{share} {found:?}");

        let usual = posts(1_000, 100, |number| number as f32 / 1_000.0);
        let reference =
            Arc::new(Reference { profile: profile(&usual), judged: [("sentiment".to_owned(), judged)].into() });
        let one: Arc<str> = Arc::from("1");
        let mut drift = Drift::default();
        assert_eq!(drift.note(&one, &seen(&usual[0])), None, "nobody was judged");
        assert_eq!(drift.begin(&one, Some(reference), None), None, "nothing was told");
        assert_eq!(drift.note(&Arc::from("2"), &seen(&usual[0])), None, "another model's answer");
        let told: Vec<Findings> = usual.iter().filter_map(|post| drift.note(&one, &seen(post))).collect();
        assert_eq!(told.len(), 1, "once, when there are a thousand: {told:?}");
        let found = &told[0];
        assert_eq!(found.accuracy.len(), 1);
        assert!((found.accuracy[0].1 - 0.8).abs() < 0.01 && (found.accuracy[0].2 - 0.8).abs() < 1e-9, "{found:?}");
        // Two thousand posts later nothing of those is left in the window.
        let unsure = posts(2_000, 100, |number| (number % 400) as f32 / 1_000.0);
        let last = unsure.iter().filter_map(|post| drift.note(&one, &seen(post))).last().unwrap();
        assert!((last.accuracy[0].1 - 0.5).abs() < 0.01, "{last:?}");
        assert!(drift.blocks.len() <= BLOCK.1);
        assert_eq!(drift.begin(&Arc::from("2"), None, None), Some(last), "it is over with the model");
        assert_eq!(drift.note(&Arc::from("2"), &seen(&usual[0])), None);
    }
}
