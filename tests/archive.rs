//! The promise of the archive: a segment is published once, and the world's tools read it with the right types.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::AsArray as _;
use bellwether::archive::{ArchiveError, ArchiveSettings, SegmentName, Store, segment_elsewhere};
use bellwether::event::{
    Abstention, Action, Answer, AnswerRecord, Challenge, Label, ModelId, Origin, Sample, ScoredPost, Subject,
    SubjectLink, TopicRecord,
};
use bellwether::stream::{Partition, Position, Span};
use bellwether::time::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};

pub fn store(folder: &Path) -> Store {
    Store::open(&settings(folder)).unwrap()
}

pub fn settings(folder: &Path) -> ArchiveSettings {
    let url = url::Url::from_file_path(folder).unwrap().to_string();
    ArchiveSettings { url, ..ArchiveSettings::default() }
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub fn name(from: i64, until: i64) -> SegmentName {
    SegmentName {
        topic: Arc::from("market.scored"),
        partition: 3,
        span: Span { from: Position::at(from), until: Position::at(until) },
        first_appended_at: at("2026-03-02T13:30:00Z"),
    }
}

pub fn sample(number: i64) -> Sample {
    let sentiment = Answer {
        distribution: vec![("negative".into(), 0.1), ("neutral".into(), 0.2), ("positive".into(), 0.7)],
        abstention: None,
    };
    let topic = Answer {
        distribution: vec![
            ("earnings".into(), 0.4),
            ("macro".into(), 0.3),
            ("merger".into(), 0.2),
            ("other".into(), 0.1),
        ],
        abstention: Some(Abstention::LowConfidence),
    };
    let scored = ScoredPost {
        id: format!("posts.news+0+{number}"),
        post_id: Arc::from(format!("post-{number}")),
        revision: at("2026-03-02T13:29:59.000123Z"),
        action: Action::Created,
        published_at: at("2026-03-02T13:29:58Z"),
        appended_at: at("2026-03-02T13:29:59.000123Z"),
        scored_at: at("2026-03-02T13:30:00Z"),
        text: "Aurora Mills lifts its outlook — “a good year”".to_owned(),
        original_text: (number % 2 == 0).then(|| "<b>Aurora Mills</b> lifts its outlook".to_owned()),
        truncated: false,
        lang: Some("eng".to_owned()),
        declared_lang: Some("en-US".to_owned()),
        source: Arc::from("wire"),
        kind: Arc::from("news"),
        author: None,
        url: Some("https://example.org/1".to_owned()),
        sentiment: AnswerRecord::from(&sentiment),
        topic: TopicRecord::from(&topic),
        subjects: vec![SubjectLink { subject: Subject::parse("XNYS:AUM").unwrap(), relevance: 0.75 }],
        model: ModelId { name: "finance-en".into(), version: "1".into(), variant: "int8".into() },
        origin: Origin { topic: "posts.news".into(), partition: 0, offset: number },
    };
    let (sentiment, topic) = (scored.sentiment.clone(), scored.topic.clone());
    let challenge = (number == 1).then(|| Challenge { version: "2".into(), sentiment, topic });
    Sample { scored, challenge, reason: "hash", probability: 0.25 }
}

/// All files in a folder, by path from there.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned(), path);
            }
        }
    }
    found
}

#[test]
fn a_segment_is_named_by_its_start_says_its_span_and_leaves_nothing_aside() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [sample(7), sample(9)];
    let published = store(folder.path()).publish_samples(&name(7, 12), &[&rows[0], &rows[1]]).unwrap();
    assert_eq!((published.until, published.rows, published.taken), (Position::at(12), 2, false));
    let files = files(folder.path());
    let path = "samples/dt=2026-03-02/market.scored+3+7.parquet";
    assert_eq!(files.keys().collect::<Vec<_>>(), [path]);
    let file = std::fs::File::open(&files[path]).unwrap();
    assert_eq!(file.metadata().unwrap().len(), published.bytes);
    let reader = SerializedFileReader::new(file).unwrap();
    let footer = reader.metadata().file_metadata();
    assert_eq!(footer.num_rows(), 2);
    let notes: BTreeMap<String, String> = footer
        .key_value_metadata()
        .unwrap()
        .iter()
        .filter_map(|note| Some((note.key.clone(), note.value.clone()?)))
        .collect();
    assert_eq!((&*notes["bellwether.span.from"], &*notes["bellwether.span.until"]), ("7", "12"));
}

#[test]
fn a_row_has_the_answers_of_the_challenger_that_was_asked_and_none_where_nobody_was() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, other) = (sample(1), sample(0));
    store(folder.path()).publish_samples(&name(0, 2), &[&other, &asked]).unwrap();
    let file = std::fs::File::open(files(folder.path()).values().next().unwrap()).unwrap();
    let rows = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().next().unwrap().unwrap();
    let odds = |column: &str, row| rows.column_by_name(column).unwrap().as_list::<i32>().value(row);
    for (champion, challenger) in [
        ("sentiment_probabilities", "challenger_sentiment_probabilities"),
        ("topic_probabilities", "challenger_topic_probabilities"),
    ] {
        assert!(!odds(champion, 1).is_empty() && odds(challenger, 0).is_empty(), "{challenger}");
        assert_eq!(odds(champion, 1).as_ref(), odds(challenger, 1).as_ref(), "both say the same in this sample");
    }
}

#[test]
fn whoever_finds_the_name_taken_is_told_the_end_that_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (store(folder.path()), store(folder.path()));
    let row = sample(7);
    let written = first.publish_samples(&name(7, 12), &[&row]).unwrap();
    let found = second.publish_samples(&name(7, 20), &[]).unwrap();
    assert_eq!((found.until, found.rows, found.bytes, found.taken), (Position::at(12), 1, written.bytes, true));
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn of_many_writers_of_one_name_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let publish = |until: i64| {
        let store = store(folder.path());
        let row = sample(until);
        store.publish_samples(&name(0, until), &[&row]).unwrap()
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=8).map(|until| scope.spawn(move || publish(until))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let written: Vec<_> = outcomes.iter().filter(|published| !published.taken).collect();
    assert_eq!(written.len(), 1);
    assert!(outcomes.iter().all(|published| published.until == written[0].until));
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn whoever_begins_where_no_segment_of_a_partition_begins_hears_of_one_that_begins_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let SegmentName { topic, partition, .. } = name(3, 5);
    let at = Partition::new(&topic, partition);
    let elsewhere = |at: &Partition, begin| segment_elsewhere(&settings(folder.path()), at, begin).unwrap();
    assert_eq!(elsewhere(&at, 4), None, "there is none");
    store.publish_samples(&name(3, 5), &[]).unwrap();
    store.publish_samples(&name(5, 9), &[]).unwrap();
    for (begin, is_found) in [(0, true), (3, false), (4, true), (5, false), (9, true)] {
        assert_eq!(elsewhere(&at, begin).is_some(), is_found, "{begin}");
    }
    let another = Partition::new(&topic, partition + 1);
    assert_eq!(elsewhere(&another, 4), None, "that is another partition's");
}

#[test]
fn a_span_without_kept_rows_is_an_empty_file_and_an_empty_span_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert_eq!(store.publish_samples(&name(3, 5), &[]).unwrap().rows, 0);
    assert!(store.publish_samples(&name(3, 9), &[]).unwrap().taken);
    assert!(matches!(store.publish_samples(&name(9, 9), &[]), Err(ArchiveError::EmptySpan(_))));
}

#[test]
fn what_a_crash_left_behind_goes_when_it_is_old_and_readers_never_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let aside = folder.path().join("_tmp");
    std::fs::create_dir(&aside).unwrap();
    let (old, young) = (aside.join("market.scored+3+7.99.0#1"), aside.join("market.scored+3+9.99.1"));
    for torn in [&old, &young] {
        std::fs::write(torn, b"PAR1 torn").unwrap();
    }
    let hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(hours_ago).unwrap();
    let store = store(folder.path());
    store.probe().unwrap();
    assert_eq!(files(folder.path()).keys().collect::<Vec<_>>(), ["_tmp/market.scored+3+9.99.1"]);
}

#[test]
fn an_archive_that_cannot_be_written_is_known_when_it_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("archive");
    std::fs::create_dir(&place).unwrap();
    let store = store(&place);
    store.probe().unwrap();
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::write(&place, b"no folder any more").unwrap();
    store.probe().unwrap_err();
}

#[test]
fn a_file_that_is_no_segment_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let day = folder.path().join("samples/dt=2026-03-02");
    std::fs::create_dir_all(&day).unwrap();
    std::fs::write(day.join("market.scored+3+7.parquet"), b"not a segment").unwrap();
    let error = store.publish_samples(&name(7, 12), &[]).unwrap_err();
    assert!(matches!(&error, ArchiveError::NotASegment { path, .. } if path.ends_with("market.scored+3+7.parquet")));
    assert!(error.to_string().contains("move it away"));
}

#[test]
fn a_place_that_cannot_be_written_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, b"").unwrap();
    let error = Store::open(&settings(&file.join("archive"))).unwrap_err();
    assert!(matches!(error, ArchiveError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("a file/archive"), "{error}");
}

#[test]
fn a_topic_that_was_made_anew_under_its_name_is_never_taken_for_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let rows: Vec<Sample> = (0..5).map(sample).collect();
    store.publish_samples(&name(0, 5), &rows.iter().collect::<Vec<_>>()).unwrap();
    let mut anew = name(0, 3);
    anew.first_appended_at = at("2026-03-02T16:00:00Z");
    let error = store.publish_samples(&anew, &[]).unwrap_err();
    assert!(error.to_string().contains("made anew under the same name"), "{error}");
}

/// Python with pandas, pyarrow and DuckDB reads the hive-partitioned folders; the script fails on a wrong type.
#[test]
fn duckdb_and_pandas_read_the_archive_with_the_right_types() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let rows: Vec<Sample> = (0..5).map(sample).collect();
    store.publish_samples(&name(0, 5), &rows.iter().collect::<Vec<_>>()).unwrap();
    let mut next_day = name(5, 8);
    next_day.first_appended_at = at("2026-03-03T00:00:00Z");
    store.publish_samples(&next_day, &[]).unwrap();
    let label = Label {
        post_id: "post-1".into(),
        task: "sentiment".into(),
        label: "negative".into(),
        annotator: "ana".into(),
        at: at("2026-03-02T15:00:00Z"),
        note: None,
    };
    let labels = SegmentName { topic: "market.labels".into(), partition: 0, ..name(0, 1) };
    store.publish_labels(&labels, &[&label]).unwrap();
    let python = std::env::var("BELLWETHER_TEST_PYTHON").unwrap_or_else(|_| {
        panic!("BELLWETHER_TEST_PYTHON names no Python with duckdb, pandas and pyarrow: run make test")
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive_reader.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
