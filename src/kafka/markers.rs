//! Markers that a broker leaves out.
//!
//! Whoever coordinates a transaction ends it with a marker on each of its partitions. Kafka 4.3.1 takes a partition that
//! nobody leads at this moment for one that was deleted, leaves it out, and says that all is done (KAFKA-20734). The
//! records stay undecided there, and the next marker of the same producer decides about them: its next commit would
//! show what was given up, beside the same records written again. So who begins under an id, or has given something up
//! under it, asks each partition that may be concerned whether anything is open there, and lays a marker of its own
//! behind it: a transaction that is made to be aborted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::client;
use crate::kafka::deadline::Deadline;
use crate::kafka::scout::Scout;
use crate::kafka::{KafkaError, KafkaSettings};
use crate::stream::{Fault, Headers, Output, Partition, Position};
use crate::time::Clock;

/// How long markers may take to come after the answer to who ended a transaction.
const SOON: Duration = Duration::from_millis(250);

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

impl Trace {
    fn is_nowhere(&self) -> bool {
        self.written.is_empty() && self.positions.is_empty()
    }
}

/// Follows the transactions of one id: the present one, and the last one that was committed.
pub(super) struct Markers {
    settings: KafkaSettings,
    group: String,
    clock: Arc<dyn Clock>,
    present: Trace,
    last: Trace,
    /// Markers are being laid: the transaction that is over next is no other.
    is_laying: bool,
    /// Since when the group has not the positions of the last commit.
    missed_since: Option<Duration>,
    /// Who asks, while it has had no answer.
    scout: Option<Scout>,
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
            headers: Headers::new(),
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
            is_laying: false,
            missed_since: None,
            scout: None,
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

    /// A transaction that lays markers begins.
    pub(super) const fn laying(&mut self) {
        self.is_laying = true;
    }

    /// The present transaction was aborted, whatever had been asked for; of one that lays markers that says nothing of what
    /// they are laid behind.
    pub(super) const fn aborted(&mut self) {
        self.present.is_asked &= std::mem::replace(&mut self.is_laying, false);
    }

    /// The present transaction is aborted, and nothing that has to be is without a marker.
    pub(super) fn settled(&mut self) {
        (self.missed_since, self.is_laying) = (None, false);
        if !self.present.is_nowhere() {
            (self.present, self.last) = (Trace::default(), Trace::default());
        }
    }

    /// What a marker has to be laid behind, now that the present transaction is over. A transaction whose positions are
    /// the group's was committed: where it has no marker, its records are left for the next commit to show.
    ///
    /// # Errors
    /// `Retriable` when a partition does not say where it ends: nobody leads it yet; and when the group has not the positions
    /// of the last commit, although it was acknowledged: they may be late. [`Fault::Undone`] when they do not come for as
    /// long as a transaction may last: what that one wrote counts as the present one's from then on.
    pub(super) fn unmarked(&mut self, limit: Duration) -> Result<Unmarked, Fault> {
        if self.present.is_nowhere() {
            return Ok(Unmarked::default());
        }
        let unanswered = |error: KafkaError| Fault::Retriable(error.to_string());
        // Kept until it is answered: it makes new clients itself, and knows how many old ones there may be.
        let scout = match self.scout.take() {
            Some(scout) => scout,
            None => Scout::new(&self.settings, &self.group, &self.clock).map_err(unanswered)?,
        };
        let found = self.look(&scout, &Deadline::after(&self.clock, limit));
        if matches!(found, Ok(Some(_))) {
            client::end_aside(scout);
        } else {
            self.scout = Some(scout);
        }
        found.map_err(unanswered)?.ok_or_else(|| self.missed())
    }

    /// The last commit is not the group's.
    fn missed(&mut self) -> Fault {
        let why =
            "the group has not the positions of a commit that was acknowledged: the broker has left its markers out \
                   (KAFKA-20734), unless they are late"
                .to_owned();
        let now = self.clock.monotonic();
        if now.saturating_sub(*self.missed_since.get_or_insert(now)) < self.settings.transaction_timeout {
            return Fault::Retriable(why);
        }
        let last = std::mem::take(&mut self.last);
        let partitions = last.positions.iter().map(|(at, _)| at.clone()).collect();
        self.present.written.extend(last.written);
        if self.present.positions.is_empty() {
            self.present.positions = last.positions;
        }
        Fault::Undone { partitions, why }
    }

    /// `None` where the last commit is not the group's.
    fn look(&self, scout: &Scout, deadline: &Deadline) -> Result<Option<Unmarked>, KafkaError> {
        let mut open = self.open(scout, deadline)?;
        let is_lost = |committed: Option<i64>, position: Position| committed.is_none_or(|it| it < position.offset());
        let is_kept =
            || Ok(!compare(scout, &self.last.positions, deadline)?.into_iter().any(|(it, at)| is_lost(it, at)));
        if !self.within(deadline.left() / 2, is_kept)? {
            return Ok(None);
        }
        let is_present = |(it, at): (Option<i64>, Position)| it == Some(at.offset());
        let mut left: Vec<Partition> = open.extract_if(.., |at| !self.present.written.contains(at)).collect();
        // Where another member has gone on from there nobody can tell.
        let present = compare(scout, &self.present.positions, deadline)?;
        if self.present.is_asked && !present.is_empty() && present.into_iter().all(is_present) {
            left.append(&mut open);
        }
        if !left.is_empty() {
            tracing::warn!(
                ?left,
                "left open: what was committed there shows with the next commit, unless it is another's"
            );
        }
        let both: Vec<&Partition> = open.iter().filter(|at| self.last.written.contains(at)).collect();
        if !both.is_empty() {
            tracing::warn!(?both, "marked as given up, with what the last commit may have no end for (KAFKA-20734)");
        }
        let mut unmarked = Unmarked { partitions: open, positions: Vec::new() };
        if let Some((at, _)) = self.present.positions.first() {
            let committed = scout.committed_so_far(std::slice::from_ref(at), deadline)?.into_iter().next().flatten();
            let position = committed.map_or_else(|| scout.bounds(at, deadline).map(|bounds| bounds.low), Ok)?;
            unmarked.positions.push((at.clone(), Position::at(position)));
        }
        Ok(Some(unmarked))
    }

    /// The partitions in which something is open that was open from the beginning. Markers come a moment after the answer
    /// to who ended a transaction, and other writers end theirs.
    fn open(&self, scout: &Scout, deadline: &Deadline) -> Result<Vec<Partition>, KafkaError> {
        let (mut open, mut counts) = (Vec::new(), BTreeMap::new());
        for at in self.present.written.union(&self.last.written) {
            if !counts.contains_key(&at.topic) {
                counts.insert(at.topic.clone(), scout.count(&at.topic, deadline)?);
            }
            // What was for a partition that is not there is nowhere.
            if usize::try_from(at.number).ok() < counts.get(&at.topic).copied() {
                open.push((at.clone(), scout.bounds(at, deadline)?.high));
            }
        }
        self.within(SOON, || {
            let mut still = Vec::new();
            for (at, end) in open.drain(..) {
                if scout.stable(&at, deadline)?.high < end {
                    still.push((at, end));
                }
            }
            open = still;
            Ok(open.is_empty())
        })?;
        Ok(open.into_iter().map(|(at, _)| at).collect())
    }

    /// Asks until it is so; false when it is not within that span.
    fn within(&self, span: Duration, mut is_so: impl FnMut() -> Result<bool, KafkaError>) -> Result<bool, KafkaError> {
        let deadline = Deadline::after(&self.clock, span);
        while !is_so()? {
            if deadline.left().is_zero() {
                return Ok(false);
            }
            self.clock.pause(Duration::from_millis(10));
        }
        Ok(true)
    }
}

/// What the group has committed up to now of the partitions, beside these positions.
fn compare(
    scout: &Scout,
    positions: &[(Partition, Position)],
    deadline: &Deadline,
) -> Result<Vec<(Option<i64>, Position)>, KafkaError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let partitions: Vec<Partition> = positions.iter().map(|(at, _)| at.clone()).collect();
    let committed = scout.committed_so_far(&partitions, deadline)?;
    Ok(committed.into_iter().zip(positions.iter().map(|(_, position)| *position)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    #[test]
    fn the_end_of_a_transaction_that_lays_markers_does_not_say_that_no_commit_was_asked_for() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let mut markers = Markers::new(&KafkaSettings::default(), "group", &Reach::default(), &clock);
        markers.written(&"out".into(), 0);
        markers.asked();
        // Its end came, or not: markers are laid, which fails at first.
        markers.laying();
        markers.aborted();
        assert!(markers.present.is_asked, "what was committed would be given up");
        markers.aborted();
        assert!(!markers.present.is_asked, "an abort of its own says so");
    }
}
