//! A disk that fails when it is told to, for the simulation: the real [`Store`] over an object store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Store;

/// How one write goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ailment {
    /// Nothing is written.
    Full,
    /// Half of the file is written.
    Torn,
    /// It is done, and an error is given all the same.
    Unsaid,
    /// It goes well; the one after it does not.
    Well,
}

/// The disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SickDisk {
    files: Arc<InMemory>,
    ailments: Arc<Mutex<VecDeque<Ailment>>>,
    refusals: Arc<AtomicUsize>,
}

/// A published segment as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// `topic+partition`.
    pub(crate) partition: String,
    /// Where its span begins and ends.
    pub(crate) span: Range<i64>,
    /// Its rows.
    pub(crate) rows: Vec<StoredRow>,
}

/// What stands in a row, by column: times as microseconds, probabilities as `label=0.5` each, `-` for nothing.
pub(crate) type StoredRow = BTreeMap<String, String>;

impl SickDisk {
    /// The next write goes wrong like this.
    pub(crate) fn ail(&self, ailment: Ailment) {
        self.ailments.lock().unwrap_or_else(PoisonError::into_inner).push_back(ailment);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.ailments.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How often it has said no.
    pub(crate) fn refusals(&self) -> usize {
        self.refusals.load(Ordering::Relaxed)
    }

    /// An archive on this disk.
    pub(crate) fn store(&self) -> Store {
        Store::over(Arc::new(self.clone()), "the simulated disk".to_owned()).unwrap()
    }

    /// Every published segment.
    pub(crate) fn segments(&self) -> Vec<Stored> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut segments = Vec::new();
            let mut found = self.files.list(None);
            while let Some(meta) = found.next().await {
                let path = meta.unwrap().location;
                if !path.as_ref().starts_with("_tmp") {
                    let file = self.files.get(&path).await.unwrap().bytes().await.unwrap();
                    segments.push(read(&path, file));
                }
            }
            segments
        })
    }

    fn next(&self) -> Option<Ailment> {
        self.ailments.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn full(&self) -> Error {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        Error::Generic { store: "sick", source: "no space is left".into() }
    }
}

fn read(path: &Path, file: Bytes) -> Stored {
    let stem = path.filename().unwrap().strip_suffix(".parquet").unwrap();
    let (partition, from) = stem.rsplit_once('+').unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let notes = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let until = notes.iter().find(|note| note.key == "bellwether.span.until").unwrap().value.clone().unwrap();
    let mut rows = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        rows.extend((0..batch.num_rows()).map(|row| row_of(&batch, row)));
    }
    Stored { partition: partition.to_owned(), span: from.parse().unwrap()..until.parse().unwrap(), rows }
}

fn row_of(batch: &RecordBatch, row: usize) -> StoredRow {
    let schema = batch.schema();
    let named = schema.fields().iter().zip(batch.columns());
    named.map(|(field, column)| (field.name().clone(), cell(column, row))).collect()
}

fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "-".to_owned();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().value(row).to_string()
        }
        DataType::List(_) => {
            let pairs = column.as_list::<i32>().value(row);
            let pairs = pairs.as_struct();
            let pair = |at| format!("{}={}", cell(pairs.column(0), at), cell(pairs.column(1), at));
            (0..pairs.len()).map(pair).collect::<Vec<_>>().join(" ")
        }
        other => panic!("a column of {other}"),
    }
}

impl fmt::Display for SickDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a disk that fails when it is told to")
    }
}

#[async_trait::async_trait]
impl ObjectStore for SickDisk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.next() {
            None | Some(Ailment::Well) => self.files.put_opts(location, payload, options).await,
            Some(Ailment::Full) => Err(self.full()),
            Some(Ailment::Torn) => {
                let whole: Bytes = payload.into();
                let half = whole.slice(..whole.len() / 2);
                self.files.put_opts(location, half.into(), options).await?;
                Err(self.full())
            }
            Some(Ailment::Unsaid) => {
                self.files.put_opts(location, payload, options).await?;
                Err(self.full())
            }
        }
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.next() {
            None | Some(Ailment::Well) => self.files.copy_opts(from, to, options).await,
            // A link is made or it is not: it cannot be torn.
            Some(Ailment::Full | Ailment::Torn) => Err(self.full()),
            Some(Ailment::Unsaid) => {
                self.files.copy_opts(from, to, options).await?;
                Err(self.full())
            }
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await
    }
}
