//! Markers that a broker leaves out.
//!
//! Whoever coordinates a transaction ends it with a marker on each of its partitions. Kafka 4.3.1 takes a partition that
//! nobody leads at this moment for one that was deleted, leaves it out, and says that all is done (KAFKA-20734). The
//! records stay undecided there, and the next marker of the same producer decides about them: its next commit would
//! show what was given up, beside the same records written again. So who begins under an id, or has given something up
//! under it, asks each partition that may be concerned whether anything is open there, and lays a marker of its own
//! behind it: a transaction that is made to be aborted.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kafka::client;
use crate::kafka::scout::{Deadline, Scout};
use crate::kafka::{KafkaError, KafkaSettings};
use crate::stream::{Output, Partition, Position};
use crate::time::Clock;

/// Where the transactions of one id may have been: what is looked at before the first of a process.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// A topic whose positions the transactions carry.
    pub input: Option<Arc<str>>,
    /// Every partition that may have been written.
    pub outputs: Vec<Partition>,
}

/// Where one transaction was.
#[derive(Debug, Default)]
struct Trace {
    written: BTreeSet<Partition>,
    /// The positions that it carries.
    positions: Vec<(Partition, Position)>,
    /// Its commit was asked for.
    is_asked: bool,
}

/// Follows the transactions of one id: the present one, and the last one that was committed.
pub(super) struct Markers {
    settings: KafkaSettings,
    group: String,
    clock: Arc<dyn Clock>,
    present: Trace,
    last: Trace,
}

/// What has no marker, or may have none.
#[derive(Debug, Default)]
pub(super) struct Unmarked {
    partitions: Vec<Partition>,
    /// Positions of the group that change nothing, for the partition in which its positions are kept: what is open there
    /// is not told, so a marker is laid whenever positions were sent.
    pub(super) positions: Vec<(Partition, Position)>,
}

impl Unmarked {
    pub(super) const fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.positions.is_empty()
    }

    /// What a transaction that lays markers writes. Nobody reads it but who reads what is not committed.
    pub(super) fn outputs(&self) -> impl Iterator<Item = Output> {
        self.partitions.iter().map(|at| Output {
            topic: at.topic.clone(),
            partition: at.number,
            // A compacted topic takes no record without a key.
            key: Some(bytes::Bytes::from_static(b"void")),
            value: None,
            headers: Vec::new(),
        })
    }
}

impl Markers {
    /// `group` is the one whose positions the transactions carry. The first look is at all of `reach`.
    pub(super) fn new(settings: &KafkaSettings, group: &str, reach: &Reach, clock: &Arc<dyn Clock>) -> Self {
        let written = reach.outputs.iter().cloned().collect();
        let positions = reach.input.iter().map(|topic| (Partition::new(topic, 0), Position::at(0))).collect();
        Self {
            settings: settings.clone(),
            group: group.to_owned(),
            clock: clock.clone(),
            present: Trace { written, positions, is_asked: false },
            last: Trace::default(),
        }
    }

    /// The present transaction writes there.
    pub(super) fn written(&mut self, topic: &Arc<str>, number: i32) {
        let at = Partition::new(topic, number);
        if !self.present.written.contains(&at) {
            self.present.written.insert(at);
        }
    }

    /// The present transaction carries these positions.
    pub(super) fn sent(&mut self, positions: &[(Partition, Position)]) {
        self.present.positions = positions.to_vec();
    }

    /// The commit of the present transaction is asked for.
    pub(super) const fn asked(&mut self) {
        self.present.is_asked = true;
    }

    /// The present transaction is said to be committed.
    pub(super) fn committed(&mut self) {
        self.last = std::mem::take(&mut self.present);
    }

    /// The present transaction is aborted, and nothing that has to be is without a marker.
    pub(super) fn settled(&mut self) {
        (self.present, self.last) = (Trace::default(), Trace::default());
    }

    /// What a marker has to be laid behind, now that the present transaction is over. A transaction whose positions are
    /// the group's was committed: where it has no marker its records are left for the next commit to show.
    ///
    /// # Errors
    /// A [`KafkaError`] when a partition does not say where it ends: nobody leads it yet.
    pub(super) fn unmarked(&self, deadline: &Deadline) -> Result<Unmarked, KafkaError> {
        let traces = [&self.present, &self.last];
        if traces.iter().all(|trace| trace.written.is_empty()) && self.present.positions.is_empty() {
            return Ok(Unmarked::default());
        }
        let scout = Scout::new(&self.settings, &self.group, &self.clock)?;
        let found = self.look(&scout, deadline);
        client::end_aside(scout);
        found
    }

    fn look(&self, scout: &Scout, deadline: &Deadline) -> Result<Unmarked, KafkaError> {
        let mut unmarked = Unmarked::default();
        for trace in [&self.present, &self.last] {
            let mut open = Vec::new();
            for at in &trace.written {
                if scout.is_open(at, deadline)? {
                    open.push(at.clone());
                }
            }
            if open.is_empty() {
                continue;
            }
            if trace.is_asked && is_committed(scout, &trace.positions, deadline)? {
                tracing::warn!(?open, "the broker left the end of a committed transaction out (KAFKA-20734)");
            } else {
                unmarked.partitions.extend(open);
            }
        }
        for (at, _) in self.present.positions.iter().take(1) {
            let committed = scout.committed_so_far(std::slice::from_ref(at), deadline)?[0];
            let position = match committed {
                Some(position) => position,
                None => scout.bounds(at, deadline)?.low,
            };
            unmarked.positions.push((at.clone(), Position::at(position)));
        }
        Ok(unmarked)
    }
}

/// Whether the group is at exactly these positions. Where another member has gone on from them nobody can tell.
fn is_committed(scout: &Scout, positions: &[(Partition, Position)], deadline: &Deadline) -> Result<bool, KafkaError> {
    let partitions: Vec<Partition> = positions.iter().map(|(at, _)| at.clone()).collect();
    let committed = scout.committed_so_far(&partitions, deadline)?;
    let is_there =
        |(committed, (_, position)): (Option<i64>, &(Partition, Position))| committed == Some(position.offset());
    Ok(!positions.is_empty() && committed.into_iter().zip(positions).all(is_there))
}
