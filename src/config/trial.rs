//! Runs the test cases of a pipeline file: the same state that the signal stage keeps, in simulated time, without a
//! model and without Kafka. What a post would have been answered stands in the case.

use std::sync::Arc;
use std::time::Duration;

use super::case::{CaseAlert, CasePost, TestCase};
use super::units::show_duration;
use crate::clean;
use crate::event::{Action, Alert, AlertState, Mention, MentionRecord, Origin, Retraction, Sketch, Tick};
use crate::pipeline::Settings;
use crate::pipeline::signal::{Finding, PartitionState, SignalSettings};
use crate::time::Timestamp;

/// Where simulated time starts: 2026-01-05T14:30:00Z, a Monday. Which moment it is changes nothing.
const START: Timestamp = Timestamp::from_micros(1_767_623_400_000_000);

/// An alert's change as it happened.
#[derive(Debug)]
struct Happened {
    alert: Alert,
    after: Duration,
}

impl TestCase {
    /// Runs the case; every difference is a sentence, and no sentence is a pass.
    #[must_use]
    pub fn run(&self, settings: &Settings) -> Vec<String> {
        let tolerance = settings.tick_interval * 2;
        let mut happened = self.play(settings);
        let mut faults = Vec::new();
        for expected in &self.alerts {
            let found = happened.iter().position(|one| is_meant(one, expected, Some(tolerance)));
            if let Some(at) = found {
                happened.remove(at);
            } else {
                faults.push(missing(expected, &happened));
            }
        }
        let loud = |one: &&Happened| one.alert.state == AlertState::Firing || is_end_of_firing(&one.alert);
        faults.extend(happened.iter().filter(loud).map(|one| format!("not expected: {}", sentence(one))));
        faults
    }

    fn play(&self, settings: &Settings) -> Vec<Happened> {
        let mut state = PartitionState::new(Arc::new(SignalSettings::of(settings)));
        let mut happened = Vec::new();
        for (offset, (after, record)) in (0_i64..).zip(self.records(settings)) {
            let place = Origin { topic: Arc::from("test.mentions"), partition: 0, offset };
            for finding in state.fold(record, &place, START.plus(after), true) {
                if let Finding::Alert(alert) = finding {
                    happened.push(Happened { alert: *alert, after });
                }
            }
        }
        happened
    }

    /// Mentions and ticks in the order of time; at the same moment the mentions come first.
    fn records(&self, settings: &Settings) -> Vec<(Duration, MentionRecord)> {
        let mut records = Vec::new();
        let mut number = 0_u32;
        for post in &self.posts {
            for copy in 0..post.count {
                let after = post.at + post.every * copy;
                records.extend(said(post, number, after).into_iter().map(|record| (after, record)));
                number += 1;
            }
        }
        let last = records.iter().map(|(after, _)| *after).max().unwrap_or_default();
        let calm = settings.rules.iter().map(|rule| rule.over + rule.hold + rule.keep_firing).max().unwrap_or_default();
        let until = self.until.unwrap_or(last + calm + settings.tick_interval * 2);
        let mut after = Duration::ZERO;
        while after <= until {
            records.push((after, MentionRecord::Tick(Tick { at: START.plus(after) })));
            after += settings.tick_interval;
        }
        records.retain(|(after, _)| *after <= until);
        records.sort_by_key(|(after, record)| (*after, matches!(record, MentionRecord::Tick(_))));
        records
    }
}

/// What the score stage would write for a post.
fn said(post: &CasePost, number: u32, after: Duration) -> Vec<MentionRecord> {
    let at = START.plus(after);
    let origin = Origin { topic: Arc::from("test.posts"), partition: 0, offset: i64::from(number) };
    let post_id = post.id.clone().unwrap_or_else(|| Arc::from(format!("post-{number}")));
    let retraction = |before: Timestamp| {
        MentionRecord::Retraction(Retraction {
            id: origin.id_for(0),
            post_id: post_id.clone(),
            before,
            origin: origin.clone(),
        })
    };
    let mentions = post.subjects.iter().map(|subject| {
        MentionRecord::Mention(Mention {
            id: origin.id_for(subject),
            post_id: post_id.clone(),
            revision: at,
            subject: subject.clone(),
            score: score(post),
            label: post.sentiment.map(Arc::from),
            confidence: post.confidence,
            relevance: post.relevance,
            published_at: at,
            source: post.source.clone(),
            kind: Arc::from("test"),
            excerpt: Arc::from(clean::excerpt(post.text.as_deref().unwrap_or_default())),
            url: None,
            sketch: sketch(post, number),
            origin: origin.clone(),
            traceparent: None,
        })
    });
    match post.action {
        Action::Created => mentions.collect(),
        Action::Updated => std::iter::once(retraction(at)).chain(mentions).collect(),
        Action::Deleted => vec![retraction(at.plus(Duration::from_micros(1)))],
    }
}

/// P(positive) − P(negative), where what the answer leaves over is shared by the other two classes.
fn score(post: &CasePost) -> f32 {
    let lean = post.confidence - (1.0 - post.confidence) / 2.0;
    match post.sentiment {
        Some("positive") => lean,
        Some("negative") => -lean,
        _ => 0.0,
    }
}

/// Of the text where there is one; else a sketch that is like no other's.
fn sketch(post: &CasePost, number: u32) -> Sketch {
    /// 2^128 divided by the golden ratio: its multiples share hardly any digits.
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    match &post.text {
        Some(text) => clean::sketch(&clean::clean(text)),
        None => Sketch(SPREAD.wrapping_mul(u128::from(number) + 1)),
    }
}

fn is_meant(one: &Happened, expected: &CaseAlert, tolerance: Option<Duration>) -> bool {
    let alert = &one.alert;
    let on_time = match (expected.at, tolerance) {
        (Some(at), Some(tolerance)) => one.after.abs_diff(at) <= tolerance,
        _ => true,
    };
    alert.rule == expected.rule && alert.subject == expected.subject && alert.state == expected.state && on_time
}

/// A pending alert that came to nothing resolves, too; that is no news.
fn is_end_of_firing(alert: &Alert) -> bool {
    alert.state == AlertState::Resolved && alert.fired_at.is_some()
}

fn missing(expected: &CaseAlert, happened: &[Happened]) -> String {
    let when = expected.at.map(|at| format!(" at +{}", show_duration(at))).unwrap_or_default();
    let wanted = format!("{} {} {}{when}", expected.rule, expected.subject, word(expected.state));
    match happened.iter().find(|one| is_meant(one, expected, None)) {
        Some(other) => format!("expected {wanted}, but it was at +{}", show_duration(other.after)),
        None => format!("expected {wanted}, but it never was"),
    }
}

fn sentence(one: &Happened) -> String {
    let value = one.alert.value.map(|value| format!(", index {value:.2}")).unwrap_or_default();
    let alert = &one.alert;
    format!("{} {} {} at +{}{value}", alert.rule, alert.subject, word(alert.state), show_duration(one.after))
}

const fn word(state: AlertState) -> &'static str {
    match state {
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    }
}
