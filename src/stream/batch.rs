//! A batch: rows with the progress that they stand for.
//!
//! Rows may be mapped, filtered, multiplied or turned into dead letters; the span that they came from stays. There is
//! no way to take the rows and leave the progress: a batch ends in a [`Ledger`](crate::stream::Ledger) or it is lost,
//! and a lost one is found as a gap.

use crate::stream::{Lease, Position, Span};

/// What is done when the rows are done: one lease's span. Not `Clone`, minted only in `stream`.
#[derive(Debug)]
#[must_use = "dropped progress is lost work: reset the partition"]
pub(in crate::stream) struct Progress {
    pub(in crate::stream) lease: Lease,
    pub(in crate::stream) span: Span,
}

/// The rows of one partition.
#[derive(Debug)]
pub(in crate::stream) struct Part<T> {
    pub(in crate::stream) progress: Progress,
    pub(in crate::stream) rows: Vec<T>,
}

/// Rows of any number of partitions, each partition's in order and with its progress.
#[derive(Debug)]
#[must_use = "a dropped batch is lost work: reset its partitions"]
pub struct Batch<T> {
    pub(in crate::stream) parts: Vec<Part<T>>,
}

/// A row that knows the position after it.
pub trait Ends {
    /// The position after it.
    fn next(&self) -> Position;
}

/// A row that knows how much memory it holds.
pub trait Weigh {
    /// Bytes, about.
    fn weight(&self) -> usize;
}

/// Two row counts that must agree do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{given} values were given for {rows} rows")]
pub struct CountMismatch {
    /// Rows in the batch.
    pub rows: usize,
    /// Values that were to be joined to them.
    pub given: usize,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<T> Batch<T> {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }

    /// Whether it has neither rows nor progress.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The rows, to look at.
    pub fn rows(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().flat_map(|part| part.rows.iter())
    }

    /// The leases that the rows were read under.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.parts.iter().map(|part| &part.progress.lease)
    }

    /// Each row becomes another.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Batch<U> {
        self.transform(|rows| rows.into_iter().map(&mut change).collect())
    }

    /// Each partition's rows become others, any number of them.
    pub fn transform<U>(self, mut change: impl FnMut(Vec<T>) -> Vec<U>) -> Batch<U> {
        let parts = self.parts.into_iter();
        Batch { parts: parts.map(|part| Part { progress: part.progress, rows: change(part.rows) }).collect() }
    }

    /// Joins one value to each row, in order.
    ///
    /// # Errors
    /// When there are not as many values as rows; the batch is lost then, and its partitions must be reset.
    pub fn zip<U>(self, values: Vec<U>) -> Result<Batch<(T, U)>, CountMismatch> {
        if values.len() != self.len() {
            return Err(CountMismatch { rows: self.len(), given: values.len() });
        }
        let mut values = values.into_iter();
        Ok(self.transform(|rows| rows.into_iter().zip(values.by_ref()).collect()))
    }

    /// The first `count` rows and the rest, each with its progress: `next` says where a row ends.
    pub fn split_at(self, count: usize) -> (Self, Self)
    where
        T: Ends,
    {
        let (mut head, mut tail) = (Self::default(), Self::default());
        let mut room = count;
        for mut part in self.parts {
            if part.rows.len() <= room && tail.parts.is_empty() {
                room -= part.rows.len();
                head.parts.push(part);
                continue;
            }
            let rest = part.rows.split_off(room.min(part.rows.len()));
            room = 0;
            let Progress { lease, span } = part.progress;
            let cut = part.rows.last().map_or(span.from, Ends::next);
            if !part.rows.is_empty() {
                let progress = Progress { lease: lease.clone(), span: Span { from: span.from, until: cut } };
                head.parts.push(Part { progress, rows: part.rows });
            }
            let progress = Progress { lease, span: Span { from: cut, until: span.until } };
            tail.parts.push(Part { progress, rows: rest });
        }
        (head, tail)
    }

    /// Appends another batch. A part that goes on where one of the same lease ends is joined to it.
    pub fn merge(&mut self, other: Self) {
        for part in other.parts {
            let joined = self.parts.iter_mut().rev().find(|mine| mine.progress.lease == part.progress.lease);
            match joined {
                Some(mine) if mine.progress.span.until == part.progress.span.from => {
                    mine.progress.span.until = part.progress.span.until;
                    mine.rows.extend(part.rows);
                }
                _ => self.parts.push(part),
            }
        }
    }
}
