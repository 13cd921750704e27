//! Log lines on standard error, as text or JSON, with levels by module.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::telemetry::{LogFormat, LogSettings};

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The levels cannot be read.
    #[error("`{levels}` are no log levels: {reason}; write them as `info,bellwether::kafka=debug`")]
    Levels {
        /// As given.
        levels: String,
        /// What is wrong.
        reason: String,
    },
    /// Somebody else set it up already.
    #[error("logging is set up already")]
    Twice,
}

/// Sets up logging for the whole process.
///
/// # Errors
/// When the levels cannot be read, or when it is called twice.
pub fn init_logs(settings: &LogSettings) -> Result<(), LogsError> {
    let filter = EnvFilter::try_new(&settings.levels)
        .map_err(|error| LogsError::Levels { levels: settings.levels.clone(), reason: error.to_string() })?;
    let lines = fmt().with_env_filter(filter).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|_| LogsError::Twice)
}
