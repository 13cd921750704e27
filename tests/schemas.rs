//! The contract of every record: schemas, examples and code say the same.
//!
//! Every example fits its schema, is read by the code and written back as it was; what the code writes fits the schema;
//! and for every field that a schema requires, an example without it is refused.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellwether::codec::{self, Envelope, FieldMap, Payload, SourceSettings};
use bellwether::event::{Alert, DeadLetter, Index, Label, MentionRecord, Reason, Replay, ScoredPost};
use bellwether::pipeline::Topics;
use bellwether::stream::{Headers, Partition, Record};
use bellwether::time::Timestamp;
use bytes::Bytes;
use jsonschema::Validator;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const EVENTS: [&str; 10] =
    ["post", "scored", "mention", "retraction", "tick", "index", "alert", "label", "dead-letter", "replay"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn validator(event: &str) -> Validator {
    let schema = json(&root().join(format!("{event}.v1.schema.json")));
    assert!(jsonschema::meta::is_valid(&schema), "{event}");
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn examples(event: &str) -> Vec<(PathBuf, Value)> {
    let folder = root().join("examples").join(event).join("v1");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 2, "{event} has fewer than two examples");
    paths.into_iter().map(|path| (path.clone(), json(&path))).collect()
}

fn assert_fits(validator: &Validator, value: &Value, what: &str) {
    let problems: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{what}: {problems:#?}");
}

fn record(value: &Value) -> Record {
    Record {
        partition: Partition::new(&Arc::from("posts.news"), 0),
        offset: 7,
        appended_at: Timestamp::parse("2026-03-02T15:00:00Z").unwrap(),
        key: None,
        value: Some(Bytes::from(value.to_string())),
        headers: Headers::new(),
    }
}

fn source() -> SourceSettings {
    SourceSettings { topic: "posts.news".into(), kind: "news".into(), fields: FieldMap::default() }
}

fn written(payload: &Payload) -> Value {
    serde_json::from_slice(payload.value.as_ref().unwrap()).unwrap()
}

fn envelope() -> Envelope {
    Envelope { source: Arc::from("bellwether/market") }
}

/// Reads an example into its type and writes it through the envelope.
fn through_code(event: &str, example: &Value) -> Result<Value, String> {
    fn typed<T: DeserializeOwned + Serialize>(value: &Value, write: impl Fn(&T) -> Payload) -> Result<Value, String> {
        serde_json::from_slice::<T>(value.to_string().as_bytes())
            .map(|event| written(&write(&event)))
            .map_err(|error| error.to_string())
    }
    let envelope = envelope();
    let at = Timestamp::from_millis(0);
    let record = record(example);
    match event {
        "scored" => codec::decode_scored(&record).map(|it: ScoredPost| written(&envelope.scored(&it, None))),
        "mention" | "retraction" | "tick" => {
            codec::decode_mention(&record).map(|it: MentionRecord| written(&envelope.mention(&it, at, None)))
        }
        "alert" => codec::decode_alert(&record).map(|it: Alert| written(&envelope.alert(&it))),
        "label" => codec::decode_label(&record).map(|it: Label| written(&envelope.label(&it))),
        "index" => return typed::<Index>(example, |it| envelope.index(it)),
        "replay" => return typed::<Replay>(example, |it| envelope.replay(it)),
        other => panic!("{other} is not written as JSON"),
    }
    .map_err(|letter| letter.message)
}

#[test]
fn every_example_fits_its_schema() {
    for event in EVENTS {
        let validator = validator(event);
        for (path, example) in examples(event) {
            assert_fits(&validator, &example, &path.display().to_string());
        }
    }
}

#[test]
fn every_example_is_read_and_written_back_as_it_was() {
    for event in EVENTS.into_iter().filter(|event| !["post", "dead-letter"].contains(event)) {
        let validator = validator(event);
        for (path, example) in examples(event) {
            let back = through_code(event, &example).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            assert_eq!(back, example, "{}", path.display());
            assert_fits(&validator, &back, &path.display().to_string());
        }
    }
}

#[test]
fn every_example_of_a_post_is_a_post() {
    for (path, example) in examples("post") {
        let post = codec::decode_post(&record(&example), &source());
        assert!(post.is_ok(), "{}: {}", path.display(), post.unwrap_err().message);
    }
}

/// Whether a field may be null; then serde reads its absence as null, which the schema does not allow us to write.
fn nullable(schema: &Value, field: &str) -> bool {
    let field = &schema["properties"][field];
    let has = |values: &Value, null: &Value| values.as_array().is_some_and(|all| all.contains(null));
    has(&field["type"], &Value::from("null")) || has(&field["enum"], &Value::Null)
}

/// Leaving out a required field, or giving it an array of objects, is refused by schema and code alike.
#[test]
fn a_broken_example_is_refused() {
    for event in EVENTS {
        let validator = validator(event);
        let (path, example) = examples(event).remove(0);
        let schema = json(&root().join(format!("{event}.v1.schema.json")));
        for field in schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
            for wrong in [None, Some(serde_json::json!([{"no": "such"}]))] {
                let mut broken = example.clone();
                let object = broken.as_object_mut().unwrap();
                match wrong {
                    Some(value) => object.insert(field.to_owned(), value),
                    None => object.remove(field),
                };
                let what = format!("{} without a good {field}", path.display());
                assert!(!validator.is_valid(&broken), "{what}");
                let leaves_out_a_null = !broken.as_object().unwrap().contains_key(field) && nullable(&schema, field);
                if event != "dead-letter" && !leaves_out_a_null {
                    assert!(through_code(event, &broken).is_err(), "{what}");
                }
            }
        }
    }
}

/// What the code refuses as a post, the schema refuses too, but for what a schema cannot say (a day that does not exist).
#[test]
fn posts_that_become_dead_letters_do_not_fit_the_schema() {
    let validator = validator("post");
    let bad = [
        serde_json::json!({}),
        serde_json::json!([1]),
        serde_json::json!({"text": 7}),
        serde_json::json!({"text": null}),
        serde_json::json!({"text": "x", "id": 1.5}),
        serde_json::json!({"text": "x", "action": "merged"}),
        serde_json::json!({"action": "deleted"}),
        serde_json::json!({"text": "x", "published_at": true}),
        serde_json::json!({"text": "x", "symbols": [{"s": 1}]}),
    ];
    for post in bad {
        assert!(codec::decode_post(&record(&post), &source()).is_err(), "{post}");
        assert!(!validator.is_valid(&post), "{post}");
    }
}

#[test]
fn a_dead_letter_has_the_headers_of_its_schema() {
    let validator = validator("dead-letter");
    for reason in Reason::ALL {
        for value_bytes_max in [4, 1_000] {
            let letter = DeadLetter {
                record: record(&serde_json::json!({"body": "x"})),
                stage: "score",
                reason,
                message: "field text is missing".to_owned(),
            };
            let payload = envelope().dead_letter(&letter, value_bytes_max);
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
            let headers: serde_json::Map<_, _> =
                payload.headers.iter().map(|(name, value)| (name.to_owned(), text(value).into())).collect();
            assert_eq!(headers.contains_key("bellwether.truncated"), value_bytes_max == 4);
            let (key, value) = (text(payload.key.as_deref()), text(payload.value.as_deref()));
            let shown = serde_json::json!({"key": key, "value": value, "headers": headers});
            assert_fits(&validator, &shown, reason.as_str());
        }
    }
}

/// Every variant of our enums and every null stands in some example, so that a renamed one is noticed.
#[test]
fn the_examples_cover_what_a_field_can_be() {
    let all: String = EVENTS.iter().flat_map(|event| examples(event)).map(|(_, example)| example.to_string()).collect();
    for value in [
        "\"created\"",
        "\"updated\"",
        "\"deleted\"",
        "\"low-confidence\"",
        "\"unknown-language\"",
        "\"empty-text\"",
        "\"not-answered\"",
        "\"pending\"",
        "\"firing\"",
        "\"resolved\"",
        "\"info\"",
        "\"warning\"",
        "\"critical\"",
        "\"label\":null",
        "\"lang\":null",
        "\"value\":null",
        "\"ends_at\":null",
        "\"fired_at\":null",
        "\"dispersion\":null",
        "\"key\":null",
    ] {
        assert!(all.contains(value), "{value}");
    }
}

#[test]
fn the_list_of_topics_names_every_topic_and_every_schema() {
    let text = std::fs::read_to_string(root().join("topics.toml")).unwrap();
    let list: toml::Table = text.parse().unwrap();
    let topics = list["topic"].as_array().unwrap();
    let listed = |key: &str| -> BTreeSet<String> {
        let values = topics.iter().flat_map(|topic| match &topic[key] {
            toml::Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        });
        values.map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("schemas"), EVENTS.iter().map(|event| (*event).to_owned()).collect());
    let ours = Topics::of("market");
    let names = [ours.scored, ours.mentions, ours.index, ours.alerts, ours.dead_letters, ours.labels];
    let mut expected: BTreeSet<String> =
        names.iter().map(|name| name.trim_start_matches("market.").to_owned()).collect();
    expected.insert("posts.*".to_owned());
    assert_eq!(listed("name"), expected);
    let files = std::fs::read_dir(root())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".v1.schema.json"));
    assert_eq!(files.count(), EVENTS.len());
}
