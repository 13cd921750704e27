//! The Parquet archive.

mod settings;

pub use settings::ArchiveSettings;
