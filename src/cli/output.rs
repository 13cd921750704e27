//! Standard output, buffered. A reader that leaves (`| head`) ends the command quietly.

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write as _};

use serde::Serialize;

use crate::cli::Failure;

/// Standard output.
pub struct Output {
    writer: BufWriter<Stdout>,
}

impl Output {
    /// Takes standard output.
    pub fn new() -> Self {
        Self { writer: BufWriter::with_capacity(1 << 16, io::stdout()) }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// When it cannot be written; silent when the reader has left.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.writer, "{text}").map_err(|error| Failure::output(&error))
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, value).map_err(|error| Failure::output(&error.into()))?;
        self.line("")
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// Hands everything over.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| Failure::output(&error))
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}
