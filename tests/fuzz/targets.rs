//! What is fuzzed: every way in which bytes of others become something of ours. A target takes any bytes; it comes back,
//! and what it made of them keeps the promises that are asserted here.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bellwether::codec::{
    Envelope, FieldMap, LetterRecord, Payload, SYMBOLS_MAX, SourceSettings, TEXT_BYTES_MAX, decode_alert, decode_label,
    decode_mention, decode_post, decode_scored, read_letter,
};
use bellwether::entity::{Instruments, Linker, SUBJECTS_MAX};
use bellwether::event::Replay;
use bellwether::model::Manifest;
use bellwether::stream::{Headers, Partition, Record};
use bellwether::time::Timestamp;
use bellwether::{clean, config};
use bytes::Bytes;

/// A target.
pub type Target = fn(&[u8]);

/// Every target with its name.
pub const ALL: [(&str, Target); 11] = [
    ("post", post),
    ("scored", scored),
    ("mention", mention),
    ("alert", alert),
    ("label", label),
    ("letter", letter),
    ("mapping", mapping),
    ("clean", cleaner),
    ("entity", entity),
    ("pipeline", pipeline),
    ("manifest", manifest),
];

fn record(topic: &str, value: &[u8], headers: Headers) -> Record {
    Record {
        partition: Partition::new(&Arc::from(topic), 0),
        offset: 41,
        appended_at: Timestamp::from_millis(1_772_458_200_000),
        key: None,
        value: Some(Bytes::copy_from_slice(value)),
        headers,
    }
}

fn envelope() -> Envelope {
    Envelope { source: Arc::from("bellwether/fuzz") }
}

/// A record as its reader gets what we wrote.
fn written(payload: Payload) -> Record {
    Record { value: payload.value, key: payload.key, ..record("fuzz", b"", payload.headers) }
}

/// A record that somebody sent: behind a NUL, which no JSON has, stands what its key and the header of its trace are.
fn reads(bytes: &[u8], fields: FieldMap) {
    let source = SourceSettings { topic: Arc::from("posts"), kind: Arc::from("news"), fields };
    let end = bytes.iter().position(|byte| *byte == 0);
    let (value, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let rest = end.map(|_| Bytes::copy_from_slice(&rest[1..]));
    let headers = rest.iter().map(|rest| ("traceparent", Some(rest))).collect();
    let record = Record { key: rest, ..record("posts", value, headers) };
    match decode_post(&record, &source) {
        Ok(post) => {
            assert!(post.text.len() <= TEXT_BYTES_MAX && post.symbols.len() <= SYMBOLS_MAX);
            assert!(post.published_at <= post.appended_at && !post.id.is_empty());
            assert!(post.traceparent.is_none_or(|trace| trace.len() == 55));
        }
        Err(letter) => assert!(letter.record == record && !letter.message.is_empty()),
    }
}

/// A post of our own field names.
fn post(bytes: &[u8]) {
    reads(bytes, FieldMap::default());
}

/// A mapping, and a record that it reads: the pointers stand on the first line, in the order of the fields, divided by
/// blanks; those of one field are divided by commas.
fn mapping(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    let line = String::from_utf8_lossy(line);
    let mut pointers = line.split(' ').map(|field| field.split(',').take(8).map(str::to_owned).collect::<Vec<_>>());
    let mut next =
        |default: &Vec<String>| pointers.next().filter(|all| all[0].starts_with('/')).unwrap_or(default.clone());
    let is = FieldMap::default();
    let fields = FieldMap {
        id: next(&is.id),
        text: next(&is.text),
        published_at: next(&is.published_at),
        updated_at: next(&is.updated_at),
        lang: next(&is.lang),
        source: next(&is.source),
        author: next(&is.author),
        url: next(&is.url),
        symbols: next(&is.symbols),
        action: next(&is.action),
    };
    reads(rest, fields);
}

/// What was read is written, and read again as the same.
macro_rules! round_trip {
    ($bytes:expr, $decode:ident, $write:expr) => {
        match $decode(&record("market.any", $bytes, Headers::new())) {
            Ok(event) => {
                let again = $decode(&written($write(&event)));
                assert!(again.as_ref().ok() == Some(&event), "{event:?}\n{again:?}");
            }
            Err(letter) => assert!(!letter.message.is_empty()),
        }
    };
}

fn scored(bytes: &[u8]) {
    round_trip!(bytes, decode_scored, |event| envelope().scored(event, None));
}

fn mention(bytes: &[u8]) {
    round_trip!(bytes, decode_mention, |event| envelope().mention(event, Timestamp::default(), None));
}

fn alert(bytes: &[u8]) {
    round_trip!(bytes, decode_alert, |event| envelope().alert(event));
}

fn label(bytes: &[u8]) {
    round_trip!(bytes, decode_label, |event| envelope().label(event));
}

/// A record of the dead-letter topic: a line a header, `name: value` or `name`, an empty line, the value.
fn letter(bytes: &[u8]) {
    let mut headers = Headers::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, behind) = (&rest[..end], &rest[end + 1..]);
        rest = behind;
        if line.is_empty() {
            break;
        }
        let colon = line.windows(2).position(|two| two == b": ");
        let name = String::from_utf8_lossy(&line[..colon.unwrap_or(end)]);
        headers.push(&name, colon.map(|colon| &line[colon + 2..]));
    }
    match read_letter(&record("market.dead-letters", rest, headers)) {
        LetterRecord::Letter(letter) => {
            let again = letter.again();
            let own = letter.record.headers.len();
            assert!(again.headers.iter().take(own).eq(&letter.record.headers) && again.value == letter.record.value);
            let mark = Replay::of(letter.origin(), Timestamp::default());
            assert!(read_letter(&written(envelope().replay(&mark))) == LetterRecord::Replay(mark));
        }
        LetterRecord::Replay(replay) => {
            assert!(read_letter(&written(envelope().replay(&replay))) == LetterRecord::Replay(replay));
        }
        LetterRecord::Foreign => {}
    }
}

fn cleaner(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let cleaned = clean::clean(&text);
    assert!(cleaned.chars().count() <= clean::TEXT_CHARS_MAX);
    assert_eq!(clean::clean(&cleaned), cleaned, "cleaning twice changes nothing");
    assert!(clean::excerpt(&cleaned).chars().count() <= clean::EXCERPT_CHARS_MAX);
    let sketch = clean::sketch(&cleaned);
    assert!(clean::likeness(sketch, sketch) >= 1.0);
    let _ = (clean::language(&cleaned), clean::foreign(&cleaned, &["en".to_owned()]));
}

/// A text, and symbols on the lines behind the first; the same bytes as an instruments file.
fn entity(bytes: &[u8]) {
    static LINKER: LazyLock<Linker> = LazyLock::new(|| {
        let csv = "id,name,aliases,common_word,common_name\nXNAS:AAPL,Apple,Apple Computer|Macintosh,false,false\n\
                   XNYS:ALL,Allstate,,true,false\nXNYS:BRK.B,Berkshire Hathaway,,false,false\n\
                   XNYS:TGT,Target,,false,true\n";
        Linker::new(&Instruments::parse(csv).unwrap_or_default())
    });
    let text = String::from_utf8_lossy(bytes);
    let symbols: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    let linked = LINKER.link(&text, &symbols);
    assert!(linked.links.len() <= SUBJECTS_MAX);
    assert!(linked.links.iter().all(|link| (0.0..=1.0).contains(&link.relevance)));
    if let Ok(instruments) = Instruments::parse(&text) {
        let _ = Linker::new(&instruments).link(&text, &symbols);
    }
}

fn pipeline(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match config::load_text(Path::new("/nowhere/fuzz.toml"), &text, []) {
        Ok(loaded) => assert!(!loaded.settings.sources.is_empty() && !loaded.effective.is_empty()),
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|problem| !problem.message.is_empty() && !problem.remedy.is_empty()));
        }
    }
}

fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert!(!manifest.tasks.is_empty() && !manifest.variants.is_empty());
        for task in &manifest.tasks {
            assert_eq!(manifest.task(&task.name), Some(task));
        }
    }
}
