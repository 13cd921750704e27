//! Segments read back: posts and labels, file by file, some rows at a time, whatever the archive holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{Float32Type, Float64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::archive::store::folder_of;
use crate::archive::{ArchiveError, ArchiveSettings};
use crate::event::Label;
use crate::stream::Partition;
use crate::time::Timestamp;

/// Rows in memory at a time.
const ROWS: usize = 4_096;

/// A class with its calibrated probability.
pub type Odds = Vec<(String, f32)>;

/// What a training set needs of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchivedPost {
    /// The post.
    pub post_id: Arc<str>,
    /// Which state of it: the latest is the one that counts.
    pub revision: Timestamp,
    /// Whether this is its end.
    pub is_deleted: bool,
    /// When it was published.
    pub published_at: Timestamp,
    /// The cleaned text.
    pub text: String,
    /// Its language, ISO 639-1, where it was recognised.
    pub lang: Option<String>,
    /// The source by the pipeline file.
    pub source: String,
    /// `news`, `social` or what the file calls it.
    pub kind: String,
    /// The version of the model that answered.
    pub model_version: String,
    /// What it answered; empty where it was not asked.
    pub sentiment: Odds,
    /// Likewise.
    pub topic: Odds,
    /// Why the post was kept.
    pub reason: String,
    /// With which probability such a post is kept, 0 (exclusive) to 1.
    pub probability: f64,
}

/// The archive as somebody reads it who does not write there.
#[derive(Debug)]
pub struct Shelf {
    root: PathBuf,
}

impl Shelf {
    /// The archive that the settings name.
    ///
    /// # Errors
    /// When the location cannot be used or nothing was archived there yet.
    pub fn open(settings: &ArchiveSettings) -> Result<Self, ArchiveError> {
        let root = folder_of(&settings.url)?;
        if root.join("samples").is_dir() {
            Ok(Self { root })
        } else {
            Err(ArchiveError::NotThere(root.display().to_string()))
        }
    }

    /// Hands every sample over, in the order of the files' names; the files that there are.
    ///
    /// # Errors
    /// At the first file that cannot be read.
    pub fn each_post(&self, mut take: impl FnMut(ArchivedPost)) -> Result<usize, ArchiveError> {
        self.each("samples", |table| {
            let (post_id, text) = (table.text("post_id")?, table.text("text")?);
            let (revision, published_at) = (table.time("revision")?, table.time("published_at")?);
            let (action, lang) = (table.text("action")?, table.maybe_text("lang")?);
            let (source, kind, version) = (table.text("source")?, table.text("kind")?, table.text("model_version")?);
            let (sentiment, topic) = (table.odds("sentiment_probabilities")?, table.odds("topic_probabilities")?);
            let (reason, probability) = (table.text("sample_reason")?, table.number("sample_probability")?);
            for row in 0..table.rows() {
                take(ArchivedPost {
                    post_id: Arc::from(post_id(row)),
                    revision: revision(row),
                    is_deleted: action(row) == "deleted",
                    published_at: published_at(row),
                    text: text(row).to_owned(),
                    lang: lang(row).map(str::to_owned),
                    source: source(row).to_owned(),
                    kind: kind(row).to_owned(),
                    model_version: version(row).to_owned(),
                    sentiment: sentiment(row),
                    topic: topic(row),
                    reason: reason(row).to_owned(),
                    probability: probability(row),
                });
            }
            Ok(())
        })
    }

    /// Hands every label over, likewise.
    ///
    /// # Errors
    /// At the first file that cannot be read.
    pub fn each_label(&self, mut take: impl FnMut(Label)) -> Result<usize, ArchiveError> {
        self.each("labels", |table| {
            let (post_id, task, label) = (table.text("post_id")?, table.text("task")?, table.text("label")?);
            let (annotator, at, note) = (table.text("annotator")?, table.time("at")?, table.maybe_text("note")?);
            for row in 0..table.rows() {
                take(Label {
                    post_id: Arc::from(post_id(row)),
                    task: Arc::from(task(row)),
                    label: Arc::from(label(row)),
                    annotator: Arc::from(annotator(row)),
                    at: at(row),
                    note: note(row).map(str::to_owned),
                });
            }
            Ok(())
        })
    }

    fn each(
        &self,
        dataset: &str,
        mut take: impl FnMut(&Table<'_>) -> Result<(), ArchiveError>,
    ) -> Result<usize, ArchiveError> {
        let files = files(&self.root.join(dataset))?;
        for path in &files {
            let shown = path.display().to_string();
            let wrong = |why: String| ArchiveError::NotASegment { path: shown.clone(), why };
            let file = std::fs::File::open(path).map_err(|source| unread(path, source))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                .and_then(|builder| builder.with_batch_size(ROWS).build())
                .map_err(|error| wrong(error.to_string()))?;
            for batch in reader {
                let batch = batch.map_err(|error| wrong(error.to_string()))?;
                take(&Table { batch: &batch, path: &shown })?;
            }
        }
        Ok(files.len())
    }
}

/// The folder of scored posts, where an archive has none and none of labels either: nothing was published in it yet.
#[must_use]
pub fn missing_folder(settings: &ArchiveSettings) -> Option<PathBuf> {
    let root = folder_of(&settings.url).ok()?;
    let samples = root.join("samples");
    (!samples.is_dir() && !root.join("labels").is_dir()).then_some(samples)
}

/// A segment of a partition of which none begins at this offset; nothing where one does, or there is none.
///
/// # Errors
/// When the archive cannot be listed.
pub fn segment_elsewhere(
    settings: &ArchiveSettings,
    partition: &Partition,
    offset: i64,
) -> Result<Option<PathBuf>, ArchiveError> {
    let root = folder_of(&settings.url)?;
    let stem = format!("{}+{}+", partition.topic, partition.number);
    let begin = |path: &PathBuf| path.file_stem()?.to_str()?.strip_prefix(&stem)?.parse::<i64>().ok();
    let (mut samples, labels) = (files(&root.join("samples"))?, files(&root.join("labels"))?);
    samples.extend(labels);
    samples.retain(|path| begin(path).is_some());
    let is_there = samples.iter().any(|path| begin(path) == Some(offset));
    Ok(samples.pop().filter(|_| !is_there))
}

fn unread(path: &Path, source: std::io::Error) -> ArchiveError {
    ArchiveError::Unread { path: path.display().to_string(), source }
}

/// The segments of a dataset, `dt=…/….parquet`, by name; none where there is no such folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for day in entries(folder)? {
        if day.is_dir() {
            files.extend(entries(&day)?.into_iter().filter(|path| path.extension().is_some_and(|it| it == "parquet")));
        }
    }
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let entries = std::fs::read_dir(folder).map_err(|source| unread(folder, source))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|source| unread(folder, source))).collect()
}

/// Some rows, with columns by name and type.
struct Table<'a> {
    batch: &'a RecordBatch,
    path: &'a str,
}

impl<'a> Table<'a> {
    fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn column(&self, name: &str) -> Result<&'a dyn Array, ArchiveError> {
        let column = self.batch.column_by_name(name).map(AsRef::as_ref);
        column.ok_or_else(|| self.lacks(name, "there is none"))
    }

    fn lacks(&self, name: &str, what: &str) -> ArchiveError {
        ArchiveError::NotASegment { path: self.path.to_owned(), why: format!("column {name}: {what}") }
    }

    fn maybe_text(&self, name: &str) -> Result<impl Fn(usize) -> Option<&'a str> + use<'a>, ArchiveError> {
        let column = self.column(name)?.as_string_opt::<i32>().ok_or_else(|| self.lacks(name, "is no text"))?;
        Ok(move |row| column.is_valid(row).then(|| column.value(row)))
    }

    fn text(&self, name: &str) -> Result<impl Fn(usize) -> &'a str + use<'a>, ArchiveError> {
        let value = self.maybe_text(name)?;
        Ok(move |row| value(row).unwrap_or_default())
    }

    fn time(&self, name: &str) -> Result<impl Fn(usize) -> Timestamp + use<'a>, ArchiveError> {
        let column = self.column(name)?.as_primitive_opt::<TimestampMicrosecondType>();
        let column = column.ok_or_else(|| self.lacks(name, "is no time in microseconds"))?;
        Ok(move |row| Timestamp::from_micros(column.value(row)))
    }

    fn number(&self, name: &str) -> Result<impl Fn(usize) -> f64 + use<'a>, ArchiveError> {
        let column = self.column(name)?.as_primitive_opt::<Float64Type>();
        let column = column.ok_or_else(|| self.lacks(name, "is no number"))?;
        Ok(move |row| column.value(row))
    }

    /// Lists of (label, probability).
    fn odds(&self, name: &str) -> Result<impl Fn(usize) -> Odds + use<'a>, ArchiveError> {
        let lists = self.column(name)?.as_list_opt::<i32>();
        let lists = lists.ok_or_else(|| self.lacks(name, "is no list"))?;
        let odds = |pairs: &StructArray| -> Option<Odds> {
            let labels = pairs.column_by_name("label")?.as_string_opt::<i32>()?;
            let probabilities = pairs.column_by_name("probability")?.as_primitive_opt::<Float32Type>()?;
            Some((0..pairs.len()).map(|at| (labels.value(at).to_owned(), probabilities.value(at))).collect())
        };
        let typed = lists.values().as_struct_opt().and_then(odds).is_some();
        if !typed {
            return Err(self.lacks(name, "holds no pairs of label and probability"));
        }
        Ok(move |row| lists.value(row).as_struct_opt().and_then(odds).unwrap_or_default())
    }
}
