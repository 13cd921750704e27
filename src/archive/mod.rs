//! The room archive.
