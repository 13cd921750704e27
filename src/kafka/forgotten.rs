//! Positions that the brokers no longer know: they forget those of a group that nobody is in for
//! `offsets.retention.minutes`, and whoever began with the oldest record then would make everything again.

use std::fmt;
use std::sync::Arc;

use crate::kafka::KafkaError;
use crate::kafka::deadline::Deadline;
use crate::kafka::scout::Scout;
use crate::stream::{Partition, Position, Span};

/// Says what a group has made of a partition that it would not find again if it began at this offset; nothing where it
/// would find all of it.
pub(super) type MadeElsewhere = dyn Fn(&Partition, i64) -> Result<Option<String>, String>;

/// Names the place at which a group must have left something where it has a position; nothing where the place is there.
pub(super) type Missing = dyn Fn() -> Option<String>;

/// What a group that has worked before leaves beside its positions.
pub enum Traces {
    /// Nothing that would tell: what is made again is made again.
    None,
    /// Records of these topics, each committed together with a position.
    Records(Vec<Arc<str>>),
    /// Something else.
    Elsewhere {
        /// What it made of a partition.
        made: Box<MadeElsewhere>,
        /// Where that should be.
        missing: Box<Missing>,
    },
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Records(_) => "Records",
            Self::Elsewhere { .. } => "Elsewhere",
        })
    }
}

impl Traces {
    /// Refuses a group without a position that left traces, and one with positions that left none. `inputs` are all
    /// partitions that it reads.
    ///
    /// # Errors
    /// [`KafkaError::Forgotten`], [`KafkaError::Missing`]; whatever asking gave.
    pub(super) fn refuse_forgotten(
        &self,
        (scout, deadline): (&Scout, &Deadline),
        group: &str,
        inputs: &[Partition],
    ) -> Result<(), KafkaError> {
        if matches!(self, Self::None) {
            return Ok(());
        }
        // What is committed so far: a transaction that a dead process left open ends when our own producer begins, later.
        let committed = scout.committed_so_far(inputs, deadline)?;
        let unplaced: Vec<&Partition> =
            inputs.iter().zip(&committed).filter(|(_, committed)| committed.is_none()).map(|(at, _)| at).collect();
        let trace = match self {
            // A group that the brokers know has its positions on inputs that were replaced since.
            Self::Records(topics) if unplaced.len() == inputs.len() && !scout.knows(group, deadline)? => {
                first(topics, scout, deadline)?
            }
            Self::Elsewhere { made, missing } => {
                let is_placed = committed.iter().flatten().any(|position| *position > 0);
                if let Some(place) = missing().filter(|_| is_placed) {
                    return Err(KafkaError::Missing { group: group.to_owned(), place });
                }
                made_of(&unplaced, made, scout, deadline)?
            }
            Self::None | Self::Records(_) => None,
        };
        let Some(trace) = trace else { return Ok(()) };
        // Another process may just have committed for the first time: then its positions are there once that is decided.
        if scout.committed(inputs, deadline)? != committed {
            return Ok(());
        }
        Err(KafkaError::Forgotten { group: group.to_owned(), trace })
    }
}

/// What was made of one of these partitions that whoever begins with its first record would make again.
fn made_of(
    unplaced: &[&Partition],
    made_elsewhere: &MadeElsewhere,
    scout: &Scout,
    deadline: &Deadline,
) -> Result<Option<String>, KafkaError> {
    for at in unplaced {
        let low = scout.bounds(at, deadline)?.low;
        if let Some(made) =
            made_elsewhere(at, low).map_err(|why| KafkaError::refused("looking for earlier work", why))?
        {
            return Ok(Some(made));
        }
    }
    Ok(None)
}

/// The first of these topics that has, or had, a committed record.
fn first(topics: &[Arc<str>], scout: &Scout, deadline: &Deadline) -> Result<Option<String>, KafkaError> {
    for topic in topics {
        for number in 0..i32::try_from(scout.count(topic, deadline)?).unwrap_or(i32::MAX) {
            let at = Partition::new(topic, number);
            let bounds = scout.stable(&at, deadline)?;
            let all = Span { from: Position::at(bounds.low), until: Position::at(bounds.high) };
            // What retention removed counts too: a log of nothing but aborted records is seldom that old.
            if bounds.low > 0 || !scout.read(&at, all, 1, deadline)?.is_empty() {
                return Ok(Some(at.to_string()));
            }
        }
    }
    Ok(None)
}
