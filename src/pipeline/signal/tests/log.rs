//! A log of mentions for tests, by hand or by seed.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Alert, Mention, MentionRecord, Origin, Retraction, Severity, Sketch, Subject, Tick};
use crate::pipeline::signal::{Finding, PartitionState, SignalSettings};
use crate::rule::{Bound, Rule, SubjectPattern};
use crate::time::Timestamp;
use crate::window::IndexSettings;

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 2026-03-02T13:30:00Z and so many seconds.
pub(super) fn at(seconds: f64) -> Timestamp {
    Timestamp::from_micros(1_772_458_200_000_000 + (seconds * 1e6) as i64)
}

pub(super) fn rule(name: &str, pattern: &str, bound: Bound, over: u64) -> Rule {
    Rule {
        name: Arc::from(name),
        subjects: vec![SubjectPattern(pattern.to_owned())],
        bound,
        over: seconds(over),
        half_life: seconds(over) / 2,
        mentions_min: 2,
        hold: seconds(10),
        keep_firing: seconds(15),
        severity: Severity::Warning,
    }
}

pub(super) fn settings(rules: Vec<Rule>) -> SignalSettings {
    let index = IndexSettings {
        horizon: seconds(60),
        half_life: seconds(30),
        novelty_window: seconds(120),
        ..IndexSettings::default()
    };
    SignalSettings { pipeline: Arc::from("market"), index, rules, names: std::collections::HashMap::new() }
}

pub(super) fn mention(post: &str, subject: &str, score: f32, published_at: Timestamp) -> Mention {
    let label = if score < 0.0 { "negative" } else { "positive" };
    // Sketches of different posts have nothing in common but chance.
    let sketch = Sketch(xxhash_rust::xxh3::xxh3_128(post.as_bytes()));
    Mention {
        id: format!("posts+0+{post}+{subject}"),
        post_id: Arc::from(post),
        revision: published_at,
        subject: Subject::parse(subject).unwrap(),
        score,
        label: Some(Arc::from(label)),
        confidence: 0.9,
        relevance: 1.0,
        published_at,
        source: Arc::from("wire"),
        kind: Arc::from("news"),
        excerpt: Arc::from(format!("What {post} says")),
        url: None,
        sketch,
        origin: Origin { topic: Arc::from("posts"), partition: 0, offset: 0 },
        traceparent: None,
    }
}

/// A trace context by number.
pub(super) fn trace(number: i64) -> Arc<str> {
    Arc::from(format!("00-{:032x}-{:016x}-01", number.max(1), number.max(1)))
}

pub(super) fn retraction(post: &str, before: Timestamp) -> MentionRecord {
    let origin = Origin { topic: Arc::from("posts"), partition: 0, offset: 0 };
    MentionRecord::Retraction(Retraction { id: String::new(), post_id: Arc::from(post), before, origin })
}

/// Records with their append times; a record's number is its offset.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) records: Vec<(MentionRecord, Timestamp)>,
}

impl Log {
    pub(super) fn tell(&mut self, seconds: f64, post: &str, subject: &str, score: f32) {
        self.records.push((MentionRecord::Mention(mention(post, subject, score, at(seconds))), at(seconds)));
    }

    pub(super) fn tick(&mut self, seconds: f64) {
        self.records.push((MentionRecord::Tick(Tick { at: at(seconds) }), at(seconds)));
    }

    pub(super) fn take_back(&mut self, seconds: f64, post: &str, before: Timestamp) {
        self.records.push((retraction(post, before), at(seconds)));
    }

    /// Folds the records of a range in; what each brought about.
    pub(super) fn fold(
        &self,
        state: &mut PartitionState,
        range: std::ops::Range<usize>,
        live: bool,
    ) -> Vec<Vec<Finding>> {
        let fold = |number: usize| {
            let (record, appended_at) = &self.records[number];
            let offset = i64::try_from(number).unwrap();
            let place = Origin { topic: Arc::from("market.mentions"), partition: 0, offset };
            state.fold(record.clone(), &place, *appended_at, live)
        };
        range.map(fold).collect()
    }

    /// All of it, from an empty state.
    pub(super) fn run(&self, settings: &SignalSettings) -> Vec<Vec<Finding>> {
        self.fold(&mut PartitionState::new(Arc::new(settings.clone())), 0..self.records.len(), true)
    }
}

pub(super) fn alerts(findings: &[Vec<Finding>]) -> Vec<Alert> {
    let alerts = findings.iter().flatten().filter_map(|finding| match finding {
        Finding::Alert(alert) => Some((**alert).clone()),
        Finding::Index(_) => None,
    });
    alerts.collect()
}
