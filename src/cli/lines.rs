//! JSON lines as records of an input topic, for `play`, `demo` and `replay`.
//!
//! A line is a record's JSON. `"@topic"` names its input topic and is taken off; without one it goes to the first
//! source that can read it. `"@raw"` stands for a record whose bytes are not JSON: they are its value. A line that is
//! no JSON object at all is an error with its number, because then the file is not what was meant.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::codec::{SourceSettings, decode_post};
use crate::pipeline::PlayRecord;
use crate::stream::{Headers, Partition, Record};
use crate::time::Timestamp;

/// A longer line is an error: it is not a line of JSON.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Later than any post; what keeps it has said no time of its own.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX / 4);

/// A line that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// The file cannot be read.
    #[error("{file}: {source}; give a file of JSON lines, or - for standard input")]
    Unread {
        /// The file, or `standard input`.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{file}:{line}: {message}")]
    Bad {
        /// The file, or `standard input`.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong and what to do.
        message: String,
    },
}

/// The lines of a file as records.
pub(crate) struct Lines<'a> {
    file: String,
    reader: Box<dyn BufRead + Send>,
    line: u64,
    sources: &'a [SourceSettings],
    topic: Option<Arc<str>>,
}

impl<'a> Lines<'a> {
    /// Opens a file, or standard input for `-`. With `topic` every line goes there.
    ///
    /// # Errors
    /// [`LineError::Unread`].
    pub(crate) fn open(path: &Path, sources: &'a [SourceSettings], topic: Option<Arc<str>>) -> Result<Self, LineError> {
        let (file, reader): (String, Box<dyn BufRead + Send>) = if path == Path::new("-") {
            ("standard input".to_owned(), Box::new(std::io::BufReader::new(std::io::stdin())))
        } else {
            let file = path.display().to_string();
            let opened =
                std::fs::File::open(path).map_err(|source| LineError::Unread { file: file.clone(), source })?;
            (file, Box::new(std::io::BufReader::new(opened)))
        };
        Ok(Self { file, reader, line: 0, sources, topic })
    }

    fn bad(&self, message: impl Into<String>) -> LineError {
        LineError::Bad { file: self.file.clone(), line: self.line, message: message.into() }
    }

    fn read(&mut self) -> Result<Option<String>, LineError> {
        loop {
            let mut text = Vec::new();
            let mut limited = std::io::Read::take(&mut self.reader, LINE_BYTES_MAX);
            let unread = |source| LineError::Unread { file: self.file.clone(), source };
            let count = limited.read_until(b'\n', &mut text).map_err(unread)?;
            self.line += 1;
            if count == 0 {
                return Ok(None);
            }
            if u64::try_from(count).unwrap_or(u64::MAX) >= LINE_BYTES_MAX {
                return Err(self.bad(format!("the line is longer than {} MiB", LINE_BYTES_MAX >> 20)));
            }
            let text = String::from_utf8(text).map_err(|_| self.bad("the line is not UTF-8"))?;
            let text = text.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                return Ok(Some(text.to_owned()));
            }
        }
    }

    fn record(&self, text: &str) -> Result<PlayRecord, LineError> {
        let mut object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| self.bad(format!("not a JSON object: {error}; one record a line is expected")))?;
        let named = match object.remove("@topic") {
            None => self.topic.clone(),
            Some(Value::String(topic)) => Some(Arc::from(topic)),
            Some(_) => return Err(self.bad("\"@topic\" is no text")),
        };
        if let Some(topic) = &named
            && !self.sources.iter().any(|source| source.topic == *topic)
        {
            let known: Vec<&str> = self.sources.iter().map(|source| &*source.topic).collect();
            return Err(self.bad(format!("the pipeline reads no topic `{topic}`; it reads {}", known.join(", "))));
        }
        let raw = match object.remove("@raw") {
            None => None,
            Some(Value::String(raw)) => Some(raw),
            Some(_) => return Err(self.bad("\"@raw\" is no text")),
        };
        let value = Bytes::from(raw.unwrap_or_else(|| Value::Object(object).to_string()));
        let (topic, at, key) = self.place(named, &value)?;
        Ok(PlayRecord { topic, key, value, at })
    }

    /// The topic, time and key of a record: of the named source, else of the first that can read it.
    fn place(&self, named: Option<Arc<str>>, value: &Bytes) -> Result<Placed, LineError> {
        let candidates = self.sources.iter().filter(|source| named.as_ref().is_none_or(|topic| source.topic == *topic));
        let mut first = None;
        for source in candidates {
            first.get_or_insert_with(|| source.topic.clone());
            let record = Record {
                partition: Partition::new(&source.topic, 0),
                offset: 0,
                appended_at: NEVER,
                key: None,
                value: Some(value.clone()),
                headers: Headers::new(),
            };
            if let Ok(post) = decode_post(&record, source) {
                let said = [post.published_at, post.revision].into_iter().filter(|at| *at < NEVER).max();
                let own_id = *post.id != *post.origin.to_string();
                let key = own_id.then(|| Bytes::copy_from_slice(post.id.as_bytes()));
                return Ok((source.topic.clone(), said, key));
            }
        }
        first.map(|topic| (topic, None, None)).ok_or_else(|| self.bad("the pipeline has no source"))
    }
}

type Placed = (Arc<str>, Option<Timestamp>, Option<Bytes>);

impl Iterator for Lines<'_> {
    type Item = Result<PlayRecord, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(Some(text)) => Some(self.record(&text)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
