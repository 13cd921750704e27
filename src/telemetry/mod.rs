//! Logs and metrics: the adapter to `tracing-subscriber` and `prometheus`.

mod logs;
mod metrics;
mod settings;

pub use logs::{LogsError, init_logs};
pub use metrics::Metrics;
pub use settings::{LogFormat, LogSettings};
