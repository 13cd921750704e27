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
use crate::window::{Place, Told};

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
    /// Mentions with a label.
    pub labelled: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    weight: i128,
    score: i128,
    square: i128,
    mentions: u32,
    labelled: u32,
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
        oldest.map(|(place, _)| place.at.plus(self.over))
    }

    /// What it shows.
    #[must_use]
    pub fn reading(&self) -> Reading {
        let Sums { weight, score, square, mentions, labelled } = self.sums;
        if weight <= 0 {
            return Reading { mentions, labelled, ..Reading::default() };
        }
        let mean = (score as f64 / weight as f64).clamp(-1.0, 1.0);
        let variance = (square as f64 / weight as f64 - mean * mean).clamp(0.0, 1.0);
        Reading { value: Some(rounded(mean)), dispersion: Some(rounded(variance.sqrt())), mentions, labelled }
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
            labelled: self.labelled.saturating_add(u32::from(told.labelled)),
        }
    }

    fn less(self, [weight, score, square]: [i128; 3], told: &Told) -> Self {
        Self {
            weight: self.weight.saturating_sub(weight),
            score: self.score.saturating_sub(score),
            square: self.square.saturating_sub(square),
            mentions: self.mentions.saturating_sub(1),
            labelled: self.labelled.saturating_sub(u32::from(told.labelled)),
        }
    }
}

/// Four decimals: finer than the model's calibration, and short on the wire. No negative zero.
fn rounded(value: f64) -> f32 {
    ((value * 10_000.0).round() / 10_000.0 + 0.0) as f32
}
