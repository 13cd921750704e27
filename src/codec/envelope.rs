//! Events out: key, JSON and headers of every record that we write.
//!
//! Headers follow CloudEvents 1.0 in binary mode; dead letters keep what they had and get Kafka Connect's error headers
//! behind it. Which topic and partition a payload goes to is decided by the stage.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::event::{Alert, DeadLetter, Index, Label, MentionRecord, Replay, ScoredPost};
use crate::stream::{Headers, Output};
use crate::time::Timestamp;

/// Kafka Connect's error headers, in the order in which they end a dead letter.
pub(super) const ERRORS: [&str; 6] = [
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.stage",
    "__connect.errors.exception.class.name",
    "__connect.errors.exception.message",
];
/// Says how many bytes a dead letter's value had before it was cut.
pub(super) const TRUNCATED: &str = "bellwether.truncated";
/// Says of a record that was sent again where it had been.
pub(super) const REPLAYED: &str = "bellwether.replayed";

/// A record to be written, without its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// Decides the partition, where there is one.
    pub key: Option<Bytes>,
    /// The JSON, or the bytes of a dead letter.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Payload {
    /// The record for that place.
    #[must_use]
    pub fn to(self, topic: &Arc<str>, partition: i32) -> Output {
        Output { topic: topic.clone(), partition, key: self.key, value: self.value, headers: self.headers }
    }
}

/// What all records of a pipeline have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `ce_source`: `bellwether/<pipeline>`.
    pub source: Arc<str>,
}

impl Envelope {
    /// A scored post, keyed by post id.
    #[must_use]
    pub fn scored(&self, scored: &ScoredPost, traceparent: Option<&str>) -> Payload {
        let head = Head { kind: "scored", id: &scored.id, at: scored.scored_at, traceparent };
        self.payload(Some(&scored.post_id), scored, &head)
    }

    /// A mention, keyed by subject; a retraction or a tick, without a key. `at` is when it was made.
    #[must_use]
    pub fn mention(&self, record: &MentionRecord, at: Timestamp, traceparent: Option<&str>) -> Payload {
        let (kind, id, key) = match record {
            MentionRecord::Mention(mention) => ("mention", mention.id.clone(), Some(mention.subject.as_str())),
            MentionRecord::Retraction(retraction) => ("retraction", retraction.id.clone(), None),
            MentionRecord::Tick(tick) => ("tick", format!("tick+{}", tick.at), None),
        };
        self.payload(key, record, &Head { kind, id: &id, at, traceparent })
    }

    /// An index, keyed by subject.
    #[must_use]
    pub fn index(&self, index: &Index) -> Payload {
        let head = Head { kind: "index", id: &index.id, at: index.at, traceparent: None };
        self.payload(Some(index.subject.as_str()), index, &head)
    }

    /// An alert, keyed by fingerprint, with the trace that it keeps.
    #[must_use]
    pub fn alert(&self, alert: &Alert) -> Payload {
        let traceparent = alert.traceparent.as_deref();
        let head = Head { kind: "alert", id: &alert.id, at: alert.at, traceparent };
        self.payload(Some(&alert.fingerprint), alert, &head)
    }

    /// A label, keyed by post id.
    #[must_use]
    pub fn label(&self, label: &Label) -> Payload {
        let id = format!("{}+{}+{}+{}", label.post_id, label.task, label.annotator, label.at);
        let head = Head { kind: "label", id: &id, at: label.at, traceparent: None };
        self.payload(Some(&label.post_id), label, &head)
    }

    /// The mark of a replayed dead letter, keyed by the letter's origin.
    #[must_use]
    pub fn replay(&self, replay: &Replay) -> Payload {
        let head = Head { kind: "replay", id: &replay.id, at: replay.at, traceparent: None };
        self.payload(Some(&replay.origin.to_string()), replay, &head)
    }

    /// A dead letter: key, bytes and headers as they came, then Kafka Connect's error headers. A value of more than
    /// `value_bytes_max` bytes is cut, and the header `bellwether.truncated` says how many there were.
    #[must_use]
    pub fn dead_letter(&self, letter: &DeadLetter, value_bytes_max: usize) -> Payload {
        let record = &letter.record;
        let mut headers = record.headers.clone();
        let (place, offset) = (&record.partition, &record.offset);
        let errors: [&dyn Display; 6] =
            [&place.topic, &place.number, offset, &letter.stage, &letter.reason, &letter.message];
        headers.extend(ERRORS.into_iter().zip(errors).map(|(name, value)| header(name, value)));
        let mut value = record.value.clone();
        if let Some(bytes) = value.as_mut().filter(|bytes| bytes.len() > value_bytes_max) {
            headers.push(header(TRUNCATED, &bytes.len()));
            bytes.truncate(value_bytes_max);
        }
        Payload { key: record.key.clone(), value, headers }
    }

    fn payload(&self, key: Option<&str>, event: &impl Serialize, head: &Head<'_>) -> Payload {
        let mut headers = vec![
            header("ce_specversion", &"1.0"),
            header("ce_id", &head.id),
            header("ce_source", &self.source),
            header("ce_type", &format_args!("bellwether.{}.v1", head.kind)),
            header("ce_time", &head.at),
            header("content-type", &"application/json"),
        ];
        headers.extend(head.traceparent.map(|trace| header("traceparent", &trace)));
        // Events are plain data with texts for keys: writing them to memory cannot fail.
        let value = serde_json::to_vec(event).ok().map(Bytes::from);
        Payload { key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())), value, headers }
    }
}

/// What the headers of an event say.
struct Head<'a> {
    kind: &'static str,
    id: &'a str,
    at: Timestamp,
    traceparent: Option<&'a str>,
}

pub(super) fn header(name: &str, value: &dyn Display) -> (String, Option<Bytes>) {
    (name.to_owned(), Some(Bytes::from(value.to_string())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::event::{Reason, Subject, Tick};
    use crate::stream::{Partition, Record};

    fn shown(payload: &Payload) -> String {
        let text = |bytes: &Option<Bytes>| {
            bytes.as_ref().map_or("(none)".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let headers: Vec<_> = payload.headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        format!("key: {}\n{}\n\n{}", text(&payload.key), headers.join("\n"), text(&payload.value))
    }

    fn envelope() -> Envelope {
        Envelope { source: Arc::from("bellwether/market") }
    }

    fn letter(value: &'static [u8]) -> DeadLetter {
        DeadLetter {
            record: Record {
                partition: Partition::new(&Arc::from("posts.news"), 3),
                offset: 41,
                appended_at: Timestamp::from_millis(0),
                key: Some(Bytes::from_static(b"\xff\x00k")),
                value: Some(Bytes::from_static(value)),
                headers: vec![("app".to_owned(), Some(Bytes::from_static(b"feed-7"))), ("empty".to_owned(), None)],
            },
            stage: "score",
            reason: Reason::Malformed,
            message: "not one JSON object: expected value at line 1 column 1".to_owned(),
        }
    }

    #[test]
    fn an_event_is_a_cloud_event_in_binary_mode() {
        let index = Index {
            id: "market.mentions+2+9+XNYS:OAK".to_owned(),
            subject: Subject::parse("XNYS:OAK").unwrap(),
            value: Some(-0.25),
            mentions: 12,
            dispersion: Some(0.5),
            at: Timestamp::parse("2026-03-02T14:00:00Z").unwrap(),
        };
        insta::assert_snapshot!(shown(&envelope().index(&index)));
    }

    #[test]
    fn a_tick_has_no_key_and_carries_a_trace_when_given_one() {
        let at = Timestamp::parse("2026-03-02T14:00:00Z").unwrap();
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        insta::assert_snapshot!(shown(&envelope().mention(&MentionRecord::Tick(Tick { at }), at, Some(trace))));
    }

    #[test]
    fn a_dead_letter_keeps_its_bytes_and_says_where_it_came_from() {
        let letter = letter(b"{broken \xff");
        let payload = envelope().dead_letter(&letter, 1_000);
        assert_eq!((&payload.key, &payload.value), (&letter.record.key, &letter.record.value));
        assert!(payload.headers.starts_with(&letter.record.headers));
        insta::assert_snapshot!(shown(&payload));
    }

    #[test]
    fn a_dead_letter_that_is_too_long_is_cut_and_says_so() {
        let payload = envelope().dead_letter(&letter(b"0123456789"), 4);
        assert_eq!(payload.value, Some(Bytes::from_static(b"0123")));
        assert_eq!(payload.headers.last().unwrap(), &header(TRUNCATED, &10));
        let whole = envelope().dead_letter(&letter(b"0123456789"), 10);
        assert!(!whole.headers.iter().any(|(name, _)| name == TRUNCATED));
    }
}
