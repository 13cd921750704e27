//! Positions that the brokers no longer know: they forget those of a group that nobody is in for
//! `offsets.retention.minutes`, and whoever began with the oldest record then would make everything again.

use std::fmt;
use std::sync::Arc;

use crate::kafka::KafkaError;
use crate::kafka::deadline::Deadline;
use crate::kafka::scout::Scout;
use crate::stream::{Partition, Position, Span};

/// Says what a group has made of what stands before an offset of a partition; nothing where it made nothing of it.
pub type MadeBefore = dyn Fn(&Partition, i64) -> Result<Option<String>, String>;

/// What a group that has worked before leaves beside its positions.
#[derive(Default)]
pub enum Traces {
    /// Nothing that would tell: what is made again is made again.
    #[default]
    None,
    /// Records of these topics, each committed together with a position.
    Records(Vec<Arc<str>>),
    /// Something else.
    Elsewhere(Box<MadeBefore>),
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Records(_) => "Records",
            Self::Elsewhere(_) => "Elsewhere",
        })
    }
}

impl Traces {
    /// Refuses a group without a position that left traces. `inputs` are all partitions that it reads.
    ///
    /// # Errors
    /// [`KafkaError::Forgotten`]; whatever asking gave.
    pub(super) fn refuse_forgotten(
        &self,
        (scout, deadline): (&Scout, &Deadline),
        group: &str,
        inputs: &[Partition],
    ) -> Result<(), KafkaError> {
        let found = match self {
            Self::None => None,
            Self::Records(topics) => {
                let is_new = || -> Result<bool, KafkaError> {
                    Ok(scout.committed(inputs, deadline)?.iter().all(Option::is_none))
                };
                let trace = if is_new()? { first(topics, scout, deadline)? } else { None };
                // Asked once more behind the trace: another process may just have begun.
                if trace.is_some() && is_new()? { trace } else { None }
            }
            Self::Elsewhere(made_before) => {
                let committed = scout.committed(inputs, deadline)?;
                let unplaced = inputs.iter().zip(committed).filter(|(_, committed)| committed.is_none());
                let mut found = None;
                for (at, _) in unplaced {
                    let low = scout.bounds(at, deadline)?.low;
                    let asked = if low > 0 { made_before(at, low) } else { Ok(None) };
                    found = found.or(asked.map_err(|why| KafkaError::refused("looking for earlier work", why))?);
                }
                found
            }
        };
        found.map_or(Ok(()), |trace| Err(KafkaError::Forgotten { group: group.to_owned(), trace }))
    }
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
