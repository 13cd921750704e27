//! The W3C trace context of a record: carried on where it is one, from post to alert, and nothing else is.

use std::sync::Arc;

use crate::stream::Record;

/// The length of a `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;

/// The trace context in a record's headers.
pub(super) fn traceparent_of(record: &Record) -> Option<Arc<str>> {
    let text = std::str::from_utf8(record.headers.get("traceparent")?).ok()?;
    is_traceparent(text).then(|| Arc::from(text))
}

/// Whether a text is a trace context: version, trace, parent and flags in small hexadecimal digits. Version `ff` and
/// ids of zeros alone are none.
pub(super) fn is_traceparent(text: &str) -> bool {
    let shape = text.bytes().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    let is_set =
        |from: usize, until: usize| text.get(from..until).is_some_and(|id| id.bytes().any(|byte| byte != b'0'));
    text.len() == TRACEPARENT_BYTES && shape && !text.starts_with("ff") && is_set(3, 35) && is_set(36, 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trace_context_is_one() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for text in [
            "",
            "00-zz",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert!(!is_traceparent(text), "{text}");
        }
    }
}
