//! How often a story has been told before: near-copies among the sketches of a subject.
//!
//! A sketch is 32 parts of four bits; two texts are near-copies when enough parts are equal. Up to a few hundred
//! sketches are compared one by one. Beyond that they are also [listed](Pairs) by pairs of bytes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::event::Sketch;
use crate::time::Timestamp;
use crate::window::pairs::{Pairs, zero_bytes};

pub(super) const PARTS: u32 = 32;
/// From this many stories on they are listed by pairs.
const LISTED_FROM: usize = 256;
/// More copies than this are not counted: the novelty is a hundredth by then.
const COPIES_MAX: u32 = 99;
/// Stories looked at in one count, newest first; a bound for subjects full of texts made from one template.
const LOOKS_MAX: usize = 8_192;
/// So many of the newest stories are compared before any list is followed: where texts are made from one template each
/// story stands in nearly every list, and to follow them all meets each of the newest again and again.
const NEWEST: usize = 256;
/// A story with more near-copies than this looks for them each time.
const NEAR_MAX: usize = 16;

/// The sketches of one subject.
#[derive(Debug)]
pub struct Copies {
    parts_min: u32,
    within: Duration,
    /// The number of the first story.
    first: u64,
    /// In the order of their first telling; the first and the last have tellings.
    stories: VecDeque<Story>,
    /// Those that have tellings.
    numbers: HashMap<u128, u64>,
    pairs: Option<Pairs>,
    /// The last story of which not all near-copies were looked for: lists of before it lack it.
    unsure: u64,
}

/// Texts with the same sketch: a wire report and all who copied it.
#[derive(Debug)]
struct Story {
    sketch: u128,
    /// The oldest first; none when all have left.
    tellings: VecDeque<Timestamp>,
    /// The numbers of its near-copies (some may be over). Most of what is told was told before, to the letter, and need
    /// not be looked for again.
    near: Vec<u64>,
    /// All near-copies with lower numbers than this are in `near`, and those that were looked for since; 0 for none.
    near_before: u64,
}

/// Near-copies that were looked for.
struct Look {
    /// The numbers of the stories.
    near: Vec<u64>,
    /// Their tellings, at most [`COPIES_MAX`].
    copies: u32,
    /// Whether they are all.
    is_whole: bool,
}

impl Copies {
    /// Nothing told yet. Near-copies have at least the share `near_copy` of their parts in common and are at most
    /// `within` of log time apart.
    #[must_use]
    pub fn new(near_copy: f32, within: Duration) -> Self {
        let (stories, numbers) = (VecDeque::new(), HashMap::new());
        Self { parts_min: parts_min(near_copy), within, first: 0, stories, numbers, pairs: None, unsure: 0 }
    }

    /// Remembers a sketch told at `now` (never earlier than the one before). Returns how many near-copies of it came in
    /// the time before; at most 99.
    pub fn tell(&mut self, sketch: Sketch, now: Timestamp) -> u32 {
        let since = now.minus(self.within);
        let Some(number) = self.numbers.get(&sketch.0).copied() else {
            let look = self.look(sketch.0, since, 0);
            let copies = look.copies;
            self.begin(sketch.0, now, look);
            return copies;
        };
        let copies = self.story(number).map_or(0, |story| story.told_since(since, COPIES_MAX));
        let known = self.story(number).filter(|story| story.near_before > self.unsure);
        let (copies, look) = match known {
            _ if copies >= COPIES_MAX => (copies, None),
            Some(story) => {
                let near = story.near.iter().filter_map(|near| self.story(*near));
                (near.fold(copies, |copies, near| copies + near.told_since(since, COPIES_MAX - copies)), None)
            }
            None => {
                let look = self.look(sketch.0, since, copies);
                (look.copies, Some(look))
            }
        };
        let next = self.next();
        if let Some(story) = self.story_mut(number) {
            story.tellings.push_back(now);
            if let Some(look) = look {
                story.keep(look, next);
            }
        }
        copies
    }

    /// Looks for the other stories that are near-copies of `sketch`, until there are so many `copies` that no more count.
    fn look(&self, sketch: u128, since: Timestamp, copies: u32) -> Look {
        let is_near = |other: u128| other != sketch && equal_parts(other, sketch) >= self.parts_min;
        let mut look = Look { near: Vec::new(), copies, is_whole: true };
        let Some(pairs) = &self.pairs else {
            for (number, story) in (self.first..).zip(&self.stories).filter(|(_, story)| is_near(story.sketch)) {
                look.found(number, story, since);
            }
            return look;
        };
        let newest = pairs.newest().take(NEWEST).filter(|(_, other)| is_near(*other));
        for (number, story) in newest.filter_map(|(number, _)| Some((number, self.story(number)?))) {
            look.found(number, story, since);
            if look.is_enough() {
                look.is_whole = false;
                return look;
            }
        }
        look = Look { near: Vec::new(), copies, is_whole: true };
        for (looks, (pair, number, other)) in pairs.like(sketch).enumerate() {
            // Few are worth looking for to the end, even if no more count: they are kept.
            if looks >= LOOKS_MAX || look.is_enough() {
                look.is_whole = false;
                break;
            }
            // It is met again in each pair that it shares; the first counts.
            if is_near(other)
                && Pairs::first_shared(zero_bytes(other ^ sketch)) == Some(pair)
                && let Some(story) = self.story(number)
            {
                look.found(number, story, since);
            }
        }
        look
    }

    /// A sketch is told for the first time.
    fn begin(&mut self, sketch: u128, now: Timestamp, look: Look) {
        let number = self.next();
        for near in &look.near {
            if let Some(near) = self.story_mut(*near) {
                near.join(number);
            }
        }
        if !look.is_whole {
            self.unsure = number;
        }
        let mut story = Story { sketch, tellings: VecDeque::from([now]), near: Vec::new(), near_before: 0 };
        story.keep(look, number + 1);
        self.numbers.insert(sketch, number);
        self.stories.push_back(story);
        let room = self.pairs.as_mut().is_none_or(|pairs| pairs.push(number, sketch));
        if !room || (self.pairs.is_none() && self.stories.len() > LISTED_FROM) {
            self.tidy();
        }
    }

    /// Forgets one telling, at `told_at`, of a sketch.
    pub fn remove(&mut self, sketch: Sketch, told_at: Timestamp) {
        let Some(number) = self.numbers.get(&sketch.0).copied() else { return };
        let Some(story) = self.story_mut(number) else { return };
        let Some(place) = story.tellings.iter().position(|at| *at == told_at) else { return };
        story.tellings.remove(place);
        if !story.tellings.is_empty() {
            return;
        }
        (story.tellings, story.near, story.near_before) = (VecDeque::new(), Vec::new(), 0);
        self.numbers.remove(&sketch.0);
        while self.stories.pop_front_if(|story| story.tellings.is_empty()).is_some() {
            self.first += 1;
        }
        if let Some(pairs) = &mut self.pairs {
            pairs.forget_before(self.first);
        }
        // A story that is told for long keeps those behind it that are over.
        if self.stories.len() > 2 * self.numbers.len() + LISTED_FROM {
            self.tidy();
        }
    }

    /// Drops the stories that are over, and lists the others anew where they are many.
    fn tidy(&mut self) {
        self.stories.retain(|story| !story.tellings.is_empty());
        // They have other numbers now.
        for story in &mut self.stories {
            (story.near, story.near_before) = (Vec::new(), 0);
        }
        self.unsure = 0;
        self.numbers = (self.first..).zip(&self.stories).map(|(number, story)| (story.sketch, number)).collect();
        let listed = self.stories.len() > LISTED_FROM && PARTS - self.parts_min <= Pairs::PARTS_APART_MAX;
        self.pairs = listed.then(|| Pairs::of(self.first, self.stories.iter().map(|story| story.sketch)));
    }

    /// The number of the next story.
    fn next(&self) -> u64 {
        self.first + self.stories.len() as u64
    }

    fn story(&self, number: u64) -> Option<&Story> {
        self.stories.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn story_mut(&mut self, number: u64) -> Option<&mut Story> {
        self.stories.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

impl Look {
    /// Whether no more count, and they are too many to be kept.
    const fn is_enough(&self) -> bool {
        self.copies >= COPIES_MAX && self.near.len() > NEAR_MAX
    }

    fn found(&mut self, number: u64, story: &Story, since: Timestamp) {
        self.copies += story.told_since(since, COPIES_MAX - self.copies);
        if !story.tellings.is_empty() {
            self.near.push(number);
        }
    }
}

impl Story {
    /// Keeps what was found, if that is all and few.
    fn keep(&mut self, look: Look, next: u64) {
        let is_kept = look.is_whole && look.near.len() <= NEAR_MAX;
        (self.near, self.near_before) = if is_kept { (look.near, next) } else { (Vec::new(), 0) };
    }

    /// A near-copy has come.
    fn join(&mut self, number: u64) {
        if self.near_before > 0 && self.near.len() < NEAR_MAX {
            self.near.push(number);
        } else {
            (self.near, self.near_before) = (Vec::new(), 0);
        }
    }

    fn told_since(&self, since: Timestamp, most: u32) -> u32 {
        let tellings = self.tellings.iter().rev().take_while(|at| **at >= since).take(most as usize);
        u32::try_from(tellings.count()).unwrap_or(most)
    }
}

/// Whether two texts are near-copies at the share `near_copy` of equal parts.
#[must_use]
pub fn alike(one: Sketch, other: Sketch, near_copy: f32) -> bool {
    equal_parts(one.0, other.0) >= parts_min(near_copy)
}

/// The least number of equal parts whose share of 32 is `near_copy` or more.
pub(super) fn parts_min(near_copy: f32) -> u32 {
    (near_copy.clamp(0.0, 1.0) * PARTS as f32).ceil() as u32
}

pub(super) fn equal_parts(one: u128, other: u128) -> u32 {
    let different = one ^ other;
    let folded = different | (different >> 1);
    let folded = (folded | (folded >> 2)) & 0x1111_1111_1111_1111_1111_1111_1111_1111;
    PARTS - folded.count_ones()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "tests")]
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn random(number: u64) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes())
    }

    /// A sketch that differs from `sketch` in exactly `parts` parts; which and how, `number` says.
    fn changed(sketch: u128, parts: u32, number: u64) -> u128 {
        let mut places: Vec<u32> = (0..PARTS).collect();
        places.sort_by_key(|place| random(number ^ (u64::from(*place) << 32)));
        let other = 1 + u128::from(number % 15);
        places.iter().take(parts as usize).fold(sketch, |sketch, place| sketch ^ (other << (4 * place)))
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
        let mut told: Vec<(u128, Timestamp)> = Vec::new();
        for number in 0..3_000_u64 {
            // Families of eight, with members on both sides of the bound; every fifth is the first of its family again.
            let member = if number % 5 == 0 { 0 } else { number % 8 };
            let sketch = changed(random(number / 8), member as u32 * 2, number - number % 8 + member);
            let at = Timestamp::from_millis(i64::try_from(number).unwrap_or_default());
            let near = told.iter().filter(|(other, _)| equal_parts(*other, sketch) >= 20).count();
            assert_eq!(copies.tell(Sketch(sketch), at) as usize, near, "{number}");
            told.push((sketch, at));
            if number % 3 == 0 {
                let (gone, at) = told.remove((random(number) % told.len() as u128) as usize);
                copies.remove(Sketch(gone), at);
            }
        }
        assert!(copies.pairs.is_some());
        for (gone, at) in told {
            copies.remove(Sketch(gone), at);
        }
        assert!(copies.stories.is_empty() && copies.numbers.is_empty());
    }

    #[test]
    fn what_is_told_again_is_counted_as_if_it_were_looked_for_again() {
        // Families of three, of thirty (more than a story keeps) and one of many hundreds (more than are counted); and a
        // star, of which the middle is like all others, and they like hardly any.
        let sketch = |family: u64, member: u64| changed(random(family), (member % 9) as u32, member);
        let star = |member: u64| changed(random(9_998), if member == 0 { 0 } else { 12 }, member);
        let mut copies = Copies::new(0.6, DAY);
        let mut told: VecDeque<(u128, Timestamp)> = VecDeque::new();
        let (mut again, mut full, mut middle) = (0, 0, 0);
        for number in 0..20_000_u64 {
            let chance = |salt: u64, below: u64| (random(number ^ (salt << 40)) % u128::from(below)) as u64;
            let sketch = match chance(1, 12) {
                0 => sketch(9_999, chance(2, 700)),
                1..3 => star(if chance(2, 400) == 0 { 0 } else { 1 + chance(3, 250) }),
                3..6 => sketch(chance(2, 20), chance(3, 30)),
                _ => sketch(1_000 + chance(2, 300), chance(3, 3)),
            };
            let at = Timestamp::from_millis(i64::try_from(number).unwrap_or_default());
            let near = told.iter().filter(|(other, _)| equal_parts(*other, sketch) >= 20).count().min(99);
            again += u32::from(told.iter().any(|(other, _)| *other == sketch));
            full += u32::from(near == 99);
            middle += u32::from(sketch == star(0) && near == 99);
            assert_eq!(copies.tell(Sketch(sketch), at) as usize, near, "{number}");
            told.push_back((sketch, at));
            // Of late more leaves than comes, until hardly anything is left.
            let leaving = (number >= 2_000).then_some(if number < 18_000 { 1 } else { 2 });
            for _ in 0..leaving.unwrap_or(0) {
                let gone = if chance(4, 5) == 0 { chance(5, told.len() as u64) as usize } else { 0 };
                let Some((gone, at)) = told.remove(gone) else { continue };
                copies.remove(Sketch(gone), at);
            }
        }
        let enough = again > 2_000 && full > 200 && middle > 2;
        assert!(enough, "too little happens to prove anything: {again}, {full}, {middle}");
    }

    #[test]
    fn a_story_that_is_told_for_ever_does_not_keep_the_others() {
        let mut copies = Copies::new(0.6, DAY);
        let at = |number: u64| Timestamp::from_millis(i64::try_from(number).unwrap_or_default());
        copies.tell(Sketch(7), at(0));
        for number in 1..20_000 {
            assert_eq!(copies.tell(Sketch(7), at(number)), 1);
            copies.remove(Sketch(7), at(number - 1));
            copies.tell(Sketch(random(number)), at(number));
            if number > 100 {
                copies.remove(Sketch(random(number - 100)), at(number - 100));
            }
            assert!(copies.stories.len() <= 2 * 102 + LISTED_FROM, "{}", copies.stories.len());
        }
    }

    #[test]
    fn a_copy_is_forgotten_after_the_window_and_a_hundred_are_enough() {
        let mut copies = Copies::new(0.6, Duration::from_secs(10));
        for _ in 0..1_000 {
            copies.tell(Sketch(random(1)), Timestamp::from_millis(0));
        }
        assert_eq!(copies.tell(Sketch(random(1)), Timestamp::from_millis(10_000)), COPIES_MAX);
        assert_eq!(copies.tell(Sketch(random(1)), Timestamp::from_millis(10_001)), 1, "the last alone");
    }
}
