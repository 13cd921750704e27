//! Promise: whatever bytes come in, each record ends as a post or as one dead letter with its bytes untouched.
//!
//! Twelve thousand records that nobody meant well, by seed, through the real first stage with a stub model: every kind of
//! `KINDS` in turn, each with what must become of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether::codec::{Envelope, FieldMap, SourceSettings, decode_mention, decode_scored};
use bellwether::entity::{Instruments, Linker};
use bellwether::event::Reason;
use bellwether::model::{Slot, StubScorer};
use bellwether::pipeline::Topics;
use bellwether::pipeline::score::{Preparer, Routes, ScoreNote, finish};
use bellwether::stream::{Headers, Intake, Lease, Ledger, Output, Partition, Position, Record, Row};
use bellwether::time::{ManualClock, Timestamp};
use bytes::Bytes;

const RECORDS: i64 = 12_000;
/// Records that are read at once.
const POOL: usize = 64;
/// A pool may take so long: a stall is a matter of minutes, a slow machine one of seconds.
const POOL_WITHIN: Duration = Duration::from_secs(60);
/// What one record may become on the log, beyond a copy of itself: mentions of the subjects that a post may have.
const OUTPUT_BYTES_MAX: usize = 512 << 10;

/// What our producers take beyond the largest input.
const RECORD_OVERHEAD: usize = 64 << 10;

/// Splitmix64.
pub struct Dice(pub u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.roll() % count as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
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
/// Times that can be read, those of the far past and future among them.
const GOOD_TIMES: [&str; 9] = [
    "\"9999-12-31T23:59:59.999999999Z\"",
    "\"2150-01-01T00:00:00Z\"",
    "\"0001-01-01T00:00:00Z\"",
    "\"Wed Oct 10 20:19:24 +0000 2018\"",
    "\"Wed, 10 Oct 2018 20:19:24 GMT\"",
    "\"1700000000\"",
    "\"1700000000000.5\"",
    "253402300799",
    "-0.0",
];
const BAD_TIMES: [&str; 12] = [
    "\"-0001-01-01T00:00:00Z\"",
    "\"+10000-01-01T00:00:00Z\"",
    "\"0000-00-00T00:00:00Z\"",
    "\"2024-02-30T25:61:61Z\"",
    "\"2150-01-01T00:00:00+99:99\"",
    "\"Thu, 32 Foo 2018 99:99:99 GMT\"",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "true",
    "{}",
    "\"NaN\"",
];
const NO_OBJECTS: [&str; 12] = [
    "null",
    "[]",
    "\"text\"",
    "17",
    "{",
    "}",
    "",
    " ",
    "{\"text\":\"a\"}{\"text\":\"b\"}",
    "{\"text\":\"a\"} x",
    "\u{feff}{\"text\":\"a\"}",
    "{'text':'a'}",
];
const NO_NUMBERS: [&str; 6] = ["NaN", "Infinity", "-Infinity", "0x10", "1.", "+1"];

const OVERLONG: [&[u8]; 3] = [&[0xc0, 0x80], &[0xe0, 0x80, 0xaf], &[0xf4, 0x90, 0x80, 0x80]];
/// How Avro, gzip, UTF-16 and UTF-8 with a mark begin.
const MAGIC: [&[u8]; 4] = [&[0, 0, 0, 0, 7], &[0x1f, 0x8b], &[0xff, 0xfe], &[0xef, 0xbb, 0xbf]];
/// What else an input topic may carry.
const OTHERS: [(&str, &[u8]); 4] = [
    ("text/xml", b"<?xml version=\"1.0\"?><post><text>Shares rise</text></post>"),
    ("text/csv", b"id,text\n1,Shares rise\n"),
    ("application/x-protobuf", b"\x0a\x03one\x12\x0bShares rise"),
    ("application/x-msgpack", b"\x82\xa2id\xa11\xa4text\xabShares rise"),
];

/// What must become of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    Post,
    Dead,
    /// Either: random bytes and cuts may hit a form that can be read.
    End,
}

type Kind = (&'static str, Must, fn(&mut Dice, i64) -> Vec<u8>);

/// Every kind of record; record `n` is of kind `n` modulo their number.
const KINDS: [Kind; 33] = [
    ("a whole post in every script", Must::Post, whole),
    ("truncated JSON", Must::Dead, |dice, number| {
        let whole = whole(dice, number);
        whole[..dice.below(whole.len())].to_vec()
    }),
    ("a broken byte", Must::End, |dice, number| {
        let mut broken = whole(dice, number);
        let at = dice.below(broken.len());
        broken[at] = dice.pick(&[0xff, 0xc0, 0x80, 0xed, 0xf8, 0x00]);
        broken
    }),
    ("overlong UTF-8", Must::Dead, |dice, _| {
        [b"{\"text\":\"".as_slice(), OVERLONG[dice.below(OVERLONG.len())], b"\"}"].concat()
    }),
    ("lone surrogates", Must::Dead, |dice, _| {
        json(&format!("\"text\":\"{}\"", dice.pick(&["\\ud800", "\\udc00", "\\ud83d x", "\\udfff\\ud800"])))
    }),
    ("deep JSON", Must::Dead, |dice, number| deep(dice, if number % 20 == 0 { 100_000 } else { 200 })),
    ("duplicate keys", Must::Post, |dice, _| {
        json(&format!("\"text\":1,\"text\":{},\"id\":{{}},\"id\":\"2\",\"id\":null", script(dice)))
    }),
    ("a long string", Must::Post, |dice, _| {
        let unit = dice.pick(&["a", "é ", "👍", "<b>", "&amp;", "$AAPL "]);
        json(&format!("\"text\":{}", quoted(&unit.repeat((1 << dice.below(18)) / 4 + 1))))
    }),
    ("a string of 10 MB", Must::Dead, |dice, number| huge(dice, number, 10 << 20)),
    ("numbers as strings", Must::Post, |dice, number| {
        json(&format!(
            "\"text\":{},\"id\":\"00{number}\",\"updated_at\":\"1700000000\",\"author\":17,\"symbols\":[7]",
            script(dice)
        ))
    }),
    ("a number for a text", Must::Dead, |dice, _| {
        json(&format!("\"text\":{}", dice.pick(&["1", "1e400", "true", "[\"a\"]", "{}"])))
    }),
    ("no number", Must::Dead, |dice, _| {
        let field = dice.pick(&["text", "id", "published_at", "elsewhere"]);
        json(&format!("\"text\":\"x\",\"{field}\":{}", dice.pick(&NO_NUMBERS)))
    }),
    ("times near and far", Must::Post, |dice, _| {
        json(&format!("\"text\":{},\"published_at\":{}", script(dice), dice.pick(&GOOD_TIMES)))
    }),
    ("updates at times near and far", Must::Post, |dice, number| {
        let times = dice.pick(&GOOD_TIMES);
        json(&format!("\"id\":{number},\"text\":{},\"updated_at\":{times},\"action\":\"updated\"", script(dice)))
    }),
    ("times that are none", Must::Dead, |dice, _| {
        let field = dice.pick(&["published_at", "updated_at"]);
        json(&format!("\"text\":{},\"{field}\":{}", script(dice), dice.pick(&BAD_TIMES)))
    }),
    ("an empty value", Must::Dead, |_, _| Vec::new()),
    ("many symbols", Must::Post, |dice, _| symbols(dice.below(400) + 1)),
    ("a million symbols", Must::Dead, |_, number| symbols(if number % 8 == 0 { 1_000_000 } else { 100_000 })),
    ("no object", Must::Dead, |dice, _| dice.pick(&NO_OBJECTS).as_bytes().to_vec()),
    ("random bytes", Must::End, |dice, _| (0..dice.below(300)).map(|_| dice.roll() as u8).collect()),
    ("other encodings", Must::Dead, |dice, number| {
        [MAGIC[dice.below(MAGIC.len())], whole(dice, number).as_slice()].concat()
    }),
    ("other content types", Must::Dead, |dice, _| OTHERS[dice.below(OTHERS.len())].1.to_vec()),
    ("actions", Must::Post, |dice, number| {
        let action = dice.pick(&["\"deleted\"", "\"DELETED \"", "\"Updated\"", "null"]);
        json(&format!("\"id\":{number},\"text\":{},\"action\":{action}", script(dice)))
    }),
    ("unknown actions", Must::Dead, |dice, _| {
        json(&format!("\"text\":{},\"action\":{}", script(dice), dice.pick(&["\"burn\"", "1", "[]", "\"\""])))
    }),
    ("odd ids", Must::End, |dice, _| {
        let id = dice.pick(&["{}", "1e400", "-0", "12345678901234567890123", "\"\"", "\" \"", "1.5", "\"\\u0000\""]);
        json(&format!("\"text\":{},\"id\":{id}", script(dice)))
    }),
    ("long ids", Must::End, |dice, _| {
        json(&format!("\"text\":{},\"id\":\"{}\"", script(dice), "i".repeat(1 << dice.below(14))))
    }),
    ("HTML bombs", Must::Post, |dice, _| {
        let unit = dice.pick(&["<div>", "&lt;&#", "<!--", "<a href=\"", "&amp;amp;", "<b><i><u>"]);
        json(&format!("\"text\":{},\"title\":{}", quoted(&unit.repeat(1 << dice.below(14))), script(dice)))
    }),
    ("bidirectional and zero-width", Must::Post, |dice, _| {
        let unit = dice.pick(&["\u{202e}", "\u{200b}", "\u{2066}a", "\u{feff}", "a\u{300}\u{301}\u{302}", "\u{e0041}"]);
        json(&format!("\"text\":{}", quoted(&unit.repeat(1 << dice.below(13)))))
    }),
    ("emoji sequences", Must::Post, |dice, _| {
        let unit = dice.pick(&["👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇺🇸🇺", "👍🏽", "1️⃣", "❤️‍🔥"]);
        json(&format!("\"text\":{}", quoted(&unit.repeat(1 << dice.below(11)))))
    }),
    ("wrong types beside the text", Must::Dead, |dice, _| {
        let wrong =
            dice.pick(&["\"author\":[]", "\"lang\":{}", "\"symbols\":[[]]", "\"symbols\":{}", "\"symbols\":[1,2.5]"]);
        json(&format!("\"text\":{},{wrong}", script(dice)))
    }),
    ("nulls and blanks", Must::Post, |dice, _| {
        let empty = dice.pick(&[
            "\"source\":null",
            "\"lang\":\"\"",
            "\"symbols\":[null,\"\"]",
            "\"symbols\":\"A,B,,C\"",
            "\"url\":\" \"",
        ]);
        json(&format!("\"text\":{},\"published_at\":\" \",{empty}", script(dice)))
    }),
    ("long links and names", Must::Post, |dice, _| {
        let long = "x".repeat(dice.below(5_000));
        json(&format!(
            "\"text\":{},\"url\":\"javascript:{long}\",\"lang\":\"{long}\",\"author\":\"{long}\"",
            script(dice)
        ))
    }),
    ("texts of nothing", Must::Post, |dice, _| {
        json(&format!("\"text\":{}", dice.pick(&["\"\"", "\" \"", "\"\\u0000\"", "\"\\u200b\\u202e\"", "\"<br>\""])))
    }),
];

fn json(fields: &str) -> Vec<u8> {
    format!("{{{fields}}}").into_bytes()
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn script(dice: &mut Dice) -> String {
    quoted(dice.pick(&SCRIPTS))
}

fn whole(dice: &mut Dice, number: i64) -> Vec<u8> {
    json(&format!("\"id\":\"c{number}\",\"text\":{}", script(dice)))
}

fn deep(dice: &mut Dice, levels: usize) -> Vec<u8> {
    let (open, close) = dice.pick(&[("[", "]"), ("{\"a\":", "}")]);
    let closed = dice.below(2) * levels;
    let deep = format!("{}1{}", open.repeat(levels), close.repeat(closed));
    let field = dice.pick(&["deep", "text", "symbols", "id"]);
    if dice.below(3) == 0 { deep.into_bytes() } else { json(&format!("\"text\":\"x\",\"{field}\":{deep}")) }
}

/// Ten megabytes are ten copies of the largest record: a few of them are enough.
fn huge(dice: &mut Dice, number: i64, bytes: usize) -> Vec<u8> {
    let bytes = if number % 40 == 0 { bytes } else { (1 << 20) + 1 };
    let unit = dice.pick(&["a", "é ", "👍", "<b>"]);
    json(&format!("\"text\":{}", quoted(&unit.repeat(bytes / unit.len() + 1))))
}

fn symbols(count: usize) -> Vec<u8> {
    json(&format!("\"text\":\"Shares rise\",\"symbols\":[{}]", vec!["\"XNAS:AAPL\""; count].join(",")))
}

/// A record with a key and headers as hostile as its value.
fn record(dice: &mut Dice, number: i64, offset: i64) -> Record {
    let (name, _, value) = KINDS[kind(number)];
    let body = value(dice, number);
    let key = match dice.below(4) {
        0 => None,
        1 => Some(Bytes::new()),
        2 => Some(Bytes::from_static(b"\xff\x00\xfe")),
        _ => Some(Bytes::from(format!("c{number}"))),
    };
    // Some of the floods are longer than a record may be.
    let flood = match number % 1_000 {
        3 => 10_000,
        503 => 60_000,
        _ => dice.below(3),
    };
    let names = ["", "traceparent", "__connect.errors.topic", "ce_id", "content-type", "bellwether.truncated", "\u{0}"];
    let headers = (0..flood).map(|_| {
        let value = (dice.below(3) > 0)
            .then(|| Bytes::from((0..dice.below(60)).map(|_| dice.roll() as u8).collect::<Vec<_>>()));
        ((dice.pick(&names)).to_owned(), value)
    });
    let mut headers: Headers = headers.collect();
    // What a record says of its bytes is not believed, whichever they are.
    let types = ["application/json", "application/avro", "text/html; charset=utf-16", "", "\u{0}"];
    headers.push("content-type", Some(dice.pick(&types).as_bytes()));
    // A tombstone now and then.
    let is_tombstone = name == "an empty value" && number % 2 == 0;
    Record {
        headers,
        partition: Partition::new(&Arc::from("posts"), 0),
        offset,
        appended_at: Timestamp::from_millis(1_772_458_200_000 + number),
        key,
        value: (!is_tombstone).then(|| Bytes::from(body)),
    }
}

fn kind(number: i64) -> usize {
    number as usize % KINDS.len()
}

/// So many hostile records, without those that a broker would refuse, for a test on a real one.
pub fn records(count: i64) -> Vec<Record> {
    let mut dice = Dice(20_260_303);
    let records = (0..count).map(|number| record(&mut dice, number, number));
    let small = records.filter(|record| record.size() < 1_000_000);
    small
        .map(|record| {
            // The client takes no header whose name has a NUL.
            let headers = record.headers.iter().filter(|(name, _)| !name.contains('\0')).collect();
            Record { headers, ..record }
        })
        .collect()
}

fn stage(value_bytes_max: usize) -> (Preparer, Routes) {
    let instruments = Instruments::parse("id,name,aliases\nXNAS:AAPL,Apple,\n").unwrap();
    let source = SourceSettings { topic: Arc::from("posts"), kind: Arc::from("news"), fields: FieldMap::default() };
    let preparer = Preparer {
        sources: Arc::from([source]),
        linker: Arc::new(Linker::new(&instruments)),
        slot: Arc::new(Slot::new(Arc::new(StubScorer::new()))),
        value_bytes_max,
    };
    let routes = Routes {
        topics: Topics::of("corpus"),
        envelope: Envelope { source: Arc::from("bellwether/corpus") },
        scored: 2,
        mentions: 3,
        dead_letters: 2,
        value_bytes_max,
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

/// Whether a record became a post; else it is one dead letter as it should be.
fn is_post(record: &Record, row: &Row<ScoreNote>, value_bytes_max: usize) -> bool {
    let place = format!(
        "record {}: {:.200}",
        record.offset,
        String::from_utf8_lossy(record.value.as_deref().unwrap_or_default())
    );
    let bytes: usize = row.outputs.iter().map(Output::size).sum();
    assert!(bytes <= record.size() + OUTPUT_BYTES_MAX, "{place}: {bytes} bytes are made of {}", record.size());
    for output in &row.outputs {
        let bytes = output.size() + 10 * output.headers.len();
        assert!(bytes <= value_bytes_max + RECORD_OVERHEAD, "{place}: no producer takes {bytes} bytes");
    }
    match &row.note {
        ScoreNote::Scored(_) => {
            let scored =
                decode_scored(&written(&row.outputs[0])).unwrap_or_else(|letter| panic!("{place}: {}", letter.message));
            assert_eq!(scored.origin.offset, record.offset);
            assert!(scored.published_at <= record.appended_at, "{place}: published in the future");
            for mention in &row.outputs[1..] {
                decode_mention(&written(mention)).unwrap_or_else(|letter| panic!("{place}: {}", letter.message));
            }
            true
        }
        ScoreNote::Dead(reason, message) => {
            assert_eq!(row.outputs.len(), 1, "{place}");
            assert!(!message.is_empty() && *reason != Reason::NotScorable, "{place}: {reason}: {message}");
            let letter = &row.outputs[0];
            assert_eq!(letter.key, record.key, "{place}");
            let left_out = letter.headers.iter().last().filter(|(name, _)| *name == "bellwether.headers-left-out");
            let left_out = left_out
                .map_or(0, |(_, count)| String::from_utf8_lossy(count.unwrap_or_default()).parse::<usize>().unwrap());
            assert!(
                left_out == 0 || record.size() + 10 * record.headers.len() > value_bytes_max,
                "{place}: {left_out}"
            );
            let own = record.headers.len() - left_out;
            assert!(letter.headers.iter().take(own).eq(record.headers.iter().take(own)), "{place}");
            let whole = record.value.as_ref().map(|value| value.slice(..value.len().min(value_bytes_max)));
            assert_eq!(letter.value, whole, "{place}");
            let told = letter.headers.iter().skip(own).find(|(name, _)| *name == "bellwether.truncated");
            let told = told.and_then(|(_, value)| value).map(|value| String::from_utf8_lossy(value).into_owned());
            let length = record.value.as_ref().map_or(0, |value| value.len());
            let cut = (length > value_bytes_max).then(|| length.to_string());
            assert_eq!(told, cut, "{place}: the length of what was cut, and of nothing else");
            false
        }
        ScoreNote::Tick => panic!("{place}: a tick"),
    }
}

/// Runs records through the stage in pools of so many, and shows what each became.
fn run(
    numbers: impl Iterator<Item = i64>,
    pool_posts: usize,
    value_bytes_max: usize,
    mut see: impl FnMut(i64, &Record, &Row<ScoreNote>),
) {
    let (preparer, routes) = stage(value_bytes_max);
    let clock = ManualClock::new(Timestamp::from_millis(1_772_458_300_000));
    let lease = Lease::grant(Partition::new(&Arc::from("posts"), 0));
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(lease.clone(), Position::at(0));
    ledger.assign(lease.clone(), Position::at(0));
    let (mut dice, mut offset) = (Dice(20_260_302), 0);
    let numbers: Vec<i64> = numbers.collect();
    for pool in numbers.chunks(pool_posts) {
        let mut records = Vec::new();
        for number in pool {
            // The markers of transactions and aborted records own offsets beside those of ours.
            offset += 1 + dice.pick(&[0, 0, 0, 1, 2, 40]);
            records.push(record(&mut dice, *number, offset));
        }
        let began = Instant::now();
        let taken = intake.take(&lease, records.clone()).unwrap();
        ledger.add(finish(preparer.prepare(taken.live), &routes, &clock).unwrap()).unwrap();
        assert!(began.elapsed() < POOL_WITHIN, "the pool from {} on took {:?}", pool[0], began.elapsed());
        let epoch = ledger.close().unwrap();
        let rows: Vec<&Row<ScoreNote>> = epoch.rows().collect();
        assert_eq!(rows.len(), records.len());
        for ((number, record), row) in pool.iter().zip(&records).zip(rows) {
            see(*number, record, row);
        }
        assert_eq!(epoch.parts()[0].span().until, records.last().unwrap().next());
    }
}

/// Per kind how many records became posts and how many dead letters.
fn count(numbers: impl Iterator<Item = i64>, value_bytes_max: usize) -> BTreeMap<usize, (i64, i64)> {
    let mut ends: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
    run(numbers, POOL, value_bytes_max, |number, record, row| {
        let end = ends.entry(kind(number)).or_default();
        if is_post(record, row, value_bytes_max) { end.0 += 1 } else { end.1 += 1 }
    });
    ends
}

#[test]
fn each_record_is_a_post_or_one_dead_letter_with_its_bytes_untouched() {
    let ends = count(0..RECORDS, 1 << 20);
    assert_eq!(ends.len(), KINDS.len());
    let sum = |of: fn(&(i64, i64)) -> i64| ends.values().map(of).sum::<i64>();
    let (posts, letters) = (sum(|end| end.0), sum(|end| end.1));
    assert_eq!(posts + letters, RECORDS);
    for ((name, must, _), (posts, letters)) in KINDS.iter().zip(ends.values()) {
        assert!(posts + letters >= RECORDS / KINDS.len() as i64, "{name}");
        match must {
            Must::Post => assert_eq!(*letters, 0, "{name}"),
            Must::Dead => assert_eq!(*posts, 0, "{name}"),
            Must::End => assert!(*letters > 0, "{name}: {posts} posts, no dead letter"),
        }
    }
    assert!(posts > RECORDS / 3 && letters > RECORDS / 3, "{posts} posts, {letters} dead letters");
}

#[test]
fn a_pipeline_that_takes_large_records_reads_ten_megabytes_and_a_million_symbols() {
    let large = |number: &i64| ["a string of 10 MB", "a million symbols"].contains(&KINDS[kind(*number)].0);
    let numbers: Vec<i64> = (0..800).filter(large).collect();
    let ends = count(numbers.iter().copied(), 64 << 20);
    let (posts, letters) = ends.values().fold((0, 0), |sum, end| (sum.0 + end.0, sum.1 + end.1));
    assert_eq!((posts, letters), (numbers.len() as i64, 0));
}

#[test]
fn the_same_records_become_the_same_scored_posts_and_mentions_whatever_shares_their_pool() {
    let outputs = |pool_posts: usize| {
        let mut outputs: Vec<Output> = Vec::new();
        run(0..2_000, pool_posts, 1 << 20, |_, _, row| outputs.extend(row.outputs.iter().cloned()));
        outputs
    };
    let (alone, together) = (outputs(1), outputs(POOL));
    assert!(alone.len() > 3_000, "{} outputs", alone.len());
    assert_eq!(alone.len(), together.len());
    for (one, other) in alone.iter().zip(&together) {
        assert!(one == other, "{one:?}\n{other:?}");
    }
}
