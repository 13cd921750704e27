//! What is logged, and how.

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Text or JSON, on standard error.
    pub format: LogFormat,
    /// Levels by module, such as `info,bellwether::kafka=debug`.
    pub levels: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, levels: "info".to_owned() }
    }
}
