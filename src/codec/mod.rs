//! Bytes to events and back: where a bad record becomes a dead letter.

mod settings;

pub use settings::{FieldMap, Pointers, SourceSettings};
