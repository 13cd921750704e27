//! Sketches listed so that those which may be alike are found without a look at the others.
//!
//! A sketch is 16 bytes of two parts each. Two sketches that differ in at most 12 of 32 parts share at least four bytes.
//! Of any four of 16 bytes, in three groups, two stand in one group: so they share a pair of bytes within a group, and
//! whoever looks through the lists of all 35 such pairs misses none. A list holds about 1 / 65,536 of the sketches that
//! have nothing in common.

use std::collections::VecDeque;

const BYTES: usize = 16;
/// The bytes of each group.
const GROUPS: [u16; 3] = [0b0000_0000_0011_1111, 0b0000_0111_1100_0000, 0b1111_1000_0000_0000];
const PAIRS: [(u8, u8); Pairs::COUNT] = pairs();
/// The lists are spread anew when there are so many sketches for each.
const CROWD: usize = 1;
const BITS_MIN: u32 = 7;
/// A pair has 16 bits.
const BITS_MAX: u32 = 16;

/// The lists: chains from the newest sketch to the oldest, one for each pair and (hashed) value.
#[derive(Debug)]
pub(super) struct Pairs {
    /// Links are numbers above this; 0 is the end.
    base: u64,
    /// Lists a pair, as a power of two.
    bits: u32,
    heads: Vec<u32>,
    /// The number of the first of `sketches` and `links`.
    first: u64,
    /// Close together: a look that finds nothing alike, as most do, touches little memory.
    sketches: VecDeque<u128>,
    /// For each sketch and pair the one before it.
    links: VecDeque<[u32; Self::COUNT]>,
}

/// One sketch of each list that goes on. All are fetched before the first is looked at: the processor waits for many at
/// once so, not for one after the other.
struct Layer {
    count: usize,
    links: [(u8, u32); Pairs::COUNT],
    sketches: [u128; Pairs::COUNT],
}

impl Default for Layer {
    fn default() -> Self {
        Self { count: 0, links: [(0, 0); Pairs::COUNT], sketches: [0; Pairs::COUNT] }
    }
}

impl Layer {
    /// Takes these links with their pairs, but for those that lead nowhere.
    fn fill(&mut self, pairs: &Pairs, links: impl Iterator<Item = (u8, u32)>) {
        self.count = 0;
        for (pair, link) in links {
            if let Some(free) = self.links.get_mut(self.count) {
                *free = (pair, link);
            }
            // Without a branch: whether a list goes on cannot be foreseen.
            self.count += usize::from(pairs.place(link) < pairs.links.len());
        }
        for ((_, link), sketch) in self.links.iter().take(self.count).zip(&mut self.sketches) {
            *sketch = pairs.sketches.get(pairs.place(*link)).copied().unwrap_or_default();
        }
    }
}

impl Pairs {
    /// Pairs of bytes within a group.
    pub(super) const COUNT: usize = 35;
    /// In how many parts two sketches may differ so that they share a pair for certain.
    pub(super) const PARTS_APART_MAX: u32 = 12;

    /// Lists of these sketches, numbered on from `first`.
    pub(super) fn of(first: u64, sketches: impl ExactSizeIterator<Item = u128>) -> Self {
        let wanted = (2 * sketches.len()).div_ceil(CROWD).next_power_of_two().trailing_zeros();
        let bits = wanted.clamp(BITS_MIN, BITS_MAX);
        let heads = vec![0; Self::COUNT << bits];
        let (listed, links) = (VecDeque::with_capacity(sketches.len()), VecDeque::with_capacity(sketches.len()));
        let mut pairs = Self { base: first, bits, heads, first, sketches: listed, links };
        for (number, sketch) in (first..).zip(sketches) {
            pairs.link(number, sketch);
        }
        pairs
    }

    /// Lists one more, whose number follows the last. False when the lists are too crowded for it: make them anew.
    pub(super) fn push(&mut self, number: u64, sketch: u128) -> bool {
        let crowded = self.links.len() >= CROWD << self.bits && self.bits < BITS_MAX;
        let room = !crowded && number - self.base < u64::from(u32::MAX);
        if room {
            self.link(number, sketch);
        }
        room
    }

    /// Forgets those with lower numbers.
    pub(super) fn forget_before(&mut self, number: u64) {
        while self.first < number && self.links.pop_front().is_some() {
            self.sketches.pop_front();
            self.first += 1;
        }
    }

    /// The numbers and sketches of all, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = (u64, u128)> {
        let end = self.first + self.sketches.len() as u64;
        (self.first..end).rev().zip(self.sketches.iter().rev().copied())
    }

    /// The numbers and sketches of those that share a pair, and of a few others, with that pair: first the newest of
    /// each list, then those before them.
    pub(super) fn like(&self, sketch: u128) -> impl Iterator<Item = (usize, u64, u128)> {
        let heads = (0..Self::COUNT).map(|pair| self.heads.get(self.list_of(sketch, pair)).copied().unwrap_or(0));
        let mut layer = Layer::default();
        layer.fill(self, (0..).zip(heads));
        let mut next = 0;
        std::iter::from_fn(move || {
            if next >= layer.count {
                next = 0;
                let open = layer.links;
                let befores = open.into_iter().take(layer.count);
                layer.fill(self, befores.map(|(pair, link)| (pair, self.before(pair, link))));
            }
            let ((pair, link), other) = (layer.links.get(..layer.count)?.get(next)?, layer.sketches.get(next)?);
            next += 1;
            Some((usize::from(*pair), self.base + u64::from(*link) - 1, *other))
        })
    }

    /// Where a link leads to; beyond all places when that one is forgotten, or nothing.
    fn place(&self, link: u32) -> usize {
        let number = (self.base + u64::from(link)).wrapping_sub(1);
        usize::try_from(number.wrapping_sub(self.first)).unwrap_or(usize::MAX)
    }

    /// The link before a link of that pair; 0 at the end.
    fn before(&self, pair: u8, link: u32) -> u32 {
        let links = self.links.get(self.place(link));
        links.and_then(|links| links.get(usize::from(pair))).copied().unwrap_or(0)
    }

    /// The first pair of which both bytes are in this set.
    pub(super) fn first_shared(bytes: u16) -> Option<usize> {
        let group = GROUPS.iter().map(|group| group & bytes).find(|shared| shared.count_ones() >= 2)?;
        let one = group.trailing_zeros();
        let other = (group & (group - 1)).trailing_zeros();
        PAIRS.iter().position(|(a, b)| (u32::from(*a), u32::from(*b)) == (one, other))
    }

    fn link(&mut self, number: u64, sketch: u128) {
        let own = u32::try_from(number - self.base).unwrap_or(u32::MAX - 1) + 1;
        let mut links = [0; Self::COUNT];
        for (pair, before) in links.iter_mut().enumerate() {
            let list = self.list_of(sketch, pair);
            if let Some(head) = self.heads.get_mut(list) {
                *before = std::mem::replace(head, own);
            }
        }
        self.links.push_back(links);
        self.sketches.push_back(sketch);
    }

    fn list_of(&self, sketch: u128, pair: usize) -> usize {
        let (one, other) = PAIRS.get(pair).copied().unwrap_or_default();
        let byte = |number: u8| (sketch >> (8 * u32::from(number))) as u32 & 0xff;
        let value = (byte(one) << 8) | byte(other);
        // The high bits of a product with the golden ratio depend on all of the value (Knuth).
        let spread = value.wrapping_mul(0x9e37_79b1) >> (32 - self.bits);
        (pair << self.bits) + spread as usize
    }
}

/// Which of the 16 bytes are zero.
pub(super) fn zero_bytes(different: u128) -> u16 {
    let byte = |set, (number, byte): (usize, u8)| set | (u16::from(byte == 0) << number);
    different.to_le_bytes().into_iter().enumerate().fold(0, byte)
}

/// All pairs within a group, the lower byte first, in order.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it")]
const fn pairs() -> [(u8, u8); Pairs::COUNT] {
    let mut pairs = [(0, 0); Pairs::COUNT];
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut one = 0;
        while one < BYTES {
            let mut other = one + 1;
            while other < BYTES {
                if (GROUPS[group] >> one) & (GROUPS[group] >> other) & 1 == 1 {
                    pairs[count] = (one as u8, other as u8);
                    count += 1;
                }
                other += 1;
            }
            one += 1;
        }
        group += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn any_four_bytes_hold_a_pair_and_the_first_one_is_found() {
        for bytes in 0..=u16::MAX {
            let held = |(one, other): &(u8, u8)| (bytes >> one) & (bytes >> other) & 1 == 1;
            assert_eq!(Pairs::first_shared(bytes), PAIRS.iter().position(held), "{bytes:b}");
            assert!(bytes.count_ones() < 4 || Pairs::first_shared(bytes).is_some(), "{bytes:b}");
        }
    }

    #[test]
    fn zero_bytes_are_found() {
        assert_eq!(zero_bytes(0), u16::MAX);
        assert_eq!(zero_bytes(u128::MAX), 0);
        assert_eq!(zero_bytes(0xff00_01ff), 0b1111_1111_1111_0100);
    }

    #[test]
    fn crowded_lists_ask_to_be_made_anew_and_then_hold_more() {
        let mut pairs = Pairs::of(5, [1].into_iter());
        let mut number = 6;
        while pairs.push(number, u128::from(number)) {
            number += 1;
        }
        assert_eq!(pairs.links.len(), CROWD << BITS_MIN);
        let all: Vec<u128> = (5..=number).map(u128::from).collect();
        let mut pairs = Pairs::of(5, all.into_iter());
        assert!(pairs.push(number + 1, 7));
        assert!(pairs.like(7).any(|found| found == (0, number + 1, 7)));
        pairs.forget_before(number + 2);
        assert_eq!(pairs.like(7).count(), 0);
    }
}
