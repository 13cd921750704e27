//! The dead-letter topic read back: letters with what was wrong, and the marks of those that were replayed.
//!
//! The error headers are the last ones of a letter, in the order in which the [`Envelope`](crate::codec::Envelope) wrote
//! them: a record that had headers of the same names itself, or those of a mark, deceives nobody.

use std::sync::Arc;

use serde::Serialize;

use crate::codec::envelope::{ERRORS, HEADERS_LEFT_OUT, KEY_TRUNCATED, Payload, REPLAYED, TRUNCATED};
use crate::event::{Origin, Reason, Replay};
use crate::stream::{Headers, Partition, Record};
use crate::time::Timestamp;

/// A record of the dead-letter topic.
#[derive(Debug, Clone, PartialEq)]
pub enum LetterRecord {
    /// A dead letter.
    Letter(Box<Letter>),
    /// The mark that one was replayed.
    Replay(Replay),
    /// Neither: somebody else wrote it, or a later version.
    Foreign,
}

/// A dead letter that was read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The record as it came, at its own place. Its append time is not known any more: it is that of the letter.
    pub record: Record,
    /// The stage that gave up on it.
    pub stage: String,
    /// The class of the failure.
    pub reason: Reason,
    /// What exactly was wrong.
    pub message: String,
    /// What of it did not fit.
    pub cut: Cut,
    /// The letter's own place, where its mark goes as well.
    pub partition: Partition,
}

/// What of a record did not fit into its letter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// How many bytes the value had before it was cut; `None` where it is whole.
    pub value_from: Option<usize>,
    /// Likewise, of the key.
    pub key_from: Option<usize>,
    /// Headers that were left out.
    pub headers: usize,
}

impl Cut {
    /// Whether everything fitted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Letter {
    /// The place of the record that became this letter.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let Record { partition, offset, .. } = &self.record;
        Origin { topic: partition.topic.clone(), partition: partition.number, offset: *offset }
    }

    /// When the letter was written.
    #[must_use]
    pub const fn written_at(&self) -> Timestamp {
        self.record.appended_at
    }

    /// The record to send again: key, bytes and headers as they came, and a header that says where it had been.
    #[must_use]
    pub fn again(&self) -> Payload {
        let mut headers = self.record.headers.clone();
        headers.push_text(REPLAYED, &self.origin());
        Payload { key: self.record.key.clone(), value: self.record.value.clone(), headers }
    }
}

/// What a record of the dead-letter topic is.
#[must_use]
pub fn read_letter(record: &Record) -> LetterRecord {
    if let Some(letter) = letter(record) {
        return LetterRecord::Letter(Box::new(letter));
    }
    let is_mark = record.headers.get("ce_type") == Some(b"bellwether.replay.v1");
    let mark = is_mark.then(|| serde_json::from_slice(record.value.as_deref().unwrap_or_default()).ok());
    mark.flatten().map_or(LetterRecord::Foreign, LetterRecord::Replay)
}

fn letter(record: &Record) -> Option<Letter> {
    let headers: Vec<Named<'_>> = record.headers.iter().collect();
    let (headers, left_out) = said_last(&headers, HEADERS_LEFT_OUT)?;
    let (headers, key_from) = said_last(headers, KEY_TRUNCATED)?;
    let (headers, value_from) = said_last(headers, TRUNCATED)?;
    let cut = Cut { value_from, key_from, headers: left_out.unwrap_or(0) };
    let (own, errors) = headers.split_at_checked(headers.len().checked_sub(ERRORS.len())?)?;
    let mut said = errors
        .iter()
        .zip(ERRORS)
        .map(|((name, value), wanted)| std::str::from_utf8(value.filter(|_| *name == wanted)?).ok());
    let mut next = || said.next().flatten();
    let partition = Partition { topic: Arc::from(next()?), number: next()?.parse().ok()? };
    let offset = next()?.parse().ok()?;
    let stage = next()?.to_owned();
    let class = next()?;
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == class)?;
    let message = next()?.to_owned();
    let headers: Headers = own.iter().copied().collect();
    let (key, value) = (record.key.clone(), record.value.clone());
    let came = Record { partition, offset, appended_at: record.appended_at, key, value, headers };
    Some(Letter { record: came, stage, reason, message, cut, partition: record.partition.clone() })
}

/// The number in the last header where it has this name, and those before it; `None` where it is no number.
fn said_last<'a, 'b>(headers: &'a [Named<'b>], name: &str) -> Option<(&'a [Named<'b>], Option<usize>)> {
    match headers.split_last() {
        Some(((found, Some(bytes)), rest)) if *found == name => {
            Some((rest, Some(std::str::from_utf8(bytes).ok()?.parse().ok()?)))
        }
        _ => Some((headers, None)),
    }
}

type Named<'a> = (&'a str, Option<&'a [u8]>);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Envelope;
    use crate::event::DeadLetter;

    fn envelope() -> Envelope {
        Envelope { source: Arc::from("bellwether/market") }
    }

    fn post(headers: Headers) -> Record {
        Record {
            partition: Partition::new(&Arc::from("posts.news"), 3),
            offset: 41,
            appended_at: Timestamp::from_millis(7),
            key: Some(Bytes::from_static(b"\xff\x00k")),
            value: Some(Bytes::from_static(b"0123456789")),
            headers,
        }
    }

    /// The letter of a record as it stands on the topic.
    fn written(record: &Record, value_bytes_max: usize) -> Record {
        let (record, stage) = (record.clone(), "score");
        let message = "field text is missing".to_owned();
        let dead = DeadLetter { record, stage, reason: Reason::MissingField, message };
        let payload = envelope().dead_letter(&dead, value_bytes_max);
        on_topic(payload)
    }

    fn on_topic(payload: Payload) -> Record {
        let partition = Partition::new(&Arc::from("market.dead-letters"), 1);
        let Payload { key, value, headers } = payload;
        Record { partition, offset: 9, appended_at: Timestamp::from_millis(7), key, value, headers }
    }

    fn read(record: &Record) -> Letter {
        match read_letter(record) {
            LetterRecord::Letter(letter) => *letter,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_letter_is_read_back_as_the_record_came() {
        let came = post([("app", Some("feed-7")), ("empty", None)].into_iter().collect());
        let letter = read(&written(&came, 1_000));
        assert_eq!(letter.record, came);
        assert_eq!((letter.stage.as_str(), letter.reason, letter.cut), ("score", Reason::MissingField, Cut::default()));
        assert_eq!(letter.origin().to_string(), "posts.news+3+41");
        assert_eq!(letter.partition.to_string(), "market.dead-letters/1");
        let again = letter.again();
        assert_eq!((&again.key, &again.value), (&came.key, &came.value));
        let said: Headers = came.headers.iter().chain([(REPLAYED, Some(&b"posts.news+3+41"[..]))]).collect();
        assert_eq!(again.headers, said);
    }

    #[test]
    fn a_cut_letter_says_what_it_was_cut_from() {
        let cut = |came: &Record, bytes_max: usize| read(&written(came, bytes_max)).cut;
        assert_eq!(cut(&post(Headers::new()), 4), Cut { value_from: Some(10), ..Cut::default() });
        let key = Some(Bytes::from(vec![7; 90_000]));
        let headers = vec![(TRUNCATED, Some(vec![b'1'; 20_000])); 3].into_iter().collect();
        let all = Record { key, ..post(headers) };
        assert_eq!(cut(&all, 4), Cut { value_from: Some(10), key_from: Some(90_000), headers: 3 });
        let came = post(all.headers);
        let letter = read(&written(&came, 4));
        assert_eq!((letter.cut.headers, letter.record.headers.len()), (2, 1));
        assert!(!letter.cut.is_none() && cut(&came, 100_000).is_none());
    }

    #[test]
    fn a_record_that_looks_like_a_letter_or_a_mark_deceives_nobody() {
        // The letter of a record that was a letter, and a mark, of somebody else.
        let mut forged = written(&post(Headers::new()), 4).headers;
        let mark = Replay::of(read(&written(&post(Headers::new()), 9)).origin(), Timestamp::default());
        forged.extend(&on_topic(envelope().replay(&mark)).headers);
        let came = Record { offset: 42, ..post(forged) };
        let letter = read(&written(&came, 1_000));
        assert_eq!((letter.record, letter.cut), (came, Cut::default()));
    }

    #[test]
    fn a_mark_names_the_letter_and_nothing_else_is_one() {
        let origin = read(&written(&post(Headers::new()), 1_000)).origin();
        let mark = Replay::of(origin, Timestamp::from_millis(8));
        assert_eq!(mark.id, "posts.news+3+41+replay");
        let written = on_topic(envelope().replay(&mark));
        assert_eq!(written.key.as_deref(), Some(&b"posts.news+3+41"[..]));
        assert_eq!(read_letter(&written), LetterRecord::Replay(mark));
        for broken in [
            Record { value: Some(Bytes::from_static(b"{}")), ..written.clone() },
            Record { headers: Headers::new(), ..written.clone() },
            Record { value: None, ..written },
        ] {
            assert_eq!(read_letter(&broken), LetterRecord::Foreign);
        }
    }

    proptest! {
        #[test]
        fn every_letter_is_read_back(names in proptest::collection::vec(0_usize..11, 0..12), cut in 0_usize..12) {
            let known = ERRORS.iter().chain(&[TRUNCATED, KEY_TRUNCATED, HEADERS_LEFT_OUT, REPLAYED, "ce_type"]).copied().collect::<Vec<_>>();
            let headers = names.iter().map(|name| (known.get(*name).unwrap_or(&""), Some("1")));
            let came = post(headers.collect());
            let letter = read(&written(&came, cut));
            prop_assert_eq!(&letter.record.headers, &came.headers);
            prop_assert_eq!(letter.cut.value_from, (cut < 10).then_some(10));
            prop_assert_eq!(letter.record.value.unwrap(), came.value.unwrap().slice(..cut.min(10)));
        }
    }
}
