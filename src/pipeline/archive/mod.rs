//! The archive stage: scored posts and labels to Parquet segments.
//!
//! A segment is published by creating its file only if it is absent; then its end is committed, and never anything
//! else. `core` decides when a segment ends, `work` what of it is kept, and writes it; `challenger` is asked meanwhile.

mod challenger;
mod core;
#[cfg(test)]
mod core_tests;
mod reader;
mod work;

pub use self::core::{ArchiveCore, ArchiveLimits};
pub use challenger::{Challenger, Seat};
pub use work::{ArchiveNote, ArchiveRow, Content, Dataset, Segment, SegmentDone, Worker};
