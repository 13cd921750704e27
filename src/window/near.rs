//! The near-copies of a text among many that came before it, all of them: for data sets, where no window slides.

use std::collections::HashMap;

use crate::event::Sketch;
use crate::window::copies::{PARTS, equal_parts, parts_min};
use crate::window::pairs::Pairs;

/// Texts are compared one by one until there are so many different ones.
const LISTED_FROM: usize = 256;

/// The texts so far, by their sketches; a text's place is how many came before it.
#[derive(Debug)]
pub struct NearCopies {
    parts_min: u32,
    count: usize,
    /// Where each sketch stood first.
    places: HashMap<u128, usize>,
    /// The different sketches, in order, with their places.
    different: Vec<(u128, usize)>,
    pairs: Option<Pairs>,
}

impl NearCopies {
    /// No text yet. Near-copies have at least the share `near_copy` of their parts in common.
    #[must_use]
    pub fn new(near_copy: f32) -> Self {
        let (places, different) = (HashMap::new(), Vec::new());
        Self { parts_min: parts_min(near_copy), count: 0, places, different, pairs: None }
    }

    /// Takes the next text. Returns the places of its near-copies before it, in no order; of those with the same sketch
    /// only the first, and where there is one of its own, that one alone.
    ///
    /// Some microseconds for each hundred thousand texts before it (tweets; more where all use the same few words). Below a `near_copy` of 0.6 every text is compared.
    pub fn add(&mut self, sketch: Sketch) -> Vec<usize> {
        let place = self.count;
        self.count += 1;
        if let Some(first) = self.places.get(&sketch.0) {
            return vec![*first];
        }
        let is_near = |other: u128| equal_parts(sketch.0, other) >= self.parts_min;
        let near = match &self.pairs {
            None => self.different.iter().filter(|(other, _)| is_near(*other)).map(|(_, place)| *place).collect(),
            Some(pairs) => {
                let near = pairs.like(sketch.0).filter(|(_, _, other)| is_near(*other));
                let mut near: Vec<usize> = near.filter_map(|(_, _, other)| self.places.get(&other).copied()).collect();
                // It is met again in each pair that it shares.
                near.sort_unstable();
                near.dedup();
                near
            }
        };
        self.list(sketch.0, place);
        near
    }

    fn list(&mut self, sketch: u128, place: usize) {
        let number = self.different.len() as u64;
        self.places.insert(sketch, place);
        self.different.push((sketch, place));
        let is_listed = self.pairs.as_mut().is_some_and(|pairs| pairs.push(number, sketch));
        let can_be = PARTS - self.parts_min.min(PARTS) <= Pairs::PARTS_APART_MAX;
        if !is_listed && can_be && self.different.len() > LISTED_FROM {
            self.pairs = Some(Pairs::of(0, self.different.iter().map(|(sketch, _)| *sketch)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_near_copies_are_found_whether_they_are_listed_or_compared() {
        let random = |number: u64| xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes());
        // Below 0.6 nothing is listed.
        for near_copy in [0.6, 0.5] {
            let (mut near_copies, mut before) = (NearCopies::new(near_copy), Vec::<u128>::new());
            let (mut listed, mut found) = (false, 0);
            for number in 0..3_000_u64 {
                // Families of twenty that differ in up to 15 parts, and every ninth a copy to the letter.
                let parts = if number % 9 == 0 { 0 } else { number % 16 };
                let change = |sketch: u128, part: u64| sketch ^ (0x3 << (4 * ((part * 7 + number) % 32)));
                let sketch = (0..parts).fold(random(number / 20), change);
                let is_near = |other: u128| equal_parts(other, sketch) >= parts_min(near_copy);
                let first = |sketch: u128| before.iter().position(|other| *other == sketch);
                let mut expected: Vec<usize> = match first(sketch) {
                    Some(same) => vec![same],
                    None => before.iter().filter(|other| is_near(**other)).filter_map(|other| first(*other)).collect(),
                };
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(near_copies.add(Sketch(sketch)), expected, "{number} at {near_copy}");
                found += expected.len();
                listed |= near_copies.pairs.is_some();
                before.push(sketch);
            }
            assert!(found > 5_000, "{found}");
            assert_eq!(listed, near_copy >= 0.6);
        }
    }
}
