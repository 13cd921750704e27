//! How often a story has been told before: near-copies among the sketches of a subject.
//!
//! A sketch is 32 parts of four bits; two texts are near-copies when enough parts are equal. Up to a few hundred
//! sketches are compared one by one. Beyond that they are also listed by their bytes: two sketches that differ in at
//! most `d` parts differ in at most `d` of 16 bytes, so they share one of any `d + 1` bytes, and looking there misses
//! none.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::Sketch;
use crate::time::Timestamp;

const PARTS: u32 = 32;
const BYTES: u32 = 16;
/// From this many sketches on they are listed by bytes. (The lists of a subject take about 100 KiB.)
const LISTED_FROM: usize = 256;
/// More copies than this are not counted: the novelty is a hundredth by then.
const COPIES_MAX: u32 = 99;
/// Sketches looked at in one count, newest first; a bound for subjects full of texts made from one template.
const LOOKS_MAX: u32 = 8_192;

/// The sketches of one subject.
#[derive(Debug)]
pub struct Copies {
    parts_min: u32,
    within: Duration,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// By byte and its value, oldest first.
    lists: Option<Vec<VecDeque<u32>>>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    sketch: u128,
    at: Timestamp,
    live: bool,
}

impl Copies {
    /// Nothing told yet. Near-copies have at least the share `near_copy` of their parts in common and are at most
    /// `within` of log time apart.
    #[must_use]
    pub fn new(near_copy: f32, within: Duration) -> Self {
        Self { parts_min: parts_min(near_copy), within, slots: Vec::new(), free: Vec::new(), lists: None }
    }

    /// How many near-copies of `sketch` came in the time before `now`; at most 99.
    #[must_use]
    pub fn count(&self, sketch: Sketch, now: Timestamp) -> u32 {
        let since = now.minus(self.within);
        let Some(lists) = &self.lists else {
            let near =
                |slot: &&Slot| slot.live && slot.at >= since && equal_parts(slot.sketch, sketch.0) >= self.parts_min;
            let copies = self.slots.iter().filter(near).take(COPIES_MAX as usize).count();
            return u32::try_from(copies).unwrap_or(COPIES_MAX);
        };
        let (mut copies, mut looks) = (0, 0);
        for byte in 0..self.probes() {
            for slot in lists.get(list_of(sketch.0, byte)).into_iter().flatten().rev() {
                let Some(slot) = self.slots.get(*slot as usize).filter(|slot| slot.at >= since) else { break };
                looks += 1;
                let first_shared = first_equal_byte(slot.sketch ^ sketch.0) == byte;
                if first_shared && equal_parts(slot.sketch, sketch.0) >= self.parts_min {
                    copies += 1;
                }
                if copies >= COPIES_MAX || looks >= LOOKS_MAX {
                    return copies;
                }
            }
        }
        copies
    }

    /// Remembers a sketch told at `now` (never earlier than the one before); the number takes it out again.
    pub fn insert(&mut self, sketch: Sketch, now: Timestamp) -> u32 {
        let slot = Slot { sketch: sketch.0, at: now, live: true };
        let number = match self.free.pop() {
            Some(number) => number,
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        match self.slots.get_mut(number as usize) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        if self.lists.is_some() {
            self.list(number);
        } else if self.slots.len() - self.free.len() > LISTED_FROM && self.probes() <= BYTES {
            self.list_all();
        }
        number
    }

    /// Forgets a sketch.
    pub fn remove(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize).filter(|slot| slot.live) else { return };
        slot.live = false;
        let sketch = slot.sketch;
        self.free.push(number);
        let probes = self.probes();
        if let Some(lists) = &mut self.lists {
            for byte in 0..probes {
                let Some(list) = lists.get_mut(list_of(sketch, byte)) else { continue };
                if let Some(place) = list.iter().position(|listed| *listed == number) {
                    list.remove(place);
                }
            }
        }
        if self.free.len() == self.slots.len() {
            (self.slots, self.free, self.lists) = (Vec::new(), Vec::new(), None);
        }
    }

    /// How many bytes must be looked up so that none that is near is missed; over 16: compare with all.
    fn probes(&self) -> u32 {
        PARTS - self.parts_min + 1
    }

    fn list_all(&mut self) {
        self.lists = Some(vec![VecDeque::new(); 256 * self.probes() as usize]);
        let mut live: Vec<(Timestamp, u32)> =
            (0..).zip(&self.slots).filter(|(_, slot)| slot.live).map(|(number, slot)| (slot.at, number)).collect();
        live.sort_unstable();
        for (_, number) in live {
            self.list(number);
        }
    }

    fn list(&mut self, number: u32) {
        let Some(sketch) = self.slots.get(number as usize).map(|slot| slot.sketch) else { return };
        let probes = self.probes();
        let Some(lists) = &mut self.lists else { return };
        for byte in 0..probes {
            if let Some(list) = lists.get_mut(list_of(sketch, byte)) {
                list.push_back(number);
            }
        }
    }
}

/// Whether two texts are near-copies at the share `near_copy` of equal parts.
#[must_use]
pub fn alike(one: Sketch, other: Sketch, near_copy: f32) -> bool {
    equal_parts(one.0, other.0) >= parts_min(near_copy)
}

/// The least number of equal parts whose share of 32 is `near_copy` or more.
fn parts_min(near_copy: f32) -> u32 {
    (near_copy.clamp(0.0, 1.0) * PARTS as f32).ceil() as u32
}

fn equal_parts(one: u128, other: u128) -> u32 {
    let different = one ^ other;
    let folded = different | (different >> 1);
    let folded = (folded | (folded >> 2)) & 0x1111_1111_1111_1111_1111_1111_1111_1111;
    PARTS - folded.count_ones()
}

/// The number of the lowest byte that is zero in `different`; 16 when none is.
fn first_equal_byte(different: u128) -> u32 {
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    // The classic zero-byte test; its lowest hit is always a true one.
    let zero = different.wrapping_sub(ONES) & !different & (ONES << 7);
    zero.trailing_zeros() / 8
}

fn list_of(sketch: u128, byte: u32) -> usize {
    let value = (sketch >> (8 * byte)) & 0xff;
    byte as usize * 256 + value as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "tests")]
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn random(number: u64) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes())
    }

    /// A sketch that differs from `sketch` in exactly `parts` parts, chosen by `number`.
    fn changed(sketch: u128, parts: u32, number: u64) -> u128 {
        let mut places: Vec<u32> = (0..PARTS).collect();
        places.sort_by_key(|place| random(number ^ (u64::from(*place) << 32)));
        places.iter().take(parts as usize).fold(sketch, |sketch, place| sketch ^ (0x5 << (4 * place)))
    }

    #[test]
    fn likeness_counts_equal_parts() {
        for parts in 0..=PARTS {
            let other = changed(random(1), parts, 9);
            assert_eq!(equal_parts(random(1), other), PARTS - parts);
            assert_eq!(alike(Sketch(random(1)), Sketch(other), 0.6), PARTS - parts >= 20);
        }
        assert_eq!(parts_min(0.625), 20);
    }

    #[test]
    fn lists_find_every_near_copy_that_a_comparison_with_all_finds() {
        let mut copies = Copies::new(0.6, DAY);
        let mut told: Vec<(u128, u32)> = Vec::new();
        for number in 0..1_500_u64 {
            // Families of eight, with members on both sides of the bound.
            let sketch = changed(random(number / 8), (number % 8) as u32 * 2, number);
            let at = Timestamp::from_millis(i64::try_from(number).unwrap_or_default());
            let near = told.iter().filter(|(other, _)| equal_parts(*other, sketch) >= 20).count();
            assert_eq!(copies.count(Sketch(sketch), at) as usize, near, "{number}");
            told.push((sketch, copies.insert(Sketch(sketch), at)));
            if number % 3 == 0 {
                let (_, gone) = told.remove((random(number) % told.len() as u128) as usize);
                copies.remove(gone);
            }
        }
        assert!(copies.lists.is_some());
        for (_, number) in told {
            copies.remove(number);
        }
        assert!(copies.lists.is_none() && copies.slots.is_empty());
    }

    #[test]
    fn a_copy_is_forgotten_after_the_window_and_a_hundred_are_enough() {
        let mut copies = Copies::new(0.6, Duration::from_secs(10));
        for _ in 0..1_000 {
            copies.insert(Sketch(random(1)), Timestamp::from_millis(0));
        }
        assert_eq!(copies.count(Sketch(random(1)), Timestamp::from_millis(10_000)), COPIES_MAX);
        assert_eq!(copies.count(Sketch(random(1)), Timestamp::from_millis(10_001)), 0);
    }
}
