//! A segment's name and file: one span of one partition.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::archive::ArchiveError;
use crate::stream::{Position, Span};
use crate::time::Timestamp;

const FROM: &str = "bellwether.span.from";
const UNTIL: &str = "bellwether.span.until";
const FIRST: &str = "bellwether.span.first_appended_at";

/// Which records a segment was made from. Its file is named by where the span begins and filed under the append date of
/// the first record from there on. Both are the same for everyone who begins at that position, since the log does not
/// change: so whoever looks for a file that another has published finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentName {
    /// The input topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// The positions that the segment covers.
    pub span: Span,
    /// When the first record of the span was appended, whether it is kept or not.
    pub first_appended_at: Timestamp,
}

/// A segment that is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where its span ends: the position to commit.
    pub until: Position,
    /// Rows in it.
    pub rows: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whether it was there already: then its rows and its end are those of another writer.
    pub taken: bool,
}

impl SegmentName {
    /// The file's name without folder and ending.
    pub(super) fn stem(&self) -> String {
        format!("{}+{}+{}", self.topic, self.partition, self.span.from)
    }

    /// Where the file stands in the archive.
    pub(super) fn path(&self, dataset: &str) -> object_store::path::Path {
        let date = self.first_appended_at.date();
        object_store::path::Path::from(format!("{dataset}/dt={date}/{}.parquet", self.stem()))
    }

    /// The file: rows, compressed with zstd, and the span.
    pub(super) fn encode(&self, rows: &RecordBatch) -> Result<Vec<u8>, ArchiveError> {
        let note = |name: &str, value: String| KeyValue::new(name.to_owned(), value);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by(format!("bellwether {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(vec![
                note("bellwether.topic", self.topic.to_string()),
                note("bellwether.partition", self.partition.to_string()),
                note(FROM, self.span.from.to_string()),
                note(UNTIL, self.span.until.to_string()),
                note(FIRST, self.first_appended_at.to_string()),
            ]))
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties))?;
        writer.write(rows)?;
        writer.close()?;
        Ok(bytes)
    }

    /// What another writer has published under this name.
    pub(super) fn read_taken(&self, path: &str, file: Bytes) -> Result<Published, ArchiveError> {
        let wrong = |why: String| ArchiveError::NotASegment { path: path.to_owned(), why };
        let bytes = file.len() as u64;
        let reader = SerializedFileReader::new(file).map_err(|error| wrong(error.to_string()))?;
        let footer = reader.metadata().file_metadata();
        let position = |name: &str| {
            let notes = footer.key_value_metadata().into_iter().flatten();
            let value = notes.filter(|note| note.key == name).find_map(|note| note.value.as_deref());
            let value = value.ok_or_else(|| wrong(format!("it does not say {name}")))?;
            value.parse().map(Position::at).map_err(|_| wrong(format!("{name} is `{value}`")))
        };
        let (from, until) = (position(FROM)?, position(UNTIL)?);
        if from != self.span.from || until <= from {
            return Err(wrong(format!("its span is [{from}..{until})")));
        }
        let notes = footer.key_value_metadata().into_iter().flatten();
        let first = notes.filter(|note| note.key == FIRST).find_map(|note| note.value.as_deref());
        let ours = self.first_appended_at.to_string();
        // The log does not change, so this is the archive of a topic that had the name before.
        if let Some(first) = first.filter(|first| *first != ours) {
            return Err(wrong(format!(
                "its first record was appended at {first}, ours at {ours}: the topic was made anew under the same name"
            )));
        }
        let rows = usize::try_from(footer.num_rows()).unwrap_or(0);
        Ok(Published { until, rows, bytes, taken: true })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::archive::columns;

    fn name(from: i64, until: i64) -> SegmentName {
        let span = Span { from: Position::at(from), until: Position::at(until) };
        SegmentName { topic: Arc::from("labels"), partition: 0, span, first_appended_at: Timestamp::from_millis(7) }
    }

    #[test]
    fn a_file_that_begins_elsewhere_or_covers_nothing_is_no_segment_of_that_name() {
        let file = |name: &SegmentName| Bytes::from(name.encode(&columns::labels(&[]).unwrap()).unwrap());
        let taken = name(5, 7).read_taken("it", file(&name(5, 9))).unwrap();
        assert_eq!((taken.until, taken.taken), (Position::at(9), true));
        for (found, span) in [(name(6, 9), "[6..9)"), (name(5, 5), "[5..5)"), (name(5, 4), "[5..4)")] {
            let error = name(5, 7).read_taken("it", file(&found)).unwrap_err().to_string();
            assert!(error.contains(&format!("its span is {span}")), "{error}");
        }
    }
}
