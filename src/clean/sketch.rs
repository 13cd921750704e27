//! A sketch of a text: 16 bytes from which one sees how alike two texts are.
//!
//! b-bit minhash (Li and König, 2010): each of 32 hash functions keeps four bits of its smallest value over the shingles
//! of the text. Two unrelated texts agree in 1 part of 16 by chance. Sketches are compared across hosts and days, so
//! the constants here are part of the wire format.

use std::str::Chars;

use xxhash_rust::xxh3::xxh3_64;

use crate::event::Sketch;

/// Parts of a sketch.
const PARTS: u32 = 32;

/// Odd constants of the finaliser of MurmurHash3 (Appleby), here a step of every hash function.
const MIX_A: u64 = 0xff51_afd7_ed55_8ccd;
const MIX_B: u64 = 0xc4ce_b9fe_1a85_ec53;

/// The sketch of a cleaned text over its words and its pairs of neighbouring words, lower-cased, without marks and user
/// names; in Han and Kana each character is a word. Words alone would call every rearrangement a copy, pairs alone make
/// strangers of short texts that differ in a word. An empty text has the sketch 0.
#[must_use]
pub fn sketch(cleaned: &str) -> Sketch {
    let lower = cleaned.to_lowercase();
    let words: Vec<u64> = Words { chars: lower.chars() }.map(|word| xxh3_64(word.as_bytes())).collect();
    if words.is_empty() {
        return Sketch::default();
    }
    let mut minima = [u64::MAX; PARTS as usize];
    let mut take = |shingle: u64| {
        let mut seed = 0_u64;
        for smallest in &mut minima {
            seed = seed.wrapping_add(MIX_B);
            let value = mix(shingle ^ seed);
            *smallest = (*smallest).min(value);
        }
    };
    words.iter().for_each(|word| take(*word));
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs.for_each(|(left, right)| take(left.rotate_left(23).wrapping_mul(MIX_A) ^ right));
    Sketch(minima.iter().fold(0_u128, |sum, smallest| (sum << 4) | u128::from(smallest & 0xf)))
}

/// The share of equal parts, 0 to 1 in steps of 1/32. The share of common shingles is about
/// `(likeness − 1/16) / (15/16)`, with a standard error of at most 0.09.
#[must_use]
pub fn likeness(a: Sketch, b: Sketch) -> f32 {
    let differing = a.0 ^ b.0;
    let equal = (0..PARTS).filter(|part| (differing >> (part * 4)) & 0xf == 0).count();
    #[expect(clippy::cast_precision_loss, reason = "0 to 32")]
    let share = equal as f32 / PARTS as f32;
    share
}

const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 33)).wrapping_mul(MIX_A);
    value ^ (value >> 33)
}

/// Runs of letters and digits, each Han or Kana character alone, user names left out.
struct Words<'a> {
    chars: Chars<'a>,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let rest = self.chars.as_str();
            let first = self.chars.next()?;
            if let Some(behind) = rest.strip_prefix("@user") {
                self.chars = behind.chars();
                continue;
            }
            if !first.is_alphanumeric() {
                continue;
            }
            let mut length = first.len_utf8();
            if !stands_alone(first) {
                let more = rest.chars().skip(1).take_while(|c| c.is_alphanumeric() && !stands_alone(*c));
                length += more.map(char::len_utf8).sum::<usize>();
            }
            let (word, behind) = rest.split_at(length);
            self.chars = behind.chars();
            return Some(word);
        }
    }
}

/// Scripts that are written without spaces: Kana, CJK ideographs with extensions and compatibility forms.
const fn stands_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clean::clean;

    fn alike(a: &str, b: &str) -> f32 {
        likeness(sketch(&clean(a)), sketch(&clean(b)))
    }

    const STORY: &str = "Brightwater Foods recalls two million jars of sauce after a supplier found glass, shares fall 8% before the open";

    #[test]
    fn near_copies_are_alike() {
        let copies = [
            "RT @newsdesk: Brightwater Foods recalls two million jars of sauce after a supplier found glass, shares fall 8% before the open",
            "Brightwater Foods recalls two million jars of sauce after a supplier found glass, shares fall 8% before the open https://t.co/x1",
            "BRIGHTWATER FOODS recalls two million jars of sauce, after a supplier found glass; shares fall 8% before the open",
            "Brightwater Foods recalls two million jars of sauce after a supplier found glass, shares drop 8% before the open",
        ];
        for copy in copies {
            assert!(alike(STORY, copy) >= 0.7, "{} {copy}", alike(STORY, copy));
        }
    }

    #[test]
    fn other_stories_are_not_alike() {
        let others = [
            "Brightwater Foods names a new chief executive",
            "Oak & Sons lifts its dividend for the tenth year in a row, shares rise 2% in early trading",
            "Shares fall before the open as rate fears return to markets across Europe and Asia",
            "",
        ];
        for other in others {
            assert!(alike(STORY, other) < 0.35, "{} {other}", alike(STORY, other));
        }
    }

    #[test]
    fn short_and_unspaced_texts_have_sketches_too() {
        assert!(alike("Brightwater beats estimates again", "Brightwater beats estimates, again!") > 0.99);
        assert!(alike("Brightwater beats estimates again", "Oak cuts outlook") < 0.4);
        let (a, b) =
            ("公司第三季度净利润同比增长百分之二十，股价上涨", "公司第三季度净利润同比增长百分之二十，股价大涨");
        assert!(alike(a, b) >= 0.6, "{}", alike(a, b));
        assert_eq!(sketch("— !"), Sketch(0));
    }

    /// A change here changes the wire format: sketches of yesterday no longer match.
    #[test]
    fn the_sketch_of_a_text_is_fixed_for_good() {
        insta::assert_snapshot!(sketch(STORY).to_string(), @"5c5ef48c0773074713ccfc32b39e5332");
    }

    /// 200 pairs of texts without a common word, against the chance of 1 in 16.
    #[test]
    fn unrelated_texts_agree_by_chance_only() {
        let text = |from: u32| (from..from + 12).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
        let total: f32 = (0..200).map(|n| likeness(sketch(&text(n * 24)), sketch(&text(n * 24 + 12)))).sum();
        let mean = total / 200.0;
        assert!((0.05..0.08).contains(&mean), "{mean}");
    }

    /// 12 of 36 words changed at one end: 24 of 48 words and 23 of 47 pairs are common.
    #[test]
    fn likeness_estimates_the_share_of_common_shingles() {
        let total: f32 = (0..200)
            .map(|n: u32| {
                let text =
                    |range: std::ops::Range<u32>| range.map(|w| format!("w{n}x{w}")).collect::<Vec<_>>().join(" ");
                likeness(sketch(&text(0..36)), sketch(&text(12..48)))
            })
            .sum();
        let expected = 47.0 / 95.0 * 15.0 / 16.0 + 1.0 / 16.0;
        assert!((total / 200.0 - expected).abs() < 0.02, "{}", total / 200.0);
    }

    proptest! {
        #[test]
        fn a_text_is_like_itself_and_likeness_has_no_sides(a in any::<String>(), b in any::<String>()) {
            let (x, y) = (sketch(&a), sketch(&b));
            prop_assert!(likeness(x, x) > 0.99);
            prop_assert!((likeness(x, y) - likeness(y, x)).abs() < f32::EPSILON);
        }
    }
}
