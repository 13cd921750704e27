//! The archive's files as their readers find them: rows by id, and the spans that they say they cover.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::StringArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// One file of the archive.
#[derive(Debug)]
pub struct Segment {
    /// Topic and partition of the records.
    pub partition: (String, i32),
    pub from: i64,
    pub until: i64,
    pub ids: Vec<String>,
}

/// Every file of the samples that bears a final name; one that is torn fails the test.
pub fn segments(archive: &Path) -> Vec<Segment> {
    assert!(archive.join("samples").is_dir(), "the archive has samples");
    files(archive.join("samples"), "id")
}

/// Likewise of the labels, by the id of their post; none where nobody gave one.
pub fn label_segments(archive: &Path) -> Vec<Segment> {
    files(archive.join("labels"), "post_id")
}

fn files(folder: PathBuf, id: &str) -> Vec<Segment> {
    let mut folders = vec![folder];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.push(segment(&path, id));
            }
        }
    }
    found.sort_by(|one, other| (&one.partition, one.from).cmp(&(&other.partition, other.from)));
    found
}

/// Where two neighbours do not touch, or a partition does not begin with its first record.
pub fn gaps(segments: &[Segment]) -> Vec<String> {
    let mut ends: BTreeMap<&(String, i32), i64> = BTreeMap::new();
    let mut gaps = Vec::new();
    for segment in segments {
        let end = ends.insert(&segment.partition, segment.until).unwrap_or(0);
        if end != segment.from {
            gaps.push(format!("{:?}: a segment ends at {end}, the next begins at {}", segment.partition, segment.from));
        }
    }
    gaps
}

fn segment(path: &Path, id: &str) -> Segment {
    let torn = |error: &dyn std::fmt::Display| -> String { format!("{} is torn: {error}", path.display()) };
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap_or_else(|error| panic!("{}", torn(&error)));
    let notes = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let note = |name: &str| notes.iter().find(|note| note.key == name).and_then(|note| note.value.clone()).unwrap();
    let number = |name: &str| note(name).parse::<i64>().unwrap();
    let mut ids = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap_or_else(|error| panic!("{}", torn(&error)));
        let column: &StringArray = batch.column_by_name(id).unwrap().as_any().downcast_ref().unwrap();
        ids.extend(column.iter().map(|id| id.unwrap().to_owned()));
    }
    Segment {
        partition: (note("bellwether.topic"), number("bellwether.partition").try_into().unwrap()),
        from: number("bellwether.span.from"),
        until: number("bellwether.span.until"),
        ids,
    }
}
