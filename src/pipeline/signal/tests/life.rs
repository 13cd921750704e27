//! What mentions, retractions and ticks bring about, each rule by a small log.

use std::sync::Arc;

use super::log::{Log, alerts, at, mention, rule, seconds, settings, trace};
use crate::entity::Instruments;
use crate::event::{Alert, AlertState, Index, MentionRecord, Sketch};
use crate::pipeline::signal::{Finding, PartitionState, SignalSettings};
use crate::rule::Bound;

fn gloom() -> SignalSettings {
    settings(vec![rule("gloom", "XNAS:*", Bound::Below(-0.4), 60)])
}

/// What was written behind the first record, with which every log's index begins.
fn indices(findings: &[Vec<Finding>]) -> Vec<Index> {
    let indices = findings.iter().skip(1).flatten().filter_map(|finding| match finding {
        Finding::Index(index) => Some(index.clone()),
        Finding::Alert(_) => None,
    });
    indices.collect()
}

fn story(alerts: &[Alert]) -> Vec<(AlertState, f64)> {
    let seconds = |alert: &Alert| (alert.at.micros() - at(0.0).micros()) as f64 / 1e6;
    alerts.iter().map(|alert| (alert.state, seconds(alert))).collect()
}

#[test]
fn an_alert_is_pending_then_firing_then_resolved() {
    let mut log = Log::default();
    log.tell(1.0, "one", "XNAS:AAA", -0.9);
    log.tell(2.0, "two", "XNAS:AAA", -0.7);
    for second in (5..=120).step_by(5) {
        log.tick(f64::from(second));
    }
    let alerts = alerts(&log.run(&gloom()));
    // Two mentions at 2 s; held for 10 s by the tick at 15 s; one mention is gone at 65 s (61 s), calm for 15 s at 80 s.
    let expected = [(AlertState::Pending, 2.0), (AlertState::Firing, 15.0), (AlertState::Resolved, 80.0)];
    assert_eq!(story(&alerts), expected);
    assert!(alerts.iter().all(|alert| alert.starts_at == at(2.0)));
    assert_eq!((alerts[2].fired_at, alerts[2].ends_at), (Some(at(15.0)), Some(at(80.0))));
    assert_eq!(alerts[0].id, "market.mentions+0+1+gloom+XNAS:AAA");
    assert_eq!(alerts[1].evidence.len(), 2);
    assert_eq!(&*alerts[1].evidence[0].post_id, "two", "the younger one weighs more");
    insta::assert_snapshot!(alerts.iter().map(|alert| alert.summary.as_str()).collect::<Vec<_>>().join("\n"), @r"
    XNAS:AAA sentiment fell to −0.80 over 1m (2 mentions, bound −0.40), an alert if it lasts 10s: weightiest “What two says”
    XNAS:AAA sentiment fell to −0.80 over 1m (2 mentions, bound −0.40): weightiest “What two says”
    XNAS:AAA has no sentiment over 1m (0 mentions, bound −0.40)
    ");
}

#[test]
fn an_alert_keeps_the_trace_of_the_mention_that_began_it_to_its_end() {
    let mut log = Log::default();
    log.tell(1.0, "one", "XNAS:AAA", -0.9);
    log.tell(2.0, "two", "XNAS:AAA", -0.7);
    log.tell(20.0, "three", "XNYS:BBB", 0.7);
    log.tell(61.5, "four", "XNYS:BBB", 0.7);
    log.tell(80.0, "five", "XNYS:BBB", 0.7);
    for (number, (record, _)) in (1..).zip(&mut log.records) {
        let MentionRecord::Mention(mention) = record else { unreachable!() };
        mention.traceparent = Some(trace(number));
    }
    let alerts = alerts(&log.run(&gloom()));
    // Fired and resolved at mentions of another subject, whose traces are not its own.
    let expected = [(AlertState::Pending, 2.0), (AlertState::Firing, 20.0), (AlertState::Resolved, 80.0)];
    assert_eq!(story(&alerts), expected);
    assert!(alerts.iter().all(|alert| alert.traceparent == Some(trace(2))), "{alerts:#?}");
}

#[test]
fn an_alert_calls_an_instrument_by_its_name() {
    let file = Instruments::parse("id,name\nXNAS:AAA,Triple A\n").unwrap();
    let mut log = Log::default();
    log.tell(1.0, "one", "XNAS:AAA", -0.9);
    log.tell(2.0, "two", "XNAS:AAA", -0.7);
    log.tell(2.0, "two", "XNAS:BBB", -0.7);
    log.tell(2.0, "three", "XNAS:BBB", -0.7);
    let told = alerts(&log.run(&gloom().naming(&file)));
    assert!(told[0].summary.starts_with("Triple A (XNAS:AAA) sentiment fell to"), "{}", told[0].summary);
    assert!(told[1].summary.starts_with("XNAS:BBB sentiment fell to"), "{}", told[1].summary);
}

#[test]
fn a_pending_alert_that_comes_to_nothing_is_resolved() {
    let mut log = Log::default();
    log.tell(1.0, "one", "XNAS:AAA", -0.9);
    log.tell(2.0, "two", "XNAS:AAA", -0.7);
    log.tell(5.0, "three", "XNAS:AAA", 0.9);
    let alerts = alerts(&log.run(&gloom()));
    assert_eq!(story(&alerts), [(AlertState::Pending, 2.0), (AlertState::Resolved, 5.0)]);
    assert_eq!(alerts[1].fired_at, None);
}

#[test]
fn a_retraction_takes_a_post_out_of_windows_and_index_and_keeps_it_out() {
    let mut log = Log::default();
    log.tell(1.0, "one", "XNAS:AAA", -0.9);
    log.tell(2.0, "two", "XNAS:AAA", -0.7);
    log.tick(3.0);
    log.take_back(4.0, "two", at(3.0));
    log.tell(4.5, "two", "XNAS:AAA", -0.7);
    let Some((MentionRecord::Mention(again), _)) = log.records.last_mut() else { unreachable!() };
    again.revision = at(2.5);
    log.tick(5.0);
    let findings = log.run(&gloom());
    assert_eq!(story(&alerts(&findings)), [(AlertState::Pending, 2.0), (AlertState::Resolved, 4.0)]);
    let seen: Vec<u32> = indices(&findings).iter().map(|index| index.mentions).collect();
    assert_eq!(seen, [2, 1]);
}

#[test]
fn the_highest_revision_wins_whatever_the_order_and_a_repeat_changes_nothing() {
    let told = |revision: f64, score: f32| {
        let mut told = mention("one", "XNAS:AAA", score, at(0.0));
        told.revision = at(revision);
        told.origin.offset = revision as i64;
        (MentionRecord::Mention(told), at(4.0))
    };
    let orders = [
        vec![told(1.0, -0.9), told(2.0, 0.1), told(3.0, 0.8)],
        vec![told(3.0, 0.8), told(1.0, -0.9), told(2.0, 0.1)],
        vec![told(2.0, 0.1), told(3.0, 0.8), told(3.0, 0.8), told(1.0, -0.9)],
    ];
    for records in orders {
        let mut log = Log { records };
        log.tick(5.0);
        let findings = log.run(&gloom()).into_iter().flatten();
        let index = findings.filter_map(|it| if let Finding::Index(index) = it { Some(index) } else { None }).last();
        let index = index.unwrap();
        assert_eq!((index.mentions, index.value), (1, Some(0.8)));
    }
}

#[test]
fn an_index_is_written_at_a_tick_and_only_when_its_mentions_changed() {
    let mut log = Log::default();
    log.tell(1.0, "one", "XNAS:AAA", 0.5);
    log.tell(1.5, "two", "XNYS:BBB", -0.5);
    log.tick(5.0);
    log.tick(10.0);
    log.tick(61.0);
    log.tick(66.0);
    let findings = log.run(&gloom());
    let written: Vec<(usize, String, u32)> = findings
        .iter()
        .enumerate()
        .flat_map(|(number, findings)| findings.iter().map(move |finding| (number, finding)))
        .filter_map(|(number, finding)| match finding {
            Finding::Index(index) => Some((number, index.subject.to_string(), index.mentions)),
            Finding::Alert(_) => None,
        })
        .collect();
    let row = |number, subject: &str, mentions| (number, subject.to_owned(), mentions);
    // At the first record, then at ticks.
    let (began, told) = (row(0, "XNAS:AAA", 1), row(2, "XNYS:BBB", 1));
    assert_eq!(written, [began, told, row(4, "XNAS:AAA", 0), row(5, "XNYS:BBB", 0)]);
    assert_eq!(indices(&findings)[1].value, None);
}

#[test]
fn a_copy_weighs_less_than_the_first_telling_and_an_abstention_nothing() {
    let mut log = Log::default();
    log.tell(1.0, "first", "XNAS:AAA", -1.0);
    log.tell(1.0, "copy", "XNAS:AAA", 1.0);
    log.tell(1.0, "unsure", "XNAS:AAA", 1.0);
    for (record, _) in &mut log.records {
        let MentionRecord::Mention(mention) = record else { unreachable!() };
        mention.sketch = Sketch(7);
        mention.label = mention.label.take().filter(|_| &*mention.post_id != "unsure");
    }
    log.tick(1.0);
    let index = indices(&log.run(&gloom())).remove(0);
    // Weights 1 and 1/2: (−1 + 0.5) / 1.5.
    assert_eq!((index.mentions, index.value), (3, Some(-0.3333)));
    assert_eq!(index.dispersion, Some(0.9428));
}

#[test]
fn a_mention_weighs_half_at_its_half_life_and_nothing_behind_the_window() {
    let mut log = Log::default();
    log.tell(0.0, "old", "XNAS:AAA", 1.0);
    log.tell(30.0, "new", "XNAS:AAA", -1.0);
    log.tick(30.0);
    log.tick(60.0);
    let found: Vec<Option<f32>> = indices(&log.run(&gloom())).iter().map(|index| index.value).collect();
    assert_eq!(found, [Some(-0.3333), Some(-1.0)]);
}

#[test]
fn a_late_mention_goes_into_its_own_past() {
    let mut log = Log::default();
    log.tick(200.0);
    for (post, published) in [("in the window", 150.0), ("only for copies", 100.0), ("too late", 10.0)] {
        log.records.push((MentionRecord::Mention(mention(post, "XNAS:AAA", 0.5, at(published))), at(200.0)));
    }
    log.tick(205.0);
    let mut state = PartitionState::new(Arc::new(gloom()));
    let findings = log.fold(&mut state, 0..5, true);
    assert_eq!(indices(&findings)[0].mentions, 1);
    assert_eq!((state.take_counts().late, state.take_counts().late), (1, 0));
}

#[test]
fn silence_of_the_pipeline_is_not_calm_of_the_market() {
    let mut log = Log::default();
    log.tell(0.0, "one", "XNAS:AAA", -0.9);
    log.tell(1.0, "two", "XNAS:AAA", -0.9);
    log.tick(11.0);
    log.tell(12.0, "three", "XNAS:AAA", 0.9);
    // Calm since 12 s, then nothing for an hour: what was not seen does not count, so calm is counted from here.
    log.tick(3_600.0);
    log.tick(3_605.0);
    log.tick(3_615.0);
    let expected = [(AlertState::Pending, 1.0), (AlertState::Firing, 11.0), (AlertState::Resolved, 3_615.0)];
    assert_eq!(story(&alerts(&log.run(&gloom()))), expected);
}

#[test]
fn evidence_is_five_posts_of_different_stories_that_lean_the_alerts_way() {
    let mut log = Log::default();
    for number in 0..12 {
        log.tell(1.0 + f64::from(number) * 0.1, &format!("post-{number}"), "XNAS:AAA", -0.9);
    }
    for (number, (record, _)) in log.records.iter_mut().enumerate() {
        let MentionRecord::Mention(mention) = record else { unreachable!() };
        if number < 6 {
            mention.sketch = Sketch(1);
        }
        if number == 11 {
            mention.score = 0.9;
        }
    }
    log.tick(20.0);
    let fired = alerts(&log.run(&gloom())).pop().unwrap();
    assert_eq!(fired.state, AlertState::Firing);
    let shown: Vec<&str> = fired.evidence.iter().map(|post| &*post.post_id).collect();
    assert_eq!(shown, ["post-10", "post-9", "post-8", "post-7", "post-6"]);
    assert!(fired.evidence.iter().all(|post| post.weight > 0.0 && post.weight < 0.25));
}

#[test]
fn the_lowest_offsets_leave_first_and_are_counted() {
    let mut settings = gloom();
    settings.index.mentions_max = 3;
    let mut log = Log::default();
    for number in 0..5 {
        log.tell(f64::from(number), &format!("post-{number}"), "market", 0.1 * number as f32);
    }
    log.tick(5.0);
    let mut state = PartitionState::new(Arc::new(settings));
    let findings = log.fold(&mut state, 0..6, true);
    assert_eq!(indices(&findings)[0].mentions, 3);
    assert_eq!(state.take_counts().overflow, 2);
}

#[test]
fn a_full_partition_forgets_what_came_first_whatever_it_was_about() {
    let mut settings = gloom();
    settings.index.partition_mentions_max = 4;
    let mut log = Log::default();
    for (number, subject) in
        ["XNAS:AAA", "market", "market", "XNAS:AAA", "market", "market", "market"].iter().enumerate()
    {
        log.tell(number as f64, &format!("post-{number}"), subject, 0.1);
    }
    log.tick(10.0);
    let mut state = PartitionState::new(Arc::new(settings));
    let findings = log.fold(&mut state, 0..8, true);
    let left: Vec<(String, u32)> =
        indices(&findings).iter().map(|index| (index.subject.to_string(), index.mentions)).collect();
    assert_eq!(left, [("XNAS:AAA".to_owned(), 1), ("market".to_owned(), 3)]);
    assert_eq!(state.take_counts().overflow, 3);
}

#[test]
fn mentions_with_long_names_and_links_have_the_room_of_several() {
    let mut settings = gloom();
    settings.index.partition_mentions_max = 10;
    let mut log = Log::default();
    for number in 0..8 {
        // 4,000 bytes of id and excerpt: the room of four.
        log.tell(f64::from(number), &format!("{number:02000}"), "market", 0.1);
    }
    log.tick(10.0);
    let mut state = PartitionState::new(Arc::new(settings));
    let findings = log.fold(&mut state, 0..9, true);
    assert_eq!(indices(&findings)[0].mentions, 2);
    assert_eq!(state.take_counts().overflow, 6);
}

#[test]
fn a_rule_with_no_hold_fires_at_once_and_counts_say_so() {
    let mut settings = gloom();
    settings.rules[0].hold = seconds(0);
    let mut log = Log::default();
    log.tell(1.0, "one", "XNAS:AAA", -0.9);
    log.tell(2.0, "two", "XNAS:AAA", -0.9);
    let mut state = PartitionState::new(Arc::new(settings));
    let fired = alerts(&log.fold(&mut state, 0..2, true)).pop().unwrap();
    assert_eq!((fired.state, fired.fired_at, fired.starts_at), (AlertState::Firing, Some(at(2.0)), at(2.0)));
    let counts = state.take_counts();
    assert_eq!((counts.subjects, counts.firing[1].1), (1, 1));
}
