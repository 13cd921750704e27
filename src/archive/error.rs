//! What can go wrong with the archive, and what to do about it.

use std::io::ErrorKind;

use parquet::errors::ParquetError;

/// Why the archive cannot be used, or a segment not be published.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The location is not a URL.
    #[error("`{0}` is not a location: write file:/// and an absolute path, such as file:///var/lib/bellwether")]
    NotALocation(String),
    /// The location is on this machine, but not absolute.
    #[error("`{0}` is not absolute: write three slashes and the whole path, such as file:///var/lib/bellwether")]
    Relative(String),
    /// The location is somewhere that this build cannot write to.
    #[error("`{url}` begins with {scheme}:, which is not supported: use file:///")]
    UnknownScheme {
        /// The whole location.
        url: String,
        /// What it begins with.
        scheme: String,
    },
    /// The folder cannot be made or written.
    #[error("the archive folder {path} cannot be written: make it and give this user the right to write there")]
    NotWritable {
        /// The folder or file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such folder.
    #[error("there is no archive at {0}: run the pipeline first, or correct `archive.url`")]
    NotThere(String),
    /// A folder or file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unread {
        /// The folder or file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// No space is left.
    #[error("no space is left at {path}: free some, or move the archive")]
    Full {
        /// The folder or file.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store does not refuse a name that is taken, so that nothing could be published exactly once.
    #[error(
        "the archive at {0} overwrites a file that is there although asked not to: use a file system with hard links"
    )]
    NotExclusive(String),
    /// A published file cannot be understood.
    #[error("{path} is not a segment of this archive ({why}): move it away")]
    NotASegment {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is nothing to publish: the span holds no position.
    #[error("the span {0} is empty")]
    EmptySpan(String),
    /// The rows could not be made into Parquet.
    #[error("a segment could not be encoded")]
    Encode(#[from] ParquetError),
    /// The columns could not be put together.
    #[error("the columns of a segment could not be put together")]
    Columns(#[from] arrow::error::ArrowError),
    /// Anything else that the store says.
    #[error("the archive failed at {path}: {source}")]
    Store {
        /// The file.
        path: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// The runtime behind the store could not be made.
    #[error("the archive could not be started")]
    Runtime(#[source] std::io::Error),
}

impl ArchiveError {
    /// What the store says of `path`, named for what happened.
    pub(super) fn of_store(path: impl ToString, source: object_store::Error) -> Self {
        let path = path.to_string();
        match io_kind(&source) {
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Self::Full { path, source: Box::new(source) },
            Some(kind @ (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory)) => {
                Self::NotWritable { path, source: std::io::Error::new(kind, source) }
            }
            Some(_) | None => Self::Store { path, source },
        }
    }
}

/// The kind of the operating system's error behind a store's error, if there is one.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}
