//! What a post may look like, and what becomes a dead letter.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::codec::FieldMap;
use crate::stream::{Headers, Partition};

fn source() -> SourceSettings {
    SourceSettings { topic: "posts.news".into(), kind: "news".into(), fields: FieldMap::default() }
}

fn record(value: &[u8]) -> Record {
    Record {
        partition: Partition::new(&Arc::from("posts.news"), 3),
        offset: 41,
        appended_at: Timestamp::parse("2026-03-02T14:00:00Z").unwrap(),
        key: None,
        value: Some(Bytes::copy_from_slice(value)),
        headers: Headers::new(),
    }
}

fn post(json: &str) -> Post {
    decode_post(&record(json.as_bytes()), &source()).unwrap()
}

fn refused(json: &str) -> (Reason, String) {
    let letter = decode_post(&record(json.as_bytes()), &source()).unwrap_err();
    assert_eq!(letter.record, record(json.as_bytes()));
    assert_eq!(letter.stage, "score");
    (letter.reason, letter.message)
}

#[test]
fn a_full_post_is_read_whole() {
    let json = r#"{"id":"n-1","title":"Oak cuts outlook","text":"Oak & Sons said \u2026","published_at":"2026-03-02T13:59:00Z",
        "updated_at":1772459990,"lang":"en","source":"Ledger Wire","author":"J. Moss","url":"https://news.example/1",
        "symbols":["XNYS:OAK","BRWT"],"action":"Updated","extra":{"a":[1,2,{"b":null}]}}"#;
    let post = post(json);
    assert_eq!(&*post.id, "n-1");
    assert_eq!(post.text, "Oak cuts outlook\n\nOak & Sons said …");
    assert_eq!(post.published_at.to_string(), "2026-03-02T13:59:00Z");
    assert_eq!(post.revision.to_string(), "2026-03-02T13:59:50Z");
    assert_eq!(post.action, Action::Updated);
    assert_eq!((post.lang.as_deref(), &*post.source, &*post.kind), (Some("en"), "Ledger Wire", "news"));
    assert_eq!((post.author.as_deref(), post.url.as_deref()), (Some("J. Moss"), Some("https://news.example/1")));
    assert_eq!(post.symbols, ["XNYS:OAK", "BRWT"]);
    assert_eq!(post.origin.to_string(), "posts.news+3+41");
}

#[test]
fn what_is_missing_comes_from_the_record() {
    let post = post(r#"{"text":"Oak cuts outlook","lang":null,"source":""}"#);
    assert_eq!(&*post.id, "posts.news+3+41");
    assert_eq!((post.published_at, post.revision), (post.appended_at, post.appended_at));
    assert_eq!((&*post.source, post.lang), ("posts.news", None));
}

#[test]
fn nothing_is_published_after_it_was_appended() {
    let future = post(r#"{"id":1,"text":"x","published_at":"2030-01-01T00:00:00Z"}"#);
    assert_eq!(future.published_at, future.appended_at);
}

#[test]
fn ids_may_be_numbers() {
    assert_eq!(&*post(r#"{"id":18446744073709551615,"text":"x"}"#).id, "18446744073709551615");
    assert_eq!(&*post(r#"{"id":-7,"text":"x"}"#).id, "-7");
    assert_eq!(refused(r#"{"id":1.5,"text":"x"}"#).0, Reason::InvalidField);
}

#[test]
fn an_empty_text_is_a_post_and_a_missing_one_is_not() {
    assert_eq!(post(r#"{"text":""}"#).text, "");
    assert_eq!(post(r#"{"title":"","text":"b"}"#).text, "b");
    assert_eq!(post(r#"{"title":"a","text":" "}"#).text, "a");
    assert_eq!(post(r#"{"title":"a","text":"a b"}"#).text, "a b");
    let (reason, message) = refused(r#"{"id":"1","body":"x"}"#);
    assert_eq!((reason, message.as_str()), (Reason::MissingField, "field text is missing: nothing at /title, /text"));
}

#[test]
fn a_deletion_needs_only_an_id() {
    let deletion = post(r#"{"id":"n-1","action":"deleted","text":"gone"}"#);
    assert_eq!((deletion.action, deletion.text.as_str()), (Action::Deleted, ""));
    assert_eq!(refused(r#"{"action":"deleted"}"#).0, Reason::MissingField);
}

#[test]
fn a_huge_text_is_cut_and_many_symbols_are_bounded() {
    let post = post(&format!(
        r#"{{"text":"{}","symbols":[{}]}}"#,
        "é".repeat(500_000),
        (0..500).map(|n| format!("\"S{n}\"")).collect::<Vec<_>>().join(",")
    ));
    assert_eq!((post.text.len(), post.truncated), (TEXT_BYTES_MAX, true));
    assert_eq!((post.symbols.len(), post.symbols_dropped), (SYMBOLS_MAX, 256 - SYMBOLS_MAX));
}

#[test]
fn a_text_is_truncated_only_where_something_is_missing() {
    let posted = |title: usize, text: usize| {
        post(&format!(r#"{{"title":"{}","text":"{}"}}"#, "t".repeat(title), "x".repeat(text))).truncated
    };
    assert!(!posted(0, TEXT_BYTES_MAX) && !posted(3, TEXT_BYTES_MAX - 5));
    assert!(posted(3, TEXT_BYTES_MAX - 4) && posted(0, TEXT_BYTES_MAX + 1));
}

#[test]
fn symbols_may_be_one_text() {
    assert_eq!(post(r#"{"text":"x","symbols":"OAK, BRWT,,"}"#).symbols, ["OAK", "BRWT"]);
    assert_eq!(post(r#"{"text":"x","symbols":[600519,null,"A"]}"#).symbols, ["600519", "A"]);
}

#[test]
fn a_mapping_reaches_into_the_record() {
    let mut source = source();
    source.fields.text = vec!["/headline".into(), "/body/summary".into()];
    source.fields.id = vec!["/meta/nosuch".into(), "/meta/ids/0".into()];
    let json = br#"{"meta":{"ids":[7,8]},"body":{"summary":"down"},"headline":"Oak"}"#;
    let post = decode_post(&record(json), &source).unwrap();
    assert_eq!((&*post.id, post.text.as_str()), ("7", "Oak\n\ndown"));
}

#[test]
fn a_dead_letter_says_what_is_wrong_and_where() {
    let deep = format!(r#"{{"text":"x","a":{}"#, "[".repeat(100_000));
    let cases = [
        r#"{"id":"1","text":"cut o"#,
        "[1,2]",
        r#"{"id":"1","text":7}"#,
        r#"{"id":{"a":1},"text":"x"}"#,
        r#"{"id":"1","text":"x","published_at":"2026-02-30T10:00:00Z"}"#,
        r#"{"id":"1","text":"x","updated_at":true}"#,
        r#"{"id":"1","text":"x","action":"merged"}"#,
        r#"{"id":"1","text":"x","action":1}"#,
        r#"{"id":"1","text":"x","symbols":[{"s":1}]}"#,
        r#"{"id":"1","text":"x","url":["a"]}"#,
        r#"{"id":"1"}"#,
        "",
        &deep,
    ];
    let lines = cases.map(|json| {
        let (reason, message) = refused(json);
        format!("{}\n  {reason}: {message}", json.chars().take(70).collect::<String>())
    });
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_trace_context_is_carried_only_if_it_is_one() {
    let mut traced = record(br#"{"text":"x"}"#);
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    traced.headers = [("traceparent", Some(header))].into_iter().collect();
    assert_eq!(decode_post(&traced, &source()).unwrap().traceparent.as_deref(), Some(header));
    traced.headers = [("traceparent", Some("00-zz"))].into_iter().collect();
    assert_eq!(decode_post(&traced, &source()).unwrap().traceparent, None);
}

#[test]
fn a_tombstone_is_a_dead_letter() {
    let mut empty = record(b"");
    empty.value = None;
    assert_eq!(decode_post(&empty, &source()).unwrap_err().reason, Reason::Malformed);
}

#[test]
fn a_line_of_a_file_is_read_like_a_record() {
    let at = Timestamp::parse("2026-03-02T14:00:00Z").unwrap();
    let post = post_from_line(r#"{"text":"x"}"#, &source(), 12, at).unwrap();
    assert_eq!((&*post.id, post.published_at), ("posts.news+0+12", at));
    assert_eq!(post_from_line("{}", &source(), 1, at).unwrap_err().reason, Reason::MissingField);
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode_post(&record(&bytes), &source());
    }

    #[test]
    fn any_texts_make_a_post_or_a_dead_letter(id in any::<String>(), text in any::<String>(), time in any::<String>(), number in any::<f64>()) {
        let json = serde_json::json!({"id": id, "text": text, "published_at": time, "updated_at": number, "symbols": [id, text]});
        let first = decode_post(&record(json.to_string().as_bytes()), &source());
        let second = decode_post(&record(json.to_string().as_bytes()), &source());
        prop_assert_eq!(&first, &second);
        if let Ok(post) = first {
            prop_assert!(post.published_at <= post.appended_at);
            prop_assert!(!post.id.is_empty());
        }
    }
}
