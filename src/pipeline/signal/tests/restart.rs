//! The promise of the room: a log is cut at every point, the state rebuilt from the look-back and the alerts, and what
//! comes out is what would have come out.

use std::ops::Range;
use std::sync::Arc;

use super::log::{Log, alerts, at, mention, retraction, rule, seconds, settings, trace};
use crate::event::{Alert, AlertState, MentionRecord, Origin, Sketch, Tick};
use crate::pipeline::dice::Dice;
use crate::pipeline::signal::{Finding, PartitionState, SignalSettings};
use crate::rule::Bound;
use crate::time::Timestamp;

const SUBJECTS: [&str; 5] = ["XNAS:AAA", "XNAS:BBB", "XNYS:CCC", "topic:earnings", "market"];

/// A log with everything in it: moods that turn, copies, repeats, revisions in any order, retractions before and after
/// what they take back, late mentions, abstentions, silences, and stretches without ticks.
fn any_log(seed: u64, length: usize) -> Log {
    let mut dice = Dice::new(seed);
    let mut log = Log::default();
    let mut posts: Vec<(String, Timestamp, Timestamp)> = Vec::new();
    let (mut clock, mut mood, mut ticking) = (0.0, -0.5, true);
    while log.records.len() < length {
        clock += match dice.below(60) {
            0 => 70.0 + 200.0 * dice.share(),
            1 => 20.0 + 40.0 * dice.share(),
            2..20 => 0.0,
            _ => 6.0 * dice.share(),
        };
        if dice.chance(0.05) {
            mood = dice.share() * 2.0 - 1.0;
        }
        ticking ^= dice.chance(0.01);
        let now = at(clock);
        match dice.below(10) {
            0..3 if ticking => log.records.push((MentionRecord::Tick(Tick { at: now }), now)),
            3 if !posts.is_empty() => {
                let (post, _, revision) = &posts[posts.len() - 1 - dice.below(posts.len().min(20))];
                let before = Timestamp::from_micros(revision.micros() + 1);
                log.records.push((retraction(post, before), now));
            }
            4 if !log.records.is_empty() => {
                let back = 1 + dice.below(log.records.len().min(60));
                let again = log.records[log.records.len() - back].0.clone();
                log.records.push((again, now));
            }
            _ => {
                let record = any_mention(&mut dice, &mut posts, now, mood as f32);
                log.records.push((record, now));
            }
        }
    }
    log
}

fn any_mention(
    dice: &mut Dice,
    posts: &mut Vec<(String, Timestamp, Timestamp)>,
    now: Timestamp,
    mood: f32,
) -> MentionRecord {
    let known = !posts.is_empty() && dice.chance(0.3);
    let index = if known { posts.len() - 1 - dice.below(posts.len().min(15)) } else { posts.len() };
    if !known {
        let delay = if dice.chance(0.15) { 100.0 * dice.share() } else { 2.0 * dice.share() };
        let published_at = now.minus(std::time::Duration::from_secs_f64(delay));
        posts.push((format!("post-{}", posts.len()), published_at, published_at));
    }
    let (post, published_at, last) = posts[index].clone();
    // Sometimes what is told again is an older revision than the last.
    let revision = if known && dice.chance(0.5) { now } else { published_at };
    posts[index].2 = last.max(revision);
    let score = (mood + dice.share() as f32 * 0.8 - 0.4).clamp(-1.0, 1.0);
    let mut told = mention(&post, SUBJECTS[dice.below(SUBJECTS.len())], score, published_at);
    told.revision = revision;
    told.origin = Origin { topic: Arc::from("posts"), partition: 0, offset: now.micros() };
    told.label = (!dice.chance(0.1)).then(|| Arc::from("neutral"));
    told.relevance = 0.25 + 0.75 * dice.share() as f32;
    if dice.chance(0.5) {
        told.sketch = Sketch(xxhash_rust::xxh3::xxh3_128(&[dice.below(4) as u8]));
    }
    told.traceparent = dice.chance(0.7).then(|| trace(now.micros()));
    if dice.chance(0.2) {
        // It has the room of three.
        told.url = Some(Arc::from("https://news.example/".repeat(130)));
    }
    MentionRecord::Mention(told)
}

fn watchful() -> SignalSettings {
    let mut joy = rule("joy", "XN*", Bound::Above(0.2), 30);
    (joy.hold, joy.keep_firing) = (seconds(0), seconds(0));
    let mut slow = rule("slow", "*", Bound::Below(0.0), 40);
    (slow.hold, slow.keep_firing, slow.mentions_min) = (seconds(3), seconds(40), 1);
    settings(vec![rule("gloom", "XNAS:*", Bound::Below(-0.2), 60), joy, slow])
}

/// The state of whoever takes over before record `cut`: what is on the log, and the alerts of the records `..told`.
fn rebuilt(log: &Log, settings: &SignalSettings, cut: usize, restored: Vec<Alert>) -> PartitionState {
    let mut state = PartitionState::new(Arc::new(settings.clone()));
    state.restore(restored);
    replay(log, &mut state, look_back_from(log, settings, cut)..cut);
    state
}

/// The same of whoever knows of the records `..known` alone at first, and of the alerts that came of those.
fn rebuilt_ahead(
    log: &Log,
    settings: &SignalSettings,
    (known, cut): (usize, usize),
    whole: &[Vec<Finding>],
) -> PartitionState {
    let mut state = rebuilt(log, settings, known, alerts(&whole[..known]));
    state.restore(alerts(&whole[..cut]));
    replay(log, &mut state, known..cut);
    state
}

fn look_back_from(log: &Log, settings: &SignalSettings, cut: usize) -> usize {
    let last = log.records[..cut].last().map_or(Timestamp::MIN, |(_, appended_at)| *appended_at);
    let since = last.minus(settings.look_back());
    log.records[..cut].iter().position(|(_, appended_at)| *appended_at >= since).unwrap_or(cut)
}

fn replay(log: &Log, state: &mut PartitionState, records: Range<usize>) {
    for findings in log.fold(state, records, false) {
        assert!(findings.is_empty(), "replay is silent");
    }
}

fn assert_a_cut_changes_nothing(seed: u64, settings: &SignalSettings) -> usize {
    let log = any_log(seed, 400);
    let whole = log.run(settings);
    let mut dice = Dice::new(seed);
    for cut in 0..log.records.len() {
        let known = if dice.chance(0.5) { cut } else { cut.saturating_sub(dice.below(60)) };
        let mut state = rebuilt_ahead(&log, settings, (known, cut), &whole);
        let rest = log.fold(&mut state, cut..log.records.len(), true);
        for (number, (expected, found)) in whole[cut..].iter().zip(&rest).enumerate() {
            assert_eq!(expected, found, "seed {seed}, {known} known, cut before {cut}, record {}", cut + number);
        }
    }
    alerts(&whole).iter().filter(|alert| alert.state == AlertState::Firing).count()
}

#[test]
fn a_log_that_is_cut_anywhere_gives_what_it_gives_uncut() {
    let fired: usize = (0..8).map(|seed| assert_a_cut_changes_nothing(seed, &watchful())).sum();
    assert!(fired > 60, "too little happens to prove anything: {fired}");
}

#[test]
fn a_cut_changes_nothing_where_there_is_no_room() {
    let mut settings = watchful();
    (settings.index.mentions_max, settings.index.subjects_max) = (6, 3);
    let fired: usize = (100..105).map(|seed| assert_a_cut_changes_nothing(seed, &settings)).sum();
    assert!(fired > 25, "too little happens to prove anything: {fired}");
    let mut settings = watchful();
    settings.index.partition_mentions_max = 12;
    let fired: usize = (105..110).map(|seed| assert_a_cut_changes_nothing(seed, &settings)).sum();
    assert!(fired > 25, "too little happens to prove anything: {fired}");
}

/// At least once: alerts may have been published whose records are read again.
#[test]
fn an_alert_that_is_published_already_is_not_turned_again() {
    let settings = watchful();
    for seed in 200..203 {
        let log = any_log(seed, 300);
        let whole = log.run(&settings);
        for (cut, ahead) in (0..280).flat_map(|cut| [(cut, cut + 1), (cut, cut + 5), (cut, cut + 20)]) {
            let mut state = rebuilt(&log, &settings, cut, alerts(&whole[..ahead]));
            let rest = log.fold(&mut state, cut..log.records.len(), true);
            let indices = |findings: &[Vec<Finding>]| -> Vec<Finding> {
                findings.iter().flatten().filter(|finding| matches!(finding, Finding::Index(_))).cloned().collect()
            };
            assert_eq!(indices(&whole[cut..]), indices(&rest), "seed {seed}, cut {cut}");
            // Everything that was not published comes, and nothing comes that the uncut log does not give.
            assert_eq!(alerts(&whole[ahead..]), alerts(&rest[ahead - cut..]), "seed {seed}, cut {cut}, ahead {ahead}");
            let before = alerts(&whole[cut..ahead]);
            for alert in alerts(&rest[..ahead - cut]) {
                assert!(before.contains(&alert), "seed {seed}, cut {cut}, ahead {ahead}: {alert:?}\n{before:#?}");
            }
        }
    }
}

#[test]
fn a_firing_alert_whose_rule_is_gone_is_resolved_at_the_first_live_record() {
    let mut log = Log::default();
    for second in 0..8 {
        log.tell(f64::from(second) * 2.0, &format!("post-{second}"), "XNAS:AAA", -0.9);
    }
    log.tick(16.0);
    log.tick(21.0);
    let with = settings(vec![rule("gloom", "XNAS:*", Bound::Below(-0.2), 60)]);
    let whole = log.run(&with);
    assert_eq!(alerts(&whole).last().unwrap().state, AlertState::Firing);
    let mut state = rebuilt(&log, &settings(Vec::new()), 8, alerts(&whole[..8]));
    state.restore(alerts(&whole));
    replay(&log, &mut state, 8..9);
    let rest = alerts(&log.fold(&mut state, 9..10, true));
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].state, rest[0].ends_at), (AlertState::Resolved, Some(at(21.0))));
    assert_eq!(rest[0].fired_at, alerts(&whole).last().unwrap().fired_at);
}

#[test]
fn an_alert_that_is_heard_of_behind_its_record_comes_too_late() {
    let mut log = Log::default();
    for second in 0..12 {
        log.tell(f64::from(second) * 2.0, &format!("post-{second}"), "XNAS:AAA", -0.9);
    }
    let with = settings(vec![rule("gloom", "XNAS:*", Bound::Below(-0.2), 60)]);
    let whole = log.run(&with);
    let (first, last) = (alerts(&whole)[0].clone(), alerts(&whole).last().unwrap().clone());
    let place = |alert: &Alert| usize::try_from(alert.origin.offset).unwrap();
    assert!(alerts(&whole).len() > 1 && place(&first) < place(&last));
    let too_late =
        |cut: usize, known: &[Alert], told: &[Alert]| rebuilt(&log, &with, cut, known.to_vec()).comes_too_late(told);
    let told = [last.clone()];
    assert!(!too_late(0, &[], &told), "nothing was folded in");
    assert!(!too_late(place(&last), std::slice::from_ref(&first), &told), "its record is the next");
    assert!(too_late(place(&last) + 1, std::slice::from_ref(&first), &told), "its record was looked at without it");
    assert!(!too_late(place(&last) + 1, std::slice::from_ref(&last), &told), "it is known");
    let mut other = last;
    other.rule = "forgotten".into();
    assert!(!too_late(12, &[], &[other]), "no rule looks at it");
}
