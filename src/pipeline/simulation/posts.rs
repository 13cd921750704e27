//! What comes in: posts, revisions, deletions, rubbish and labels, by seed.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::LABELS;
use crate::pipeline::dice::Dice;
use crate::stream::{Headers, Output};

/// A text that the model fails on, alone.
pub(super) const POISON: &str = "the stub was told to fail on this one";
/// What is said of it.
pub(super) const POISONED: &str = "the model failed on this text: the stub was told to fail on it";
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
/// changed its format, and mostly writes to one partition.
pub(super) fn inputs(seed: u64, count: usize, is_limited: bool) -> Vec<Output> {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let mut changed = Dice::new(seed ^ 0xbad);
    let begin = changed.below(count);
    let mut dressed = Dice::new(seed ^ 0xc10e);
    let bad = if is_limited { begin..begin + count / 3 } else { 0..0 };
    let at = (Arc::from(*changed.pick(&[super::NEWS, super::SOCIAL])), changed.below(2) as i32);
    let (one_place, share) = (changed.chance(0.7), *changed.pick(&[0.5, 0.7]));
    let mut all = Vec::new();
    for number in 0..count {
        let mut input = input(&mut dice, number);
        dress(&mut input, &mut dressed, number);
        if bad.contains(&number) {
            if one_place && &*input.topic != LABELS {
                (input.topic, input.partition) = at.clone();
            }
            if changed.chance(share) {
                input.value = Some(Bytes::from_static(BROKEN));
            }
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

/// A key and headers, as a producer has them: bytes that are no text, a name twice, nothing for a value, a trace, and
/// names that are ours.
fn dress(input: &mut Output, dice: &mut Dice, number: usize) {
    input.key = match dice.below(4) {
        0 => None,
        1 => Some(Bytes::from(vec![0xff, 0, number as u8])),
        _ => Some(Bytes::from(format!("k{}", dice.below(9)))),
    };
    let (feed, trace) = (format!("feed-{number}"), format!("00-{:032x}-{:016x}-01", number + 1, number + 1));
    let all = [
        ("app", Some(&feed[..])),
        ("empty", None),
        ("app", Some("again")),
        ("traceparent", Some(&trace[..])),
        ("ce_id", Some("theirs")),
        ("__connect.errors.stage", Some("elsewhere")),
    ];
    input.headers = all.into_iter().filter(|_| dice.chance(0.3)).collect();
}

fn label(dice: &mut Dice, number: usize) -> Output {
    let at = "2026-03-02T13:30:00Z";
    let value = if dice.chance(0.3) {
        Bytes::from_static(BROKEN)
    } else {
        let (post, label) = (format!("p{number}"), *dice.pick(&["negative", "neutral", "positive"]));
        let who = *dice.pick(&["ann", "kim"]);
        let label = json!({"post_id": post, "task": "sentiment", "label": label, "annotator": who, "at": at});
        Bytes::from(label.to_string())
    };
    Output { topic: Arc::from(LABELS), partition: 0, key: None, value: Some(value), headers: Headers::new() }
}
