//! What comes in: posts, revisions, deletions, rubbish and labels, by seed.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::LABELS;
use crate::pipeline::dice::Dice;
use crate::stream::{Headers, Output};

/// A text that the model fails on, alone.
pub(super) const POISON: &str = "the stub was told to fail on this one";
/// What nothing can read, be it a post or a label.
pub(super) const BROKEN: &[u8] = b"{not json";

const NEWS: [&str; 6] = [
    "beats on record profit, a strong quarter",
    "plunges on weak revenue and a lawsuit",
    "cuts guidance, losses grow",
    "wins the bid, a merger is near",
    "opens an office",
    "recall and fraud probe, a downgrade",
];
const TICKERS: [&str; 5] = ["$AAA", "$BBB", "$CCC", "$DDD", "no one"];

/// So many inputs, for topics with two partitions. Where a limit is to be met, a stretch of them is of a producer that
/// changed its format.
pub(super) fn inputs(seed: u64, count: usize, is_limited: bool) -> Vec<Output> {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let mut changed = Dice::new(seed ^ 0xbad);
    let begin = changed.below(count);
    let bad = if is_limited { begin..begin + count / 3 } else { 0..0 };
    let mut all = Vec::new();
    for number in 0..count {
        let mut input = input(&mut dice, number);
        if bad.contains(&number) && changed.chance(0.7) {
            input.value = Some(Bytes::from_static(BROKEN));
        }
        all.push(input);
    }
    all
}

fn input(dice: &mut Dice, number: usize) -> Output {
    if dice.chance(0.08) {
        return label(dice, number);
    }
    let topic = if dice.chance(0.3) { "posts.social" } else { "posts.news" };
    let partition = dice.below(2) as i32;
    let (who, what) = (*dice.pick(&TICKERS), *dice.pick(&NEWS));
    // A story that is told for a while makes rules hold.
    let mood = NEWS[(number / 25) % NEWS.len()];
    let text = format!("{who} and {} {}", TICKERS[number / 30 % 3], if dice.chance(0.7) { mood } else { what });
    let known = format!("p{}", dice.below(number.max(1)));
    let value = match dice.below(24) {
        0 => Bytes::from_static(BROKEN),
        1 => Bytes::from(json!({"id": format!("p{number}")}).to_string()),
        2 => Bytes::from(json!({"id": format!("p{number}"), "text": POISON}).to_string()),
        3 | 4 => Bytes::from(json!({"id": known, "action": "deleted"}).to_string()),
        5..8 => Bytes::from(json!({"id": known, "text": text, "action": "updated"}).to_string()),
        8 => Bytes::from(json!({"id": known, "text": text}).to_string()),
        _ => Bytes::from(json!({"id": format!("p{number}"), "text": text}).to_string()),
    };
    Output { topic: Arc::from(topic), partition, key: None, value: Some(value), headers: Headers::new() }
}

fn label(dice: &mut Dice, number: usize) -> Output {
    let at = "2026-03-02T13:30:00Z";
    let value = if dice.chance(0.3) {
        Bytes::from_static(BROKEN)
    } else {
        let (post, label) = (format!("p{number}"), "negative");
        let label = json!({"post_id": post, "task": "sentiment", "label": label, "annotator": "ann", "at": at});
        Bytes::from(label.to_string())
    };
    Output { topic: Arc::from(LABELS), partition: 0, key: None, value: Some(value), headers: Headers::new() }
}
