//! Logs and metrics.

mod settings;

pub use settings::{LogFormat, LogSettings};
