//! A rule that cannot fail keeps nothing: each is shown a snippet that breaks it, and one that only looks as if.

use super::rules;
use super::source::Source;

fn faults(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

#[test]
fn a_file_outside_every_room_is_seen() {
    assert_eq!(faults(rules::rooms, "attic/mod.rs", ""), 1);
    assert_eq!(faults(rules::rooms, "cellar.rs", ""), 1);
    assert_eq!(faults(rules::rooms, "kafka/source.rs", ""), 0);
    assert_eq!(faults(rules::rooms, "time.rs", ""), 0);
}

#[test]
fn a_use_upward_is_seen_however_it_is_written() {
    for text in [
        "use crate::kafka::Source;",
        "use crate::{event::Post, kafka::{Source, Sink}};",
        "use crate::{\n    event::Post,\n    kafka,\n};",
        "fn f() { crate::kafka::open() }",
        "fn f() { crate :: kafka :: open() }",
        "use super::super::kafka::Source;",
        "pub(in crate::kafka) fn f() {}",
    ] {
        assert_eq!(faults(rules::floors, "codec/json.rs", text), 1, "{text}");
    }
}

#[test]
fn a_use_sideways_is_seen_unless_the_table_names_it() {
    assert_eq!(faults(rules::floors, "kafka/sink.rs", "use crate::onnx::Session;"), 1);
    assert_eq!(faults(rules::floors, "window/mod.rs", "use super::rule::Rule;"), 1);
    assert_eq!(faults(rules::floors, "pipeline/mod.rs", "use crate::config::Settings;"), 1);
    assert_eq!(faults(rules::floors, "config/mod.rs", "use crate::pipeline::Settings;"), 0);
    assert_eq!(faults(rules::floors, "event/mod.rs", "use crate::time::Moment;"), 0);
}

#[test]
fn what_only_looks_like_a_use_is_left_alone() {
    for text in [
        "use crate::event::Post;",
        "use crate::codec::Error;",
        "use super::kafka::Header;", // codec::kafka, a module of its own
        "// crate::kafka is above\n/* crate::kafka */",
        "const TEXT: &str = \"crate::kafka\"; const RAW: &str = r#\"crate::kafka \"quoted\" \"#;",
        "#[cfg(test)]\nmod tests { use crate::kafka::Source; fn f() { let brace = '{'; } }",
        "#[cfg(test)]\nuse crate::kafka::Source;",
    ] {
        assert_eq!(faults(rules::floors, "codec/json.rs", text), 0, "{text}");
    }
}

#[test]
fn code_after_the_tests_is_seen() {
    let text = "#[cfg(test)]\nmod tests { fn f() { \"}\"; '}'; } }\nuse crate::kafka::Source;";
    assert_eq!(faults(rules::floors, "codec/json.rs", text), 1);
}

#[test]
fn a_library_out_of_its_room_is_seen() {
    assert_eq!(faults(rules::libraries, "pipeline/shell.rs", "use rdkafka::Message;"), 1);
    assert_eq!(faults(rules::libraries, "pipeline/shell.rs", "use {std::fmt, arrow::array::Array};"), 1);
    assert_eq!(faults(rules::libraries, "model/mod.rs", "use ort;"), 1);
    assert_eq!(faults(rules::libraries, "web/page.rs", "fn f() { prometheus::gather(); }"), 1);
    assert_eq!(faults(rules::libraries, "kafka/source.rs", "use rdkafka::Message;"), 0);
    assert_eq!(faults(rules::libraries, "pipeline/shell.rs", "fn f(arrow: u8) { self.arrow::<u8>(); }"), 0);
}

#[test]
fn the_outside_world_is_seen_on_the_lower_floors() {
    assert_eq!(faults(rules::purity, "window/mod.rs", "use tokio::sync::mpsc;"), 1);
    assert_eq!(faults(rules::purity, "window/mod.rs", "use std::{collections::BTreeMap, fs::File};"), 1);
    assert_eq!(faults(rules::purity, "time.rs", "fn f() { std::env::var(\"TZ\"); }"), 1);
    assert_eq!(faults(rules::purity, "clean/mod.rs", "fn f() { tracing::warn!(\"no\"); }"), 1);
    assert_eq!(faults(rules::purity, "kafka/mod.rs", "use tokio::sync::mpsc; use std::thread;"), 0);
    assert_eq!(faults(rules::purity, "window/mod.rs", "use std::collections::BTreeMap;"), 0);
}

#[test]
fn a_long_file_is_seen_and_its_tests_do_not_count() {
    let line = "const A: u8 = 1;\n";
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(500));
    assert_eq!(faults(rules::sizes, "event/mod.rs", &line.repeat(400)), 0);
    assert_eq!(faults(rules::sizes, "event/mod.rs", &line.repeat(401)), 1);
    assert_eq!(faults(rules::sizes, "event/mod.rs", &format!("{}{tests}", line.repeat(400))), 0);
    assert_eq!(faults(rules::sizes, "event/mod.rs", &format!("{tests}{}", line.repeat(400))), 0);
    assert_eq!(faults(rules::sizes, "event/mod.rs", &format!("{tests}{}", line.repeat(401))), 1);
}

#[test]
fn a_long_function_is_seen() {
    let long = format!("fn long(a: u8) -> u8 {{\n{}    a\n}}\n", "    { let _ = '}'; }\n".repeat(69));
    let short = format!("fn short() {{\n{}}}\n", "    // a comment\n\n    f();\n".repeat(60));
    let declared = format!("trait T {{ fn f(&self);\n{} }}", "type A = u8;\n".repeat(90));
    assert_eq!(faults(rules::sizes, "event/mod.rs", &long), 1);
    assert_eq!(faults(rules::sizes, "event/mod.rs", &short), 0);
    assert_eq!(faults(rules::sizes, "event/mod.rs", &declared), 0);
}

#[test]
fn an_empty_name_is_seen() {
    assert_eq!(faults(rules::names, "codec/utils.rs", ""), 1);
    assert_eq!(faults(rules::names, "codec/helpers/mod.rs", ""), 1);
    assert_eq!(faults(rules::names, "codec/json_v2.rs", ""), 1);
    assert_eq!(faults(rules::names, "codec/mod.rs", "struct StageManager;"), 1);
    assert_eq!(faults(rules::names, "codec/mod.rs", "mod common { }"), 1);
    assert_eq!(faults(rules::names, "codec/mod.rs", "fn decode_v2() {}"), 1);
    assert_eq!(
        faults(rules::names, "codec/common_words.rs", "struct Engineer; fn is_common() {} fn f() { helpers(); }"),
        0
    );
}

#[test]
fn a_file_without_an_opening_is_seen() {
    assert_eq!(faults(rules::opening, "codec/json.rs", "use std::fmt;"), 1);
    assert_eq!(faults(rules::opening, "codec/json.rs", "\n//! Late."), 1);
    assert_eq!(faults(rules::opening, "codec/json.rs", &"//! Long.\n".repeat(9)), 1);
    assert_eq!(faults(rules::opening, "codec/json.rs", &"//! Right.\n".repeat(8)), 0);
    assert_eq!(faults(rules::opening, "stream/mod.rs", &"//! A chapter.\n".repeat(40)), 0);
}

#[test]
fn an_unwrap_is_seen_outside_tests_only() {
    assert_eq!(
        faults(rules::unwraps, "codec/json.rs", "fn f() { a.unwrap(); b\n.expect(\"why\"); c.map(Option::unwrap) }"),
        3
    );
    assert_eq!(faults(rules::unwraps, "codec/json.rs", "#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }"), 0);
    assert_eq!(
        faults(rules::unwraps, "codec/json.rs", "#[expect(dead_code)]\nfn f() { a.unwrap_or(1); } // .unwrap()"),
        0
    );
}

#[test]
fn modules_of_tests_alone_are_known_by_their_declaration() {
    let cover =
        Source::new("stream/mod.rs", "mod batch;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod script;");
    assert_eq!(cover.test_modules(), ["stream/tests", "stream/script"]);
    let leaf = Source::new("codec/post.rs", "#[cfg(test)]\n#[path = \"post_tests.rs\"]\nmod tests;\nfn f() {}");
    assert_eq!(leaf.test_modules(), ["codec/post_tests"]);
    assert_eq!(leaf.functions().len(), 1);
    assert!(Source::new("stream/tests.rs", "").lies_in("stream/tests"));
    assert!(Source::new("stream/tests/seeds.rs", "").lies_in("stream/tests"));
    assert!(!Source::new("stream/batch.rs", "").lies_in("stream/tests"));
    assert!(cover.declares("batch") && !cover.declares("tests") && !cover.declares("bat"));
}
