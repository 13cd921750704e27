//! Events out: key, JSON and headers of every record that we write.
//!
//! Headers follow CloudEvents 1.0 in binary mode; dead letters keep what they had and get Kafka Connect's error headers
//! behind it. Which topic and partition a payload goes to is decided by the stage.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::clean::head;
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
/// Likewise, of its key.
pub(super) const KEY_TRUNCATED: &str = "bellwether.key-truncated";
/// Says how many of its headers, the last ones, were left out.
pub(super) const HEADERS_LEFT_OUT: &str = "bellwether.headers-left-out";
/// Bytes of key and headers that a dead letter keeps beside the largest value; a smaller value leaves them its room.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// What a header takes beside its name and its value: the lengths of both.
const HEADER_BYTES: usize = 10;
/// What the headers of an event take in memory, with room for ids that are long.
const EVENT_HEADERS_BYTES: usize = 384;
/// Bytes of a message of what was wrong.
const MESSAGE_BYTES_MAX: usize = 8 << 10;
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

    /// A dead letter: key, bytes and headers as they came, then Kafka Connect's error headers. What does not fit into a
    /// record of `bytes_max` bytes and 64 KiB is cut, since a letter that cannot be written would come again for ever: the
    /// value at `bytes_max`, the key and the headers at what is left. Headers behind the others say how much it was.
    #[must_use]
    pub fn dead_letter(&self, letter: &DeadLetter, bytes_max: usize) -> Payload {
        let record = &letter.record;
        let (mut key, mut value) = (record.key.clone(), record.value.clone());
        let value_from = cut(&mut value, bytes_max);
        let mut room = HEAD_BYTES_MAX + bytes_max - value.as_ref().map_or(0, Bytes::len);
        let key_from = cut(&mut key, room);
        room -= key.as_ref().map_or(0, Bytes::len);
        let fits = |(name, value): &(&str, Option<&[u8]>)| {
            let bytes = HEADER_BYTES + name.len() + value.map_or(0, <[u8]>::len);
            room.checked_sub(bytes).map(|left| room = left).is_some()
        };
        let mut headers: Headers = record.headers.iter().take_while(fits).collect();
        let left_out = record.headers.len() - headers.len();
        let (place, offset) = (&record.partition, &record.offset);
        let message = head(&letter.message, MESSAGE_BYTES_MAX);
        let errors: [&dyn Display; 6] = [&place.topic, &place.number, offset, &letter.stage, &letter.reason, &message];
        ERRORS.into_iter().zip(errors).for_each(|(name, value)| headers.push_text(name, value));
        let cuts = [(TRUNCATED, value_from), (KEY_TRUNCATED, key_from)];
        let cuts = cuts.into_iter().chain([(HEADERS_LEFT_OUT, (left_out > 0).then_some(left_out))]);
        cuts.filter_map(|(name, from)| Some((name, from?))).for_each(|(name, from)| headers.push_text(name, &from));
        Payload { key, value, headers }
    }

    fn payload(&self, key: Option<&str>, event: &impl Serialize, head: &Head<'_>) -> Payload {
        let mut headers = Headers::with_capacity(EVENT_HEADERS_BYTES);
        headers.push_text("ce_specversion", &"1.0");
        headers.push_text("ce_id", &head.id);
        headers.push_text("ce_source", &self.source);
        headers.push_text("ce_type", &format_args!("bellwether.{}.v1", head.kind));
        headers.push_text("ce_time", &head.at);
        headers.push_text("content-type", &"application/json");
        if let Some(trace) = head.traceparent {
            headers.push_text("traceparent", &trace);
        }
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

/// Keeps so many bytes at most; says how many there were where that is fewer.
fn cut(bytes: &mut Option<Bytes>, bytes_max: usize) -> Option<usize> {
    let long = bytes.as_mut().filter(|bytes| bytes.len() > bytes_max)?;
    let before = long.len();
    long.truncate(bytes_max);
    Some(before)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::event::{Reason, Subject, Tick};
    use crate::stream::{Partition, Record};

    fn shown(payload: &Payload) -> String {
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or("(none)".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let headers: Vec<_> = payload.headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        let (key, value) = (payload.key.as_deref(), payload.value.as_deref());
        format!("key: {}\n{}\n\n{}", text(key), headers.join("\n"), text(value))
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
                headers: [("app", Some("feed-7")), ("empty", None)].into_iter().collect(),
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
        assert!(payload.headers.iter().take(2).eq(&letter.record.headers));
        insta::assert_snapshot!(shown(&payload));
    }

    #[test]
    fn a_dead_letter_that_is_too_long_is_cut_and_says_so() {
        let payload = envelope().dead_letter(&letter(b"0123456789"), 4);
        assert_eq!(payload.value, Some(Bytes::from_static(b"0123")));
        assert_eq!(payload.headers.iter().last(), Some((TRUNCATED, Some(&b"10"[..]))));
        let whole = envelope().dead_letter(&letter(b"0123456789"), 10);
        assert!(!whole.headers.iter().any(|(name, _)| name == TRUNCATED));
    }

    #[test]
    fn a_dead_letter_fits_into_a_record_whatever_part_of_it_is_long() {
        const BYTES_MAX: usize = 100_000;
        let long = |bytes: usize| Some(Bytes::from(vec![b'x'; bytes]));
        let came = |key: usize, value: usize, headers: usize| {
            let mut letter = letter(b"");
            letter.message = "é".repeat(1 << 20);
            letter.record.key = long(key);
            letter.record.value = long(value);
            letter.record.headers = (0..headers).map(|number| (format!("h{number}"), long(90))).collect();
            letter
        };
        // Key, value and headers that came, and that are kept.
        for (parts, kept) in [
            ((10, 10, 10), (10, 10, 10)),
            ((0, 500_000, 200), (0, BYTES_MAX, 200)),
            ((0, 500_000, 9_000), (0, BYTES_MAX, 316)),
            ((20_000, 500_000, 9_000), (20_000, BYTES_MAX, 123)),
            ((900_000, 90_000, 9_000), (42_768, 90_000, 0)),
            ((0, 0, 90_000), (0, 0, 1_275)),
        ] {
            let letter = came(parts.0, parts.1, parts.2);
            let payload = envelope().dead_letter(&letter, BYTES_MAX);
            let bytes = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
            let own = payload.headers.iter().filter(|(name, _)| name.starts_with('h')).count();
            assert_eq!((bytes(&payload.key), bytes(&payload.value), own), kept, "{parts:?}");
            let headers = payload.headers.size() + HEADER_BYTES * payload.headers.len();
            let size = bytes(&payload.key) + bytes(&payload.value) + headers;
            assert!(size <= BYTES_MAX + (64 << 10), "{parts:?}: {size}");
            let says = |name: &str| payload.headers.get(name).is_some();
            assert_eq!(says(TRUNCATED), parts.1 > kept.1, "{parts:?}");
            assert_eq!(says(KEY_TRUNCATED), parts.0 > kept.0, "{parts:?}");
            assert_eq!(says(HEADERS_LEFT_OUT), parts.2 > kept.2, "{parts:?}");
        }
    }
}
