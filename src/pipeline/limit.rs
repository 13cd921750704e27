//! How many dead letters are too many: a share of the last records of one partition.
//!
//! A producer that changed its format must not drain a topic into the dead letters. Fates are counted in the order of
//! the log and before anything of them is committed, so how records are cut into batches decides nothing. Like every
//! state this one follows its partition and comes back from the log: a restart judges the records before its committed
//! position anew, and so stops at the same record again, until the file is mended or the limit is raised.

use std::collections::{BTreeMap, VecDeque};

use crate::event::Reason;
use crate::stream::Partition;

/// When a stage stops because too much of its input cannot be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeadLetterLimit {
    /// How many of a partition's last records are looked at.
    pub window_records: usize,
    /// The share of the window that may be dead letters, 0 to 1; with 1 a stage never stops.
    pub share_max: f64,
}

impl Default for DeadLetterLimit {
    fn default() -> Self {
        Self { window_records: 1_000, share_max: 0.5 }
    }
}

impl DeadLetterLimit {
    /// How many dead letters a window may hold.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share, from 0 to 1, of a window of at most 100,000"
    )]
    pub fn allowed(&self) -> usize {
        (self.share_max * self.window_records as f64).floor() as usize
    }
}

/// A row that may stand for a dead letter.
pub(in crate::pipeline) trait Fate {
    /// Why its record could not be used; `None` for one that could.
    fn dead(&self) -> Option<(Reason, &str)>;
}

/// The limit was passed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{dead} of the last {window_records} records of {partition} are dead letters and {allowed} may be; the last one: \
     {reason}: {message}. What was not committed is read again: mend the mapping in [source.fields] or what writes the \
     topic, then start again; to let them pass, start once with BELLWETHER__DEAD_LETTERS__SHARE_MAX=1"
)]
pub(in crate::pipeline) struct TooManyDead {
    partition: Partition,
    dead: usize,
    window_records: usize,
    allowed: usize,
    reason: Reason,
    message: String,
}

/// The last fates of one partition, oldest first.
#[derive(Debug, Default)]
struct Recent {
    fates: VecDeque<bool>,
    dead: usize,
}

/// The last fates of every partition of a stage.
#[derive(Debug)]
pub(in crate::pipeline) struct Watch {
    limit: DeadLetterLimit,
    partitions: BTreeMap<Partition, Recent>,
}

impl Watch {
    pub(in crate::pipeline) const fn new(limit: DeadLetterLimit) -> Self {
        Self { limit, partitions: BTreeMap::new() }
    }

    /// Begins a partition with nothing known of it.
    pub(in crate::pipeline) fn begin(&mut self, partition: &Partition) {
        self.partitions.insert(partition.clone(), Recent::default());
    }

    /// The partition goes.
    pub(in crate::pipeline) fn forget(&mut self, partition: &Partition) {
        self.partitions.remove(partition);
    }

    /// A record from before the committed position: it is known, and decides nothing by itself.
    pub(in crate::pipeline) fn remember(&mut self, partition: &Partition, is_dead: bool) {
        let recent = self.partitions.entry(partition.clone()).or_default();
        recent.fates.push_back(is_dead);
        recent.dead += usize::from(is_dead);
        if recent.fates.len() > self.limit.window_records && recent.fates.pop_front() == Some(true) {
            recent.dead -= 1;
        }
    }

    /// The next record of a partition. Only a dead letter can pass the limit: a good record never stops a stage.
    pub(in crate::pipeline) fn take(
        &mut self,
        partition: &Partition,
        fate: Option<(Reason, &str)>,
    ) -> Result<(), TooManyDead> {
        self.remember(partition, fate.is_some());
        let Some((reason, message)) = fate else { return Ok(()) };
        let (dead, allowed) = (self.dead(partition), self.limit.allowed());
        if dead <= allowed {
            return Ok(());
        }
        let (partition, message) = (partition.clone(), message.to_owned());
        Err(TooManyDead { partition, dead, window_records: self.limit.window_records, allowed, reason, message })
    }

    fn dead(&self, partition: &Partition) -> usize {
        self.partitions.get(partition).map_or(0, |recent| recent.dead)
    }

    /// How much of what is allowed the worst partition has used: above 1 its stage stops. Nothing where nothing stops.
    #[expect(clippy::cast_precision_loss, reason = "counts of at most 100,000")]
    pub(in crate::pipeline) fn used(&self) -> f64 {
        let worst = self.partitions.values().map(|recent| recent.dead).max().unwrap_or(0);
        if self.limit.share_max >= 1.0 { 0.0 } else { worst as f64 / self.limit.allowed().max(1) as f64 }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const BAD: Option<(Reason, &str)> = Some((Reason::Malformed, "not one JSON object"));

    fn partition(number: i32) -> Partition {
        Partition::new(&Arc::from("posts"), number)
    }

    fn watch(window_records: usize, share_max: f64) -> Watch {
        Watch::new(DeadLetterLimit { window_records, share_max })
    }

    #[test]
    fn a_stage_stops_at_the_first_dead_letter_above_the_share() {
        let mut watch = watch(10, 0.3);
        for round in 0..50 {
            for fate in [BAD, None, BAD, None, None, BAD, None, None, None, None] {
                assert_eq!(watch.take(&partition(0), fate), Ok(()), "round {round}");
            }
        }
        assert!((watch.used() - 1.0).abs() < 1e-9);
        let stopped = watch.take(&partition(0), BAD);
        assert_eq!(stopped, Ok(()), "the oldest of the three has left the window");
        let why = watch.take(&partition(0), BAD).map_err(|error| error.to_string());
        let said = why.expect_err("four of ten");
        assert!(said.starts_with("4 of the last 10 records of posts/0 are dead letters and 3 may be"), "{said}");
        assert!(said.contains("malformed: not one JSON object"), "{said}");
    }

    #[test]
    fn partitions_are_counted_each_for_itself_and_a_good_record_never_stops() {
        let mut watch = watch(4, 0.5);
        for number in [0, 1, 0, 1] {
            assert_eq!(watch.take(&partition(number), BAD), Ok(()));
        }
        for _ in 0..3 {
            watch.remember(&partition(2), true);
        }
        assert_eq!(watch.take(&partition(2), None), Ok(()));
        assert!(watch.take(&partition(2), BAD).is_err(), "what was before the committed position counts");
        watch.begin(&partition(2));
        assert_eq!(watch.take(&partition(2), BAD), Ok(()), "it began anew");
    }

    #[test]
    fn a_share_of_one_never_stops_and_a_share_of_none_stops_at_once() {
        let mut all = watch(10, 1.0);
        for _ in 0..1_000 {
            assert_eq!(all.take(&partition(0), BAD), Ok(()));
        }
        assert!(all.used() < 1e-9);
        let mut none = watch(10, 0.0);
        assert_eq!(none.take(&partition(0), None), Ok(()));
        assert!(none.take(&partition(0), BAD).is_err());
    }
}
