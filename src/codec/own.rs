//! Our own records in: scored posts, mentions, labels and alerts, read back by the stages behind.
//!
//! Their JSON form is the serde form of `event`; `schemas/` holds it to a contract. Labels come from people, so theirs
//! is the one that may be wrong often.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::codec::trace::{is_traceparent, traceparent_of};
use crate::event::{Alert, DeadLetter, Label, Mention, MentionRecord, Reason, ScoredPost};
use crate::stream::Record;

/// A record of the `mentions` topic.
///
/// # Errors
/// A dead letter of stage `signal`, when the value is not a mention, a retraction or a tick.
pub fn decode_mention(record: &Record) -> Result<MentionRecord, DeadLetter> {
    let is_ours = record.value.as_deref().is_some_and(|value| value.starts_with(MENTION_START));
    let kind = if is_ours { Kind::Mention } else { decode::<Tagged>(record, "signal")?.kind };
    Ok(match kind {
        Kind::Mention => {
            let mention: Mention = decode(record, "signal")?;
            MentionRecord::Mention(Mention { traceparent: traceparent_of(record), ..mention })
        }
        Kind::Retraction => MentionRecord::Retraction(decode(record, "signal")?),
        Kind::Tick => MentionRecord::Tick(decode(record, "signal")?),
    })
}

/// How we begin to write a mention.
const MENTION_START: &[u8] = br#"{"type":"mention","#;

/// What tells the records of `mentions` apart, read first: who reads all of it as one of several buffers each field.
#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Mention,
    Retraction,
    Tick,
}

/// A record of the `alerts` topic.
///
/// # Errors
/// A dead letter of stage `signal`, when the value is not an alert.
pub fn decode_alert(record: &Record) -> Result<Alert, DeadLetter> {
    let alert: Alert = decode(record, "signal")?;
    let traceparent = alert.traceparent.filter(|trace| is_traceparent(trace));
    Ok(Alert { traceparent, ..alert })
}

/// A record of the `scored` topic.
///
/// # Errors
/// A dead letter of stage `archive`, when the value is not a scored post.
pub fn decode_scored(record: &Record) -> Result<ScoredPost, DeadLetter> {
    decode(record, "archive")
}

/// A record of the `labels` topic.
///
/// # Errors
/// A dead letter of stage `archive`, when the value is not a label or has a field that labels do not have.
pub fn decode_label(record: &Record) -> Result<Label, DeadLetter> {
    decode(record, "archive")
}

fn decode<T: DeserializeOwned>(record: &Record, stage: &'static str) -> Result<T, DeadLetter> {
    let value = record.value.as_deref().unwrap_or_default();
    serde_json::from_slice(value).map_err(|error| {
        let message = error.to_string();
        let reason = match error.classify() {
            Category::Data if message.starts_with("missing field") => Reason::MissingField,
            Category::Data => Reason::InvalidField,
            Category::Syntax | Category::Eof | Category::Io => Reason::Malformed,
        };
        DeadLetter { record: record.clone(), stage, reason, message }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Envelope;
    use crate::stream::{Headers, Partition};
    use crate::time::Timestamp;

    fn record(value: &[u8]) -> Record {
        Record {
            partition: Partition::new(&Arc::from("market.labels"), 0),
            offset: 1,
            appended_at: Timestamp::from_millis(0),
            key: None,
            value: Some(Bytes::copy_from_slice(value)),
            headers: Headers::new(),
        }
    }

    #[test]
    fn the_class_of_a_failure_is_told() {
        let reason = |json: &str| decode_label(&record(json.as_bytes())).unwrap_err().reason;
        assert_eq!(reason("{"), Reason::Malformed);
        assert_eq!(reason(""), Reason::Malformed);
        assert_eq!(reason(r#"{"post_id":"1"}"#), Reason::MissingField);
        assert_eq!(reason(r#"{"post_id":1}"#), Reason::InvalidField);
        assert_eq!(decode_mention(&record(br#"{"type":"rumour"}"#)).unwrap_err().reason, Reason::InvalidField);
        let deep = "[".repeat(100_000);
        assert_eq!(
            decode_mention(&record(format!(r#"{{"x":{deep}"#).as_bytes())).unwrap_err().reason,
            Reason::Malformed
        );
    }

    #[test]
    fn a_mention_has_the_trace_of_its_header_and_an_alert_its_own() {
        const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut told = record(include_bytes!("../../schemas/examples/mention/v1/topic.json"));
        told.headers = [("traceparent", Some(TRACE))].into_iter().collect();
        let MentionRecord::Mention(mention) = decode_mention(&told).unwrap() else { unreachable!() };
        assert_eq!(mention.traceparent.as_deref(), Some(TRACE));
        let fired = include_str!("../../schemas/examples/alert/v1/firing.json");
        let alert = decode_alert(&record(fired.as_bytes())).unwrap();
        let envelope = Envelope { source: Arc::from("bellwether/market") };
        assert_eq!(envelope.alert(&alert).headers.get("traceparent"), Some(TRACE.as_bytes()));
        let spoilt = decode_alert(&record(fired.replace(TRACE, "00-zz").as_bytes())).unwrap();
        assert_eq!(spoilt.traceparent, None);
    }

    #[test]
    fn a_number_that_could_not_be_written_again_is_refused() {
        let with_huge = |json: &str, number: &str| {
            assert!(json.contains(number));
            record(json.replacen(number, "5e79", 1).as_bytes())
        };
        let mention = include_str!("../../schemas/examples/mention/v1/topic.json");
        let scored = include_str!("../../schemas/examples/scored/v1/abstained.json");
        let alert = include_str!("../../schemas/examples/alert/v1/firing.json");
        // Who refuses it, and with which words, depends on how serde_json was built.
        assert!(decode_mention(&with_huge(mention, "0.5")).is_err());
        assert!(decode_scored(&with_huge(scored, "0.3401")).is_err());
        assert!(decode_scored(&with_huge(scored, "0.707")).is_err());
        assert!(decode_alert(&with_huge(alert, "-0.625")).is_err());
        assert!(decode_alert(&with_huge(alert, "0.75")).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let record = record(&bytes);
            let _ = (decode_mention(&record), decode_alert(&record), decode_scored(&record), decode_label(&record));
        }
    }
}
