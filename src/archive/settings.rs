//! Where and how the archive is written.

use std::time::Duration;

/// The archive.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchiveSettings {
    /// `file:///…`; the store must be able to create a file only if it is absent.
    pub url: String,
    /// A segment ends at this many kept rows.
    pub segment_rows: usize,
    /// A segment ends at about this many bytes of text.
    pub segment_bytes: usize,
    /// A segment ends at this age.
    pub segment_age: Duration,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            segment_rows: 100_000,
            segment_bytes: 32 << 20,
            segment_age: Duration::from_secs(300),
        }
    }
}
