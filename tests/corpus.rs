//! Promise: whatever bytes come in, each record ends as a post or as one dead letter with its bytes untouched.
//!
//! Ten thousand records that nobody meant well, by seed, through the real first stage with a stub model.

use std::sync::Arc;

use bellwether::codec::{Envelope, FieldMap, SourceSettings, decode_mention, decode_scored};
use bellwether::entity::{Instruments, Linker};
use bellwether::model::{Slot, StubScorer};
use bellwether::pipeline::Topics;
use bellwether::pipeline::score::{Preparer, Routes, ScoreNote, finish};
use bellwether::stream::{Intake, Lease, Ledger, Output, Partition, Position, Record, Row};
use bellwether::time::{ManualClock, Timestamp};
use bytes::Bytes;

const RECORDS: i64 = 12_000;
const VALUE_BYTES_MAX: usize = 1 << 20;
/// Records that are read at once.
const POOL: usize = 64;

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.roll() % count as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const SCRIPTS: [&str; 9] = [
    "$AAPL beats \u{202e}sessol\u{202c} on record profit",
    "App\u{200b}le and a\u{200d}\u{200c}\u{feff} merger \u{2066}\u{2069}",
    "👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿🇺🇸🇺 to the moon 🚀🚀🚀 $AAPL",
    "Z̸̡̢̛̗̘̙̜̝a̸l̷g̶o̵ beats",
    "<p><b>Apple &amp;amp;amp; &#x41;&#65;&#x110000;&#0;&bogus; <script>alert(1)</script><!-- never closed",
    "\u{0}\u{1}\u{7f}\u{85}\u{2028}\u{2029} control \r\n\t",
    "ﷺﷺﷺ ｆｕｌｌ ｗｉｄｔｈ Ⅷ ﬁ ſ ẞ İ",
    "https://x.y/?q=$AAPL @nobody #AAPL $ $$ $$$AAPL $a.b.c (NASDAQ: AAPL) (NYSE:) (:AAPL)",
    "苹果公司财报 превысила ожидания أرباح قياسية",
];
const TIMES: [&str; 14] = [
    "\"-0001-01-01T00:00:00Z\"",
    "\"9999-12-31T23:59:59.999999999Z\"",
    "\"+10000-01-01T00:00:00Z\"",
    "\"0000-00-00T00:00:00Z\"",
    "\"2024-02-30T25:61:61Z\"",
    "\"2150-01-01T00:00:00+99:99\"",
    "\"Wed Oct 10 20:19:24 +0000 2018\"",
    "\"Thu, 32 Foo 2018 99:99:99 GMT\"",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "-0.0",
    "\"1700000000\"",
    "true",
];
const TOPS: [&str; 16] = [
    "null",
    "[]",
    "\"text\"",
    "17",
    "{}",
    "{",
    "}",
    "{\"text\":\"a\"}{\"text\":\"b\"}",
    "{\"text\":\"a\"} x",
    "\u{feff}{\"text\":\"a\"}",
    "{'text':'a'}",
    "{\"text\":NaN}",
    "{\"text\":\"\\ud800\"}",
    "{\"text\":\"\\u0000\"}",
    "{\"text\":[\"a\"]}",
    "{\"text\":{\"text\":\"a\"}}",
];

const OVERLONG: [&[u8]; 3] = [&[0xc0, 0x80], &[0xe0, 0x80, 0xaf], &[0xf4, 0x90, 0x80, 0x80]];
/// How Avro, gzip, UTF-16 and UTF-8 with a mark begin.
const MAGIC: [&[u8]; 4] = [&[0, 0, 0, 0, 7], &[0x1f, 0x8b], &[0xff, 0xfe], &[0xef, 0xbb, 0xbf]];

fn json(fields: &str) -> Vec<u8> {
    format!("{{{fields}}}").into_bytes()
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn value(dice: &mut Dice, number: i64) -> Vec<u8> {
    let text = quoted(dice.pick(&SCRIPTS));
    let whole = json(&format!("\"id\":\"c{number}\",\"text\":{text}"));
    match dice.below(24) {
        0 | 1 => whole,
        2 => whole[..dice.below(whole.len())].to_vec(),
        3 => {
            let mut broken = whole;
            let at = dice.below(broken.len());
            broken[at] = dice.pick(&[0xff, 0xc0, 0x80, 0xed, 0xf8, 0x00]);
            broken
        }
        4 => [b"{\"text\":\"".as_slice(), OVERLONG[dice.below(OVERLONG.len())], b"\"}"].concat(),
        5 => {
            let levels = if number % 500 == 0 { 100_000 } else { 200 };
            let (open, close) = dice.pick(&[("[", "]"), ("{\"a\":", "}")]);
            let inside = if dice.below(2) == 0 { "1" } else { "" };
            let deep = format!("{}{inside}{}", open.repeat(levels), close.repeat(dice.below(2) * levels));
            if dice.below(2) == 0 { deep.into_bytes() } else { json(&format!("\"text\":\"x\",\"deep\":{deep}")) }
        }
        6 => json(&format!("\"text\":{text},\"text\":\"again\",\"id\":1,\"id\":\"2\",\"id\":null")),
        7 => {
            let length = if number % 2_000 == 7 { 10 << 20 } else { 1 << dice.below(18) };
            json(&format!(
                "\"text\":{}",
                quoted(&dice.pick(&["a", "é ", "👍", "<b>", "&amp;", "$AAPL "]).repeat(length / 4))
            ))
        }
        8 => json(&format!("\"text\":{text},\"published_at\":{}", dice.pick(&TIMES))),
        9 => json(&format!("\"text\":{text},\"updated_at\":{},\"action\":\"updated\"", dice.pick(&TIMES))),
        10 => Vec::new(),
        11 => {
            let count = if number % 3_000 == 11 { 1_000_000 } else { dice.below(400) };
            json(&format!("\"text\":{text},\"symbols\":[{}]", vec!["\"XNAS:AAPL\""; count.max(1)].join(",")))
        }
        12 => dice.pick(&TOPS).as_bytes().to_vec(),
        13 => (0..dice.below(300)).map(|_| dice.roll() as u8).collect(),
        14 => [MAGIC[dice.below(MAGIC.len())], whole.as_slice()].concat(),
        15 => json(&format!(
            "\"text\":{text},\"action\":{}",
            dice.pick(&["\"deleted\"", "\"DELETED \"", "\"burn\"", "1", "null", "[]"])
        )),
        16 => json(&format!(
            "\"text\":{text},\"id\":{}",
            dice.pick(&["{}", "1e400", "-0", "12345678901234567890123", "\"\"", "\" \"", "1.5"])
        )),
        17 => json(&format!("\"text\":{text},\"id\":\"{}\"", "i".repeat(1 << dice.below(14)))),
        18 => json(&format!("\"text\":{},\"title\":{text}", quoted(&"<div>".repeat(1 << dice.below(14))))),
        19 => json(&format!("\"text\":{}", quoted(&"&lt;&#".repeat(1 << dice.below(14))))),
        20 => json(&format!("\"text\":{text},\"url\":17,\"author\":[],\"lang\":{{}},\"source\":null")),
        21 => json(&format!(
            "\"text\":{text},\"symbols\":{}",
            dice.pick(&["\"A,B,,C\"", "[1,2.5]", "[[]]", "{}", "[null]", "7"])
        )),
        22 => json(&format!("\"text\":{text},\"url\":\"javascript:{}\"", "x".repeat(dice.below(5_000)))),
        _ => json(&format!("\"text\":{text},\"lang\":\"{}\"", "q".repeat(dice.below(600)))),
    }
}

fn record(dice: &mut Dice, number: i64) -> Record {
    let body = value(dice, number);
    let key = match dice.below(4) {
        0 => None,
        1 => Some(Bytes::new()),
        2 => Some(Bytes::from_static(b"\xff\x00\xfe")),
        _ => Some(Bytes::from(format!("c{number}"))),
    };
    let flood = if number % 1_000 == 3 { 10_000 } else { dice.below(3) };
    let names = ["", "traceparent", "__connect.errors.topic", "ce_id", "content-type", "\u{0}"];
    let headers = (0..flood).map(|_| {
        let value = (dice.below(3) > 0)
            .then(|| Bytes::from((0..dice.below(60)).map(|_| dice.roll() as u8).collect::<Vec<_>>()));
        ((dice.pick(&names)).to_owned(), value)
    });
    Record {
        headers: headers.collect(),
        partition: Partition::new(&Arc::from("posts"), 0),
        offset: number * 2,
        appended_at: Timestamp::from_millis(1_772_458_200_000 + number),
        key,
        // A tombstone now and then.
        value: (number % 97 != 5).then(|| Bytes::from(body)),
    }
}

fn stage() -> (Preparer, Routes) {
    let instruments = Instruments::parse("id,name,aliases\nXNAS:AAPL,Apple,\n").unwrap();
    let source = SourceSettings { topic: Arc::from("posts"), kind: Arc::from("news"), fields: FieldMap::default() };
    let preparer = Preparer {
        sources: Arc::from([source]),
        linker: Arc::new(Linker::new(&instruments)),
        slot: Arc::new(Slot::new(Arc::new(StubScorer::new()))),
        value_bytes_max: VALUE_BYTES_MAX,
    };
    let routes = Routes {
        topics: Topics::of("corpus"),
        envelope: Envelope { source: Arc::from("bellwether/corpus") },
        scored: 2,
        mentions: 3,
        dead_letters: 2,
        value_bytes_max: VALUE_BYTES_MAX,
    };
    (preparer, routes)
}

/// A written record as its reader gets it.
fn written(output: &Output) -> Record {
    Record {
        partition: Partition { topic: output.topic.clone(), number: output.partition },
        offset: 0,
        appended_at: Timestamp::default(),
        key: output.key.clone(),
        value: output.value.clone(),
        headers: output.headers.clone(),
    }
}

fn is_post(record: &Record, row: &Row<ScoreNote>) -> bool {
    let place = format!(
        "record {}: {:.200}",
        record.offset,
        String::from_utf8_lossy(record.value.as_deref().unwrap_or_default())
    );
    match &row.note {
        ScoreNote::Scored(_) => {
            let scored =
                decode_scored(&written(&row.outputs[0])).unwrap_or_else(|letter| panic!("{place}: {}", letter.message));
            assert_eq!(scored.origin.offset, record.offset);
            for mention in &row.outputs[1..] {
                decode_mention(&written(mention)).unwrap_or_else(|letter| panic!("{place}: {}", letter.message));
            }
            true
        }
        ScoreNote::Dead(..) => {
            assert_eq!(row.outputs.len(), 1, "{place}");
            let letter = &row.outputs[0];
            assert_eq!(letter.key, record.key, "{place}");
            assert!(letter.headers.starts_with(&record.headers), "{place}");
            let whole = record.value.as_ref().map(|value| value.slice(..value.len().min(VALUE_BYTES_MAX)));
            assert_eq!(letter.value, whole, "{place}");
            false
        }
        ScoreNote::Tick => panic!("{place}: a tick"),
    }
}

#[test]
fn each_record_is_a_post_or_one_dead_letter_with_its_bytes_untouched() {
    let (preparer, routes) = stage();
    let clock = ManualClock::new(Timestamp::from_millis(1_772_458_300_000));
    let lease = Lease::grant(Partition::new(&Arc::from("posts"), 0));
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(lease.clone(), Position::at(0));
    ledger.assign(lease.clone(), Position::at(0));
    let mut dice = Dice(20_260_302);
    let (mut posts, mut letters) = (0, 0);
    for first in (0..RECORDS).step_by(POOL) {
        let records: Vec<Record> =
            (first..RECORDS.min(first + POOL as i64)).map(|number| record(&mut dice, number)).collect();
        let taken = intake.take(&lease, records.clone()).unwrap();
        ledger.add(finish(preparer.prepare(taken.live), &routes, &clock).unwrap()).unwrap();
        let epoch = ledger.close().unwrap();
        let rows: Vec<&Row<ScoreNote>> = epoch.rows().collect();
        assert_eq!(rows.len(), records.len());
        for (record, row) in records.iter().zip(rows) {
            if is_post(record, row) { posts += 1 } else { letters += 1 }
        }
        assert_eq!(epoch.parts()[0].span().until, records.last().unwrap().next());
    }
    assert_eq!(posts + letters, RECORDS);
    assert!(posts > RECORDS / 5 && letters > RECORDS / 5, "{posts} posts, {letters} dead letters");
}
