//! The archive's files as their readers find them: rows, and the spans that they say they cover.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array as _, Float32Array, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::findings::Findings;

/// Cells of a row, in the order in which they were asked for.
pub type Cells = Vec<Option<String>>;

/// What is read of a sample, and of a label.
const SAMPLE: [&str; 4] = ["text", "sentiment_label", "sentiment_confidence", "model_version"];
const LABEL: [&str; 4] = ["post_id", "task", "label", "annotator"];

/// One file of the archive.
#[derive(Debug)]
pub struct Segment {
    /// Topic and partition of the records.
    pub partition: (String, i32),
    pub from: i64,
    pub until: i64,
    pub ids: Vec<String>,
    /// Samples: text, sentiment, its confidence and the model's version. Labels: post, task, class and annotator.
    pub rows: Vec<Cells>,
}

/// Every file of the samples that bears a final name; one that is torn fails the test.
pub fn segments(archive: &Path) -> Vec<Segment> {
    assert!(archive.join("samples").is_dir(), "the archive has samples");
    files(archive.join("samples"), "id", &SAMPLE)
}

/// Likewise of the labels, by the id of their post; none where nobody gave one.
pub fn label_segments(archive: &Path) -> Vec<Segment> {
    files(archive.join("labels"), "post_id", &LABEL)
}

fn files(folder: PathBuf, id: &str, columns: &[&str]) -> Vec<Segment> {
    let mut folders = vec![folder];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.push(segment(&path, id, columns));
            }
        }
    }
    found.sort_by(|one, other| (&one.partition, one.from).cmp(&(&other.partition, other.from)));
    found
}

/// Where two neighbours do not touch, or a partition does not begin with its first record.
pub fn gaps(segments: &[Segment]) -> Findings {
    let mut ends: BTreeMap<&(String, i32), i64> = BTreeMap::new();
    let mut gaps = Findings::default();
    for segment in segments {
        let end = ends.insert(&segment.partition, segment.until).unwrap_or(0);
        if end != segment.from {
            let (topic, partition) = &segment.partition;
            gaps.add_place(
                &(topic.clone(), *partition, end),
                &format!("ends a segment, the next is at {}", segment.from),
            );
        }
    }
    gaps
}

fn segment(path: &Path, id: &str, columns: &[&str]) -> Segment {
    let torn = |error: &dyn std::fmt::Display| -> String { format!("{} is torn: {error}", path.display()) };
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap_or_else(|error| panic!("{}", torn(&error)));
    let notes = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let note = |name: &str| notes.iter().find(|note| note.key == name).and_then(|note| note.value.clone()).unwrap();
    let number = |name: &str| note(name).parse::<i64>().unwrap();
    let (mut ids, mut rows) = (Vec::new(), Vec::new());
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap_or_else(|error| panic!("{}", torn(&error)));
        for row in 0..batch.num_rows() {
            ids.push(cell(&batch, id, row).unwrap());
            rows.push(columns.iter().map(|column| cell(&batch, column, row)).collect());
        }
    }
    Segment {
        partition: (note("bellwether.topic"), number("bellwether.partition").try_into().unwrap()),
        from: number("bellwether.span.from"),
        until: number("bellwether.span.until"),
        ids,
        rows,
    }
}

/// A text, or a number in the shortest form that means it.
fn cell(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(column).unwrap_or_else(|| panic!("no column {column}"));
    if column.is_null(row) {
        return None;
    }
    let of_texts = column.as_any().downcast_ref::<StringArray>().map(|texts| texts.value(row).to_owned());
    let of_numbers = || column.as_any().downcast_ref::<Float32Array>().map(|numbers| numbers.value(row).to_string());
    Some(of_texts.or_else(of_numbers).expect("a column of texts or of numbers"))
}
