//! The archive stage's work: writing one segment, again and again for a bounded time when the disk refuses.

use std::sync::Arc;
use std::time::Duration;

use crate::archive::{Published, SegmentName, Store};
use crate::event::{Label, Reason, Sample};
use crate::stream::{Closed, Epoch, Output, Partition, Position, Row};
use crate::time::{Clock, Timestamp};

/// How often a segment is tried.
const ATTEMPTS: u32 = 8;

/// One record of the archive's inputs, decoded.
#[derive(Debug)]
pub enum ArchiveRow {
    /// A scored post that is kept.
    Sample(Box<Sample>, Timestamp),
    /// A scored post that is not.
    NotKept(Timestamp),
    /// A label.
    Label(Box<Label>, Timestamp),
    /// A record that cannot be used.
    Dead {
        /// The dead letter.
        output: Box<Output>,
        /// Why.
        reason: Reason,
        /// Why, for a person.
        message: String,
        /// Append time.
        at: Timestamp,
        /// The position after the record.
        next: Position,
    },
}

impl ArchiveRow {
    const fn appended_at(&self) -> Timestamp {
        match self {
            Self::Sample(_, at) | Self::NotKept(at) | Self::Label(_, at) | Self::Dead { at, .. } => *at,
        }
    }
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// Scored posts.
    Samples,
    /// Labels.
    Labels,
}

impl Dataset {
    /// The folder and the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Labels => "labels",
        }
    }
}

/// A segment to be written.
#[derive(Debug)]
pub struct Segment {
    /// What it holds.
    pub dataset: Dataset,
    /// Its rows with their span.
    pub closed: Closed<ArchiveRow>,
}

/// What is said about a committed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveNote {
    /// A segment was published (or had been by another writer).
    Segment {
        /// `samples` or `labels`.
        dataset: &'static str,
        /// Rows kept, by reason.
        kept: Vec<(&'static str, usize)>,
        /// Bytes of the file.
        bytes: u64,
        /// Whether another writer had published it.
        taken: bool,
    },
    /// A record became a dead letter.
    Dead(Reason, String),
}

/// A segment that is published.
#[derive(Debug)]
pub struct SegmentDone {
    closed: Closed<Row<ArchiveNote>>,
    until: Position,
}

impl SegmentDone {
    /// Its partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        self.closed.partition()
    }

    /// Whether another writer decided an end that is not ours.
    #[must_use]
    pub fn ends_elsewhere(&self) -> bool {
        self.until != self.closed.span().until
    }

    /// What is left to commit: its end.
    pub fn into_epoch(self) -> Epoch<Row<ArchiveNote>> {
        self.closed.published(self.until)
    }
}

/// Writes segments.
pub struct Worker {
    /// The archive.
    pub store: Store,
    /// For the waits between attempts.
    pub clock: Arc<dyn Clock>,
    /// Told of each failed attempt.
    pub on_failure: Box<dyn FnMut(&str) + Send>,
}

impl Worker {
    /// Writes a segment.
    ///
    /// # Errors
    /// The reason to halt, when it still fails after all attempts.
    pub fn write(&mut self, segment: Segment) -> Result<SegmentDone, String> {
        let mut wait = Duration::from_millis(250);
        for attempt in 1..=ATTEMPTS {
            match self.publish(&segment) {
                Ok(published) => return Ok(done(segment, &published)),
                Err(why) => {
                    (self.on_failure)(&why);
                    if attempt == ATTEMPTS {
                        return Err(format!("the archive could not be written after {attempt} attempts: {why}"));
                    }
                    self.clock.pause(wait);
                    wait = wait.saturating_mul(2);
                }
            }
        }
        Err("no attempt was made to write a segment".to_owned())
    }

    fn publish(&mut self, segment: &Segment) -> Result<Published, String> {
        let closed = &segment.closed;
        let first_appended_at = closed.rows().first().map_or(Timestamp::default(), ArchiveRow::appended_at);
        let name = SegmentName {
            topic: closed.partition().topic.clone(),
            partition: closed.partition().number,
            span: closed.span(),
            first_appended_at,
        };
        match segment.dataset {
            Dataset::Samples => {
                let rows: Vec<&Sample> = closed
                    .rows()
                    .iter()
                    .filter_map(|row| if let ArchiveRow::Sample(sample, _) = row { Some(&**sample) } else { None })
                    .collect();
                self.store.publish_samples(&name, &rows)
            }
            Dataset::Labels => {
                let rows: Vec<&Label> = closed
                    .rows()
                    .iter()
                    .filter_map(|row| if let ArchiveRow::Label(label, _) = row { Some(&**label) } else { None })
                    .collect();
                self.store.publish_labels(&name, &rows)
            }
        }
        .map_err(|error| error.to_string())
    }
}

fn done(segment: Segment, published: &Published) -> SegmentDone {
    let mut kept: Vec<(&'static str, usize)> = Vec::new();
    if !published.taken {
        for row in segment.closed.rows() {
            let reason = match row {
                ArchiveRow::Sample(sample, _) => sample.reason,
                ArchiveRow::Label(..) => "label",
                ArchiveRow::NotKept(_) | ArchiveRow::Dead { .. } => continue,
            };
            match kept.iter_mut().find(|(name, _)| *name == reason) {
                Some((_, count)) => *count += 1,
                None => kept.push((reason, 1)),
            }
        }
    }
    let note = ArchiveNote::Segment {
        dataset: segment.dataset.as_str(),
        kept,
        bytes: published.bytes,
        taken: published.taken,
    };
    let until = published.until;
    let closed = segment.closed.transform(|rows| {
        let letters = rows.into_iter().filter_map(|row| match row {
            // What lies behind a foreign end is read again: its dead letters are written then.
            ArchiveRow::Dead { output, reason, message, next, .. } if next <= until => {
                Some(Row { outputs: vec![*output], note: ArchiveNote::Dead(reason, message) })
            }
            ArchiveRow::Dead { .. } | ArchiveRow::Sample(..) | ArchiveRow::NotKept(_) | ArchiveRow::Label(..) => None,
        });
        std::iter::once(Row { outputs: Vec::new(), note }).chain(letters).collect()
    });
    SegmentDone { closed, until }
}
