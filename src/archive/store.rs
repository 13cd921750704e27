//! Where segments are put: written aside, synced, then created if absent.
//!
//! `object_store`'s local file system does not sync unless told to (`with_fsync`: the file, its folder and the folders
//! it makes); its create-if-absent is a hard link, which the kernel refuses when the name is taken. Its own files in
//! the making would stand beside the segments, where a reader of the folder trips over one that a crash left behind.
//! So they are made in `_tmp`, on the same file system, and linked from there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::runtime::Runtime;

use crate::archive::{ArchiveError, ArchiveSettings, Published, SegmentName, columns};
use crate::event::{Label, Sample};

const ASIDE: &str = "_tmp";
/// What a crash left in `_tmp` is removed when it is older than this: no segment takes so long to write.
const ABANDONED_AFTER: Duration = Duration::from_secs(3_600);

/// Makes names in `_tmp` unique within the process; another process that has the same makes us take the next.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The archive. Calls block, and must not be made from inside an asynchronous task.
#[derive(Debug)]
pub struct Store {
    /// For messages.
    place: String,
    files: Arc<dyn ObjectStore>,
    runtime: Runtime,
}

impl Store {
    /// Opens the archive, makes its folder where it is missing, and removes what a crash left half written.
    ///
    /// # Errors
    /// A location that cannot be used, or a folder that cannot be written.
    pub fn open(settings: &ArchiveSettings) -> Result<Self, ArchiveError> {
        let root = folder_of(&settings.url)?;
        let not_writable = |source| ArchiveError::NotWritable { path: root.display().to_string(), source };
        std::fs::create_dir_all(root.join(ASIDE)).map_err(not_writable)?;
        let files = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| ArchiveError::of_store(root.display(), source))?
            .with_fsync(true);
        let store = Self::over(Arc::new(files), root.display().to_string())?;
        store.remove_abandoned(&root)?;
        Ok(store)
    }

    /// An archive in any store that can create a file only if it is absent.
    pub(in crate::archive) fn over(files: Arc<dyn ObjectStore>, place: String) -> Result<Self, ArchiveError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(ArchiveError::Runtime)?;
        Ok(Self { place, files, runtime })
    }

    /// Publishes a span of scored posts of which `rows` were kept; none is fine.
    ///
    /// # Errors
    /// When the segment could not be written. Nothing is published then, and it can be tried again.
    pub fn publish_samples(&self, name: &SegmentName, rows: &[&Sample]) -> Result<Published, ArchiveError> {
        self.publish(name, "samples", || columns::samples(rows))
    }

    /// Publishes a span of labels.
    ///
    /// # Errors
    /// When the segment could not be written. Nothing is published then, and it can be tried again.
    pub fn publish_labels(&self, name: &SegmentName, rows: &[&Label]) -> Result<Published, ArchiveError> {
        self.publish(name, "labels", || columns::labels(rows))
    }

    /// Tries whether the archive can be written and refuses a name that is taken.
    ///
    /// # Errors
    /// When it cannot, or does not.
    pub fn probe(&self) -> Result<(), ArchiveError> {
        let aside = self.put_aside("probe", vec![0])?;
        let taken = self.put_aside("probe", vec![1])?;
        let outcome = self.create(&taken, &aside);
        self.remove(&aside);
        self.remove(&taken);
        match outcome {
            Ok(false) => Ok(()),
            Ok(true) => Err(ArchiveError::NotExclusive(self.place.clone())),
            Err(error) => Err(error),
        }
    }

    fn publish(
        &self,
        name: &SegmentName,
        dataset: &str,
        rows: impl FnOnce() -> Result<RecordBatch, arrow::error::ArrowError>,
    ) -> Result<Published, ArchiveError> {
        if name.span.until <= name.span.from {
            return Err(ArchiveError::EmptySpan(name.span.to_string()));
        }
        let path = name.path(dataset);
        if let Some(published) = self.taken(name, &path)? {
            return Ok(published);
        }
        let rows = rows()?;
        let file = name.encode(&rows)?;
        let (rows, bytes) = (rows.num_rows(), file.len() as u64);
        let aside = self.put_aside(&name.stem(), file)?;
        let outcome = self.create(&aside, &path);
        self.remove(&aside);
        if outcome? {
            return Ok(Published { until: name.span.until, rows, bytes, taken: false });
        }
        let missing = || ArchiveError::NotASegment { path: path.to_string(), why: "it is gone again".to_owned() };
        self.taken(name, &path)?.ok_or_else(missing)
    }

    /// What stands under that name already.
    fn taken(&self, name: &SegmentName, path: &Path) -> Result<Option<Published>, ArchiveError> {
        let file = self.runtime.block_on(async { self.files.get(path).await?.bytes().await });
        match file {
            Ok(file) => name.read_taken(path.as_ref(), file).map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(ArchiveError::of_store(path, source)),
        }
    }

    /// Writes and syncs a file in `_tmp` under a name of its own.
    fn put_aside(&self, stem: &str, file: Vec<u8>) -> Result<Path, ArchiveError> {
        let payload = PutPayload::from(file);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = Path::from(format!("{ASIDE}/{stem}.{}.{number}", std::process::id()));
            let put = self.files.put_opts(&path, payload.clone(), PutMode::Create.into());
            match self.runtime.block_on(put) {
                Ok(_) => return Ok(path),
                Err(Error::AlreadyExists { .. }) => {}
                Err(source) => return Err(ArchiveError::of_store(path, source)),
            }
        }
    }

    /// Gives a file in `_tmp` its name, unless that is taken: false.
    fn create(&self, aside: &Path, path: &Path) -> Result<bool, ArchiveError> {
        match self.runtime.block_on(self.files.copy_if_not_exists(aside, path)) {
            Ok(()) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(ArchiveError::of_store(path, source)),
        }
    }

    /// Removes a file in `_tmp`; one that stays is removed by a later [`Store::open`].
    fn remove(&self, aside: &Path) {
        drop(self.runtime.block_on(self.files.delete(aside)));
    }

    /// Removes old files from `_tmp`, by the file system's own clock: that of a file which is written now.
    fn remove_abandoned(&self, root: &std::path::Path) -> Result<(), ArchiveError> {
        let probe = self.put_aside("probe", vec![0])?;
        let folder = root.join(ASIDE);
        let modified = |file: &std::path::Path| file.metadata().and_then(|data| data.modified());
        let now = probe.filename().and_then(|name| modified(&folder.join(name)).ok()).unwrap_or(SystemTime::UNIX_EPOCH);
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let age = modified(&entry.path()).ok().and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
            if age > ABANDONED_AFTER {
                drop(std::fs::remove_file(entry.path()));
            }
        }
        self.remove(&probe);
        Ok(())
    }
}

/// The folder that a location names.
pub(in crate::archive) fn folder_of(location: &str) -> Result<PathBuf, ArchiveError> {
    let not_a_location = || ArchiveError::NotALocation(location.to_owned());
    let url = url::Url::parse(location).map_err(|_| not_a_location())?;
    if url.scheme() != "file" {
        let scheme = url.scheme().to_owned();
        return Err(ArchiveError::UnknownScheme { url: location.to_owned(), scheme });
    }
    // `file:data` and `file://data` parse as /data, or as a host: neither is what was meant.
    if !location.to_ascii_lowercase().starts_with("file:///") {
        return Err(ArchiveError::Relative(location.to_owned()));
    }
    url.to_file_path().map_err(|()| not_a_location())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_location_that_cannot_be_meant_is_refused_with_a_remedy() {
        assert_eq!(folder_of("file:///var/lib/bell%20wether").unwrap(), PathBuf::from("/var/lib/bell wether"));
        for (location, remedy) in [
            ("", "file:///"),
            ("/var/lib/bellwether", "file:///var/lib/bellwether"),
            ("file:archive", "three slashes"),
            ("file://archive/x", "three slashes"),
            ("s3://bucket/x", "not supported"),
        ] {
            let message = folder_of(location).unwrap_err().to_string();
            assert!(message.contains(remedy), "{location}: {message}");
        }
    }
}
