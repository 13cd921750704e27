//! Dice for tests: the same throws for the same seed, everywhere and for ever (Splitmix64).

/// The dice.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Dice(u64);

impl Dice {
    pub(in crate::pipeline) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::pipeline) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `count` - 1.
    pub(in crate::pipeline) const fn below(&mut self, count: usize) -> usize {
        (self.roll() % count as u64) as usize
    }

    /// A number in [0, 1).
    pub(in crate::pipeline) const fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(in crate::pipeline) fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// One of them; there must be one.
    pub(in crate::pipeline) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
