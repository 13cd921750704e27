//! The lines of a file or of standard input for the filters, each with its number, so that a bad one can be named.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use crate::cli::Failure;

/// The longest line that is read: longer than any record that a broker takes by default.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Lines to be read.
pub struct Input {
    name: String,
    reader: BufReader<Box<dyn Read>>,
    number: usize,
    bytes: Vec<u8>,
}

impl Input {
    /// Opens a file; `-` and nothing are standard input.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let (name, reader): (String, Box<dyn Read>) = match path.filter(|path| *path != Path::new("-")) {
            None => ("standard input".to_owned(), Box::new(io::stdin())),
            Some(path) => {
                let name = path.display().to_string();
                let opened = File::open(path).and_then(|file| {
                    let is_folder = file.metadata()?.is_dir();
                    if is_folder { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
                });
                let file = opened.map_err(|error| {
                    Failure::data(format!("{name}: {error}"), "give a file of JSON lines, or - for standard input")
                })?;
                (name, Box::new(file))
            }
        };
        Ok(Self { name, reader: BufReader::with_capacity(1 << 20, reader), number: 0, bytes: Vec::new() })
    }

    /// The next line that is not blank, with its number from 1 and without its end.
    ///
    /// # Errors
    /// When it cannot be read, is not UTF-8 or absurdly long.
    pub fn next_line(&mut self) -> Result<Option<(usize, String)>, Failure> {
        loop {
            self.bytes.clear();
            let read = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.bytes);
            let count = read.map_err(|error| Failure::data(format!("{}: {error}", self.name), "check the input"))?;
            if count == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.bytes.len() as u64 == LINE_BYTES_MAX && self.bytes.last() != Some(&b'\n') {
                return Err(self.bad(self.number, "the line is longer than 64 MiB", "write one JSON object a line"));
            }
            if !self.bytes.trim_ascii().is_empty() {
                break;
            }
        }
        let bytes = self.bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&self.bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some((self.number, text.trim_end_matches(['\n', '\r']).to_owned()))),
            Err(_) => Err(self.bad(self.number, "the line is not UTF-8", "convert the file to UTF-8")),
        }
    }

    /// The path as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a whole line is at hand without waiting for more input.
    pub fn has_more_at_hand(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    /// What is wrong with a line, with its place.
    pub fn bad(&self, number: usize, message: impl AsRef<str>, remedy: &str) -> Failure {
        Failure::data(format!("{}:{number}: {}", self.name, message.as_ref()), remedy)
    }
}
