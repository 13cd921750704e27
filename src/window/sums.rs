//! A hard window over a subject's mentions and its weighted mean, kept in exact sums.
//!
//! The weight of a mention, `w · 2^(−age/half_life)`, changes with every moment, but all weights change by the same
//! factor, which cancels in a mean. So weights are taken relative to a fixed reference time and only change hands when
//! a mention comes or goes. They are summed as integers: adding and taking away leaves no rounding behind, so that two
//! windows over the same mentions are equal to the last bit, whatever each has been through.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::time::Duration;

use crate::time::Timestamp;
use crate::window::{Place, TELLING, Told};

/// Half-lives between two reference times. With [`SCALE`] it bounds a sum: 2^(90 + 16) times 2^20 mentions fit 127 bits.
const EPOCH_HALF_LIVES: f64 = 16.0;
/// 2^90: a mention 70 half-lives before the reference still has 20 bits.
const SCALE: f64 = 1_237_940_039_285_380_274_899_124_224.0;

/// What a window shows at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// Weighted mean score, −1 to 1, four decimals; `None` when nothing in the window weighs anything.
    pub value: Option<f32>,
    /// Weighted standard deviation of the scores, 0 to 1, four decimals; `None` where `value` is.
    pub dispersion: Option<f32>,
    /// Mentions in the window, abstained ones included.
    pub mentions: u32,
    /// Stories with a label: mentions by their novelty, so that a story and its copies count as 1 + 1/2 + 1/3 and so on;
    /// rounded down.
    pub tellings: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    weight: i128,
    score: i128,
    square: i128,
    mentions: u32,
    novelty: u64,
}

/// A hard window `(now − over, now]` by event time. It must be moved to `now` before mentions are added at `now`.
#[derive(Debug, Clone)]
pub struct Window {
    over: Duration,
    half_life_micros: f64,
    /// Mentions later than this are inside.
    after: Timestamp,
    /// Number of the reference time that the sums are relative to.
    epoch: i64,
    sums: Sums,
}

impl Window {
    /// An empty window over the last `over`; a mention of age `half_life` weighs half (at least a microsecond).
    #[must_use]
    pub fn new(over: Duration, half_life: Duration) -> Self {
        let half_life_micros = (half_life.as_secs_f64() * 1e6).max(1.0);
        Self { over, half_life_micros, after: Timestamp::MIN, epoch: i64::MIN, sums: Sums::default() }
    }

    /// Moves to `now`; what has become too old leaves. True when something left.
    pub fn advance(&mut self, now: Timestamp, told: &BTreeMap<Place, Told>) -> bool {
        let after = now.minus(self.over).max(self.after);
        let before = self.sums;
        let epoch = (now.micros() as f64 / (self.half_life_micros * EPOCH_HALF_LIVES)).floor() as i64;
        if (epoch, after) == (self.epoch, self.after) {
            return false;
        }
        if epoch == self.epoch {
            for (place, leaving) in told.range((Excluded(Place::last_of(self.after)), Included(Place::last_of(after))))
            {
                self.sums = self.sums.less(self.part(place.at, leaving), leaving);
            }
            self.after = after;
        } else {
            (self.epoch, self.after, self.sums) = (epoch, after, Sums::default());
            for (place, inside) in told.range((Excluded(Place::last_of(after)), Unbounded)) {
                self.sums = self.sums.plus(self.part(place.at, inside), inside);
            }
        }
        before.mentions != self.sums.mentions
    }

    /// A mention has come. True when it lies in the window.
    pub fn add(&mut self, at: Timestamp, told: &Told) -> bool {
        let inside = at > self.after;
        if inside {
            self.sums = self.sums.plus(self.part(at, told), told);
        }
        inside
    }

    /// A mention that had been added has been taken away. True when it lay in the window.
    pub fn take(&mut self, at: Timestamp, told: &Told) -> bool {
        let inside = at > self.after;
        if inside {
            self.sums = self.sums.less(self.part(at, told), told);
        }
        inside
    }

    /// When the oldest mention inside leaves.
    #[must_use]
    pub fn next_change(&self, told: &BTreeMap<Place, Told>) -> Option<Timestamp> {
        if self.sums.mentions == 0 {
            return None;
        }
        let oldest = told.range((Excluded(Place::last_of(self.after)), Unbounded)).next();
        oldest.map(|(place, _)| self.left_at(place.at))
    }

    /// When a mention of that event time leaves.
    pub(super) fn left_at(&self, at: Timestamp) -> Timestamp {
        at.plus(self.over)
    }

    /// What it shows.
    #[must_use]
    pub fn reading(&self) -> Reading {
        let Sums { weight, score, square, mentions, novelty } = self.sums;
        let tellings = u32::try_from(novelty / u64::from(TELLING)).unwrap_or(u32::MAX);
        if weight <= 0 {
            return Reading { mentions, tellings, ..Reading::default() };
        }
        let mean = (score as f64 / weight as f64).clamp(-1.0, 1.0);
        let variance = (square as f64 / weight as f64 - mean * mean).clamp(0.0, 1.0);
        Reading { value: Some(rounded(mean)), dispersion: Some(rounded(variance.sqrt())), mentions, tellings }
    }

    /// The mentions inside, oldest first, each with its weight at `now`.
    pub fn inside<'a>(
        &self,
        now: Timestamp,
        told: &'a BTreeMap<Place, Told>,
    ) -> impl Iterator<Item = (f64, &'a Told)> + use<'a> {
        let half_life = self.half_life_micros;
        told.range((Excluded(Place::last_of(self.after)), Unbounded)).map(move |(place, told)| {
            let age = now.micros().saturating_sub(place.at.micros()) as f64;
            (f64::from(told.weight) * (-age / half_life).exp2(), told)
        })
    }

    /// A mention's weight, weighted score and weighted square, in the sums' unit.
    fn part(&self, at: Timestamp, told: &Told) -> [i128; 3] {
        let reference = self.epoch as f64 * EPOCH_HALF_LIVES;
        let weight = f64::from(told.weight) * (at.micros() as f64 / self.half_life_micros - reference).exp2() * SCALE;
        let score = f64::from(told.score);
        [weight as i128, (weight * score) as i128, (weight * score * score) as i128]
    }
}

impl Sums {
    fn plus(self, [weight, score, square]: [i128; 3], told: &Told) -> Self {
        Self {
            weight: self.weight.saturating_add(weight),
            score: self.score.saturating_add(score),
            square: self.square.saturating_add(square),
            mentions: self.mentions.saturating_add(1),
            novelty: self.novelty.saturating_add(u64::from(told.novelty)),
        }
    }

    fn less(self, [weight, score, square]: [i128; 3], told: &Told) -> Self {
        Self {
            weight: self.weight.saturating_sub(weight),
            score: self.score.saturating_sub(score),
            square: self.square.saturating_sub(square),
            mentions: self.mentions.saturating_sub(1),
            novelty: self.novelty.saturating_sub(u64::from(told.novelty)),
        }
    }
}

/// Four decimals: finer than the model's calibration, and short on the wire. No negative zero.
fn rounded(value: f64) -> f32 {
    ((value * 10_000.0).round() / 10_000.0 + 0.0) as f32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Mention, MentionRecord, Origin, Sketch, Subject};
    use crate::window::{Book, Limits};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_micros(1_772_458_200_000_000 + (seconds * 1e6) as i64)
    }

    fn mention(number: usize, score: f32, relevance: f32) -> Mention {
        let origin = Origin { topic: "posts".into(), partition: 0, offset: 0 };
        let told = MentionRecord::Mention(Mention {
            id: String::new(),
            post_id: format!("post-{number}").into(),
            revision: at(0.0),
            subject: Subject::market(),
            score,
            label: Some("neutral".into()),
            confidence: 1.0,
            relevance,
            published_at: at(0.0),
            source: "wire".into(),
            kind: "news".into(),
            excerpt: "".into(),
            url: None,
            sketch: Sketch(0),
            origin,
            traceparent: None,
        });
        let MentionRecord::Mention(told) = told else { unreachable!() };
        told
    }

    fn book(over: Duration, half_life: Duration) -> Book {
        let limits = Limits { keep: HOUR, memory: HOUR, mentions_max: 1_000 };
        Book::new(limits, vec![Window::new(over, half_life)], None)
    }

    proptest! {
        /// Against the textbook formula, at any moment, whatever came and went before.
        #[test]
        fn a_reading_is_the_weighted_mean_of_what_is_inside(
            told in prop::collection::vec((0.0..200.0_f64, -1.0..1.0_f32, 0.05..1.0_f32), 1..60),
            half_life in 5..300_u64,
        ) {
            let (over, half_life) = (Duration::from_secs(60), Duration::from_secs(half_life));
            let mut told = told;
            told.sort_by(|one, other| one.0.total_cmp(&other.0));
            let mut book = book(over, half_life);
            for (number, (seconds, score, relevance)) in told.iter().enumerate() {
                let now = at(*seconds);
                book.advance(now);
                book.tell(mention(number, *score, *relevance), now, i64::try_from(number).unwrap(), now);
                let (mut weights, mut sum, mut inside) = (0.0, 0.0, 0);
                for (came, score, relevance) in &told[..=number] {
                    let age = now.micros() - at(*came).micros();
                    if age < 60_000_000 {
                        let weight = f64::from(*relevance) * (-(age as f64) / 1e6 / half_life.as_secs_f64()).exp2();
                        weights += weight;
                        sum += weight * f64::from(*score);
                        inside += 1;
                    }
                }
                let reading = book.reading(0);
                prop_assert_eq!(reading.mentions, inside);
                prop_assert!((f64::from(reading.value.unwrap()) - sum / weights).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn nothing_that_left_leaves_a_trace() {
        let (mut long, mut fresh) = (book(HOUR, HOUR / 8), book(HOUR, HOUR / 8));
        for number in 0..3_000_usize {
            let now = at(number as f64 * 10.0);
            let told = mention(number, (number % 21) as f32 / 10.0 - 1.0, 0.1 + (number % 9) as f32 / 10.0);
            long.advance(now);
            long.tell(told.clone(), now, i64::try_from(number).unwrap(), now);
            if number > 2_500 {
                fresh.advance(now);
                fresh.tell(told, now, i64::try_from(number).unwrap(), now);
            }
        }
        assert_eq!(long.reading(0), fresh.reading(0));
        assert!(long.reading(0).mentions > 300);
        long.advance(at(40_000.0));
        assert_eq!(long.reading(0), Reading::default());
        assert!(long.is_empty());
    }
}
