//! The replay on the in-process log: each letter that can be read now comes back once, whatever ends a replay.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::marks::STRETCHES_MAX;
use super::*;
use crate::codec::{Envelope, FieldMap, LetterRecord, SourceSettings, read_letter};
use crate::event::{DeadLetter, Origin, Reason};
use crate::kafka::KafkaSettings;
use crate::memory::{Call, Log, Script, Scripted, Transactions};
use crate::model::Task;
use crate::pipeline::dice::Dice;
use crate::pipeline::score::read_post;
use crate::pipeline::{DeadLetterLimit, Settings, Topics};
use crate::stream::{Fault, Headers, Partition, Position, Record, Transaction};
use crate::time::{ManualClock, Timestamp};

const POSTS: &str = "posts";
const LETTERS: i64 = 40;

fn settings() -> Settings {
    // The mended mapping: the text stands at /body.
    let fields = FieldMap { text: vec!["/body".to_owned()], ..FieldMap::default() };
    Settings {
        name: Arc::from("test"),
        kafka: KafkaSettings::default(),
        sources: vec![SourceSettings { topic: Arc::from(POSTS), kind: Arc::from("news"), fields }],
        model: crate::model::ModelSettings::default(),
        instruments: None::<PathBuf>,
        index: crate::window::IndexSettings::default(),
        rules: Vec::new(),
        archive: crate::archive::ArchiveSettings::default(),
        sample: crate::sample::Policy::All,
        dead_letters: DeadLetterLimit::default(),
        web: crate::web::WebSettings::default(),
        log: crate::telemetry::LogSettings::default(),
        tick_interval: std::time::Duration::from_secs(5),
        grace: std::time::Duration::from_secs(30),
    }
}

/// What labels may answer.
fn tasks() -> Arc<[Task]> {
    [Task::plain("sentiment", &["negative", "positive"])].into()
}

/// What stands in the letter of the record at an offset: the mended mapping reads the even ones.
fn value(offset: i64) -> String {
    format!("{{\"{}\":\"told {offset}\"}}", if offset % 2 == 0 { "body" } else { "corpus" })
}

fn letter(offset: i64, reason: Reason) -> DeadLetter {
    let record = Record {
        partition: Partition::new(&Arc::from(POSTS), i32::try_from(offset % 3).unwrap()),
        offset,
        appended_at: Timestamp::default(),
        key: Some(Bytes::from(format!("k{offset}"))),
        value: Some(Bytes::from(value(offset))),
        headers: [("feed", Some("seven"))].into_iter().collect(),
    };
    DeadLetter { record, stage: "score", reason, message: "field text is missing".to_owned() }
}

fn on_log(log: &Log, letter: &DeadLetter, value_bytes_max: usize) {
    let envelope = Envelope { source: Arc::from("bellwether/test") };
    let partition = (letter.record.offset % 2) as i32;
    let output = envelope.dead_letter(letter, value_bytes_max).to(&Topics::of("test").dead_letters, partition);
    log.append(&output, Timestamp::from_millis(letter.record.offset)).unwrap();
}

/// Two partitions of posts (there were three once) and of letters.
fn empty() -> Log {
    let log = Log::new();
    log.create(&Arc::from(POSTS), 2);
    log.create(&Topics::of("test").dead_letters, 2);
    log
}

fn letters() -> Log {
    let log = empty();
    for offset in 0..LETTERS {
        on_log(&log, &letter(offset, Reason::MissingField), 1_000);
    }
    log
}

fn all(log: &Log, topic: &Arc<str>) -> Vec<Record> {
    log.partitions(topic).iter().flat_map(|at| log.read(at, Position::at(0), usize::MAX)).collect()
}

fn replayer(filter: LetterFilter) -> Replayer {
    Replayer::new(&settings(), tasks(), filter, BTreeMap::from([(Arc::from(POSTS), 2)]))
}

/// One replay by one process; `poll` records between two looks at the log stand for how far it comes.
fn once(log: &Log, script: &Script, filter: LetterFilter) -> Result<BTreeMap<&'static str, u64>, ReplayError> {
    once_at(log, script, filter, Timestamp::default())
}

fn once_at(
    log: &Log,
    script: &Script,
    filter: LetterFilter,
    moment: Timestamp,
) -> Result<BTreeMap<&'static str, u64>, ReplayError> {
    let clock = Arc::new(ManualClock::new(moment));
    let mut port =
        Transactions::new(log.clone(), Arc::from("nobody"), "test.dead-letters", clock.clone(), script.clone());
    let mut replayer = replayer(filter);
    let topic = Topics::of("test").dead_letters;
    let mut sweep =
        |take: &mut dyn FnMut(&Record) -> Result<(), ReplayError>| all(log, &topic).iter().try_for_each(take);
    replay(&mut replayer, &mut sweep, Some(&mut port), &*clock, &mut |_, _| ())?;
    Ok(replayer.counts().clone())
}

/// The offsets that the replayed records say they had, sorted, and how many marks there are.
fn sent(log: &Log) -> (Vec<i64>, usize) {
    let origin = |record: &Record| {
        let from = record.headers.get("bellwether.replayed").unwrap();
        String::from_utf8_lossy(from).rsplit('+').next().unwrap().parse().unwrap()
    };
    let mut offsets: Vec<i64> = all(log, &Arc::from(POSTS)).iter().map(origin).collect();
    offsets.sort_unstable();
    let topic = Topics::of("test").dead_letters;
    let marks = all(log, &topic).iter().filter(|record| matches!(read_letter(record), LetterRecord::Replay(_))).count();
    (offsets, marks)
}

fn even() -> Vec<i64> {
    (0..LETTERS).step_by(2).collect()
}

#[test]
fn what_a_mended_mapping_reads_is_sent_to_where_it_came_from_once() {
    let log = letters();
    let first = once(&log, &Script::default(), LetterFilter::default()).unwrap();
    assert_eq!(first, BTreeMap::from([("readable", 20), ("refused", 20)]));
    assert_eq!(sent(&log), (even(), 20));
    for record in all(&log, &Arc::from(POSTS)) {
        let origin = String::from_utf8_lossy(record.headers.get("bellwether.replayed").unwrap()).into_owned();
        let offset: i64 = origin.rsplit('+').next().unwrap().parse().unwrap();
        let came = letter(offset, Reason::MissingField).record;
        assert_eq!(origin, format!("posts+{}+{offset}", came.partition.number));
        assert_eq!((&record.key, &record.value), (&came.key, &came.value));
        assert!(record.headers.iter().take(1).eq(&came.headers) && record.headers.len() == 2, "{:?}", record.headers);
        // The third partition is gone: then the key decides.
        let there = came.partition.number < 2;
        assert!(!there || record.partition == came.partition, "{origin} went to {}", record.partition);
    }
    let second = once(&log, &Script::default(), LetterFilter::default()).unwrap();
    assert_eq!(second, BTreeMap::from([("replayed", 20), ("refused", 20)]));
    assert_eq!(sent(&log), (even(), 20));
}

#[test]
fn what_is_sent_again_is_of_that_moment_and_a_new_letter_where_it_cannot_be_read_once_more() {
    let (log, moment) = (empty(), Timestamp::from_millis(5_000));
    on_log(&log, &letter(1_000, Reason::MissingField), 1_000);
    once_at(&log, &Script::default(), LetterFilter::default(), moment).unwrap();
    let again = all(&log, &Arc::from(POSTS)).remove(0);
    let post = read_post(&again, &settings().sources, 1_000).unwrap();
    assert!(post.appended_at >= moment, "{}", post.appended_at);
    assert_eq!((post.published_at, post.revision), (post.appended_at, post.appended_at));
    // Whoever reads it by another mapping makes a letter of it, which has no mark.
    on_log(&log, &DeadLetter { record: again.clone(), ..letter(1_000, Reason::MissingField) }, 1_000);
    let counts = once(&log, &Script::default(), LetterFilter::default()).unwrap();
    assert_eq!(counts, BTreeMap::from([("readable", 1), ("replayed", 1)]));
    let second = all(&log, &Arc::from(POSTS)).remove(1);
    let last = second.headers.iter().filter(|(name, _)| *name == "bellwether.replayed").last().unwrap();
    assert_eq!(last.1, Some(format!("{}+{}+{}", POSTS, again.partition.number, again.offset).as_bytes()));
}

#[test]
fn a_cut_letter_is_never_sent_and_one_the_model_failed_on_only_when_it_is_asked_for() {
    let log = empty();
    on_log(&log, &letter(0, Reason::TooLarge), 4);
    on_log(&log, &letter(2, Reason::NotScorable), 1_000);
    let all = once(&log, &Script::default(), LetterFilter::default()).unwrap();
    assert_eq!(all, BTreeMap::from([("cut", 1), ("not_scorable", 1)]));
    let asked = LetterFilter { reasons: vec![Reason::NotScorable, Reason::TooLarge], ..LetterFilter::default() };
    assert_eq!(once(&log, &Script::default(), asked).unwrap(), BTreeMap::from([("cut", 1), ("readable", 1)]));
    assert_eq!(sent(&log), (vec![2], 1));
}

#[test]
fn a_label_that_no_task_has_is_not_sent_round_in_a_circle() {
    let log = empty();
    let desk = Desk::new(&settings(), tasks());
    let of = |class: &str| {
        let value = format!(
            r#"{{"post_id": "p", "task": "sentiment", "label": "{class}", "annotator": "kim", "at": "2026-03-02T13:30:00Z"}}"#
        );
        let of_posts = letter(0, Reason::InvalidField);
        let partition = Partition::new(&Topics::of("test").labels, 0);
        let record = Record { partition, value: Some(value.into()), ..of_posts.record };
        DeadLetter { record, stage: "archive", ..of_posts }
    };
    for class in ["angry", "negative"] {
        on_log(&log, &of(class), 1_000);
    }
    let outlooks: Vec<Outlook> = all(&log, &Topics::of("test").dead_letters)
        .iter()
        .map(|record| match read_letter(record) {
            LetterRecord::Letter(letter) => desk.outlook(&letter),
            other => panic!("{other:?}"),
        })
        .collect();
    let refused = "sentiment has no class \"angry\"; it has negative, positive".to_owned();
    assert_eq!(outlooks, [Outlook::Refused(Reason::InvalidField, refused), Outlook::Readable]);
}

#[test]
fn a_letter_that_stands_twice_is_sent_once_and_what_is_no_letter_is_looked_past() {
    let log = empty();
    for _ in 0..2 {
        on_log(&log, &letter(4, Reason::MissingField), 1_000);
    }
    let stranger = crate::stream::Output {
        topic: Topics::of("test").dead_letters,
        partition: 0,
        key: None,
        value: Some(Bytes::from_static(b"somebody else's")),
        headers: Headers::new(),
    };
    log.append(&stranger, Timestamp::default()).unwrap();
    let counts = once(&log, &Script::default(), LetterFilter::default()).unwrap();
    assert_eq!(counts, BTreeMap::from([("foreign", 1), ("readable", 1), ("replayed", 1)]));
    assert_eq!(sent(&log), (vec![4], 1));
}

#[test]
fn a_filter_takes_reasons_topics_and_times() {
    let log = letters();
    let filter = LetterFilter {
        since: Some(Timestamp::from_millis(10)),
        until: Some(Timestamp::from_millis(14)),
        topics: vec![Arc::from(POSTS)],
        reasons: vec![Reason::MissingField],
    };
    once(&log, &Script::default(), filter.clone()).unwrap();
    assert_eq!(sent(&log).0, [10, 12]);
    for other in [
        LetterFilter { reasons: vec![Reason::Malformed], ..LetterFilter::default() },
        LetterFilter { topics: vec![Arc::from("others")], ..LetterFilter::default() },
    ] {
        assert_eq!(once(&log, &Script::default(), other).unwrap(), BTreeMap::new());
    }
}

/// A fault of a transaction; an outcome that is unknown may be either.
fn fault(dice: &mut Dice) -> Scripted {
    let why = || "sim".to_owned();
    let (call, fault) = match dice.below(6) {
        0 => (Call::Produce, Fault::Fatal(why())),
        1 => (Call::Produce, Fault::Abortable(why())),
        2 => (Call::Commit, Fault::Abortable(why())),
        3 => (Call::Begin, Fault::Retriable(why())),
        _ => (Call::Commit, Fault::Unknown(why())),
    };
    let done = matches!(fault, Fault::Unknown(_)) && dice.below(2) == 0;
    Scripted { call, fault, done }
}

#[test]
fn each_letter_is_sent_once_whatever_ends_a_replay() {
    let mut broke_off = 0;
    for seed in 0..300 {
        let (mut dice, log) = (Dice::new(seed), letters());
        for _ in 0..4 {
            let script = Script::default();
            for _ in 0..=dice.below(2) {
                script.push(fault(&mut dice));
            }
            // A part of the letters at a time, so that some are marked before the next fault.
            let until = Timestamp::from_millis(dice.below(LETTERS as usize) as i64);
            let filter = LetterFilter { until: Some(until), ..LetterFilter::default() };
            broke_off += usize::from(once(&log, &script, filter).is_err());
            // What was left open stays open until the next one takes the id.
        }
        once(&log, &Script::default(), LetterFilter::default()).unwrap();
        assert_eq!(sent(&log), (even(), 20), "seed {seed}");
    }
    assert!(broke_off > 300, "only {broke_off} broke off");
}

#[test]
fn a_replay_that_another_one_overtook_sends_nothing_more() {
    let log = letters();
    let clock = Arc::new(ManualClock::default());
    let port = |name: &str| Transactions::new(log.clone(), Arc::from("nobody"), name, clock.clone(), Script::default());
    let mut slow = port("test.dead-letters");
    let topic = Topics::of("test").dead_letters;
    let mut swept = 0;
    let mut sweep = |take: &mut dyn FnMut(&Record) -> Result<(), ReplayError>| {
        let records = all(&log, &topic);
        swept += 1;
        if swept == 2 {
            // It has read the marks; now another one does everything.
            once(&log, &Script::default(), LetterFilter::default()).unwrap();
        }
        records.iter().try_for_each(take)
    };
    let result = replay(
        &mut replayer(LetterFilter::default()),
        &mut sweep,
        Some(&mut slow as &mut dyn Transaction),
        &*clock,
        &mut |_, _| (),
    );
    let why = result.unwrap_err().to_string();
    assert!(why.contains("another producer has this transactional id") && why.contains("run it again"), "{why}");
    assert_eq!(sent(&log), (even(), 20));
}

#[test]
fn a_replay_that_cannot_remember_what_was_sent_sends_nothing() {
    let log = letters();
    once(&log, &Script::default(), LetterFilter::default()).unwrap();
    on_log(&log, &letter(LETTERS, Reason::MissingField), 1_000);
    let topic = Topics::of("test").dead_letters;
    let clock = Arc::new(ManualClock::default());
    let again = |replayer: &mut Replayer| {
        let mut sweep =
            |take: &mut dyn FnMut(&Record) -> Result<(), ReplayError>| all(&log, &topic).iter().try_for_each(take);
        let nobody = Arc::from("nobody");
        let mut port = Transactions::new(log.clone(), nobody, "test.dead-letters", clock.clone(), Script::default());
        replay(replayer, &mut sweep, Some(&mut port), &*clock, &mut |_, _| ())
    };
    let crowd = |replayer: &mut Replayer, count: usize| {
        for number in 0..count as i64 {
            let origin = Origin { topic: Arc::from("others"), partition: 0, offset: 2 * number };
            replayer.desk.replayed(&origin).unwrap();
        }
    };
    // No room for a mark that stands there; and room for those, and none for one more.
    for room in [0, 20] {
        let mut full = replayer(LetterFilter::default());
        crowd(&mut full, STRETCHES_MAX - room);
        let why = again(&mut full).unwrap_err().to_string();
        assert!(why.contains("more than 1000000 stretches") && why.contains("--topic"), "{why}");
        assert_eq!(sent(&log), (even(), 20), "{room}");
    }
    // Marks of other topics take no room where one is named.
    let mut named = replayer(LetterFilter { topics: vec![Arc::from("others")], ..LetterFilter::default() });
    crowd(&mut named, STRETCHES_MAX);
    again(&mut named).unwrap();
    assert_eq!(sent(&log), (even(), 20));
}
