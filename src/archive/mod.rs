//! The Parquet archive: samples and labels, one file a span of one partition, each published exactly once.
//!
//! ```text
//! <url>/samples/dt=2026-03-02/market.scored+3+1200.parquet    topic, partition and where its span begins
//! <url>/labels/dt=2026-03-02/market.labels+0+17.parquet
//! <url>/_tmp/                                                 files being written; readers skip names that begin with _
//! ```
//! The name of a file is taken by whoever publishes first; the end of its span stands in the file. Whoever comes later
//! reads that end and goes on from there. This is the adapter for `arrow`, `parquet` and `object_store`.

mod columns;
mod error;
mod reading;
mod segment;
mod settings;
#[cfg(test)]
mod sick;
mod store;

pub use error::ArchiveError;
pub use reading::{ArchivedPost, Odds, Shelf, missing_folder, segment_elsewhere};
pub use segment::{Published, SegmentName};
pub use settings::ArchiveSettings;
#[cfg(test)]
pub(crate) use sick::{Ailment, SickDisk, StoredRow};
pub use store::Store;
