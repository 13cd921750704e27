//! Records as a log gives and takes them: bytes, not yet events.

use std::sync::Arc;

use bytes::Bytes;

use crate::stream::{Ends, Headers, Partition, Position, Weigh};
use crate::time::Timestamp;

/// A record that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub partition: Partition,
    /// Its offset there.
    pub offset: i64,
    /// When it was appended (the record's timestamp).
    pub appended_at: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}

impl Record {
    /// The position after it.
    #[must_use]
    pub const fn next(&self) -> Position {
        Position::after(self.offset)
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size(&self) -> usize {
        bytes_of(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

impl Ends for Record {
    fn next(&self) -> Position {
        Self::next(self)
    }
}

/// A record to be written. The partition is decided by us, never by a client's cached metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}

impl Output {
    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size(&self) -> usize {
        bytes_of(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

fn bytes_of(key: Option<&Bytes>, value: Option<&Bytes>, headers: &Headers) -> usize {
    let bytes = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
    headers.size() + bytes(key) + bytes(value)
}

/// What one input row caused: its outputs, and a note for whoever watches commits (metrics, the tape). A note is not
/// part of the guarantee.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<N> {
    /// Written with the row's progress, or not at all.
    pub outputs: Vec<Output>,
    /// For the witness.
    pub note: N,
}

impl<N> Weigh for Row<N> {
    /// What its outputs take. A note is made of the same texts, so it is counted as much again.
    fn weight(&self) -> usize {
        2 * self.outputs.iter().map(|output| size_of::<Output>() + output.size()).sum::<usize>()
    }
}

impl Weigh for Record {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.size()
    }
}
