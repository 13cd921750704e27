//! Partitions that stand still though records wait on the log.
//!
//! After a broker was away, librdkafka may stop fetching a partition for good (librdkafka#5511). Nothing says so: the
//! client polls on, and the lag, which it knows from what it fetches, looks like none. So the scout is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::KafkaError;
use crate::kafka::deadline::Deadline;
use crate::kafka::membership::Board;
use crate::kafka::scout::Scout;
use crate::stream::{Partition, Position, Span};

/// How long a partition must be quiet before it is looked at, and how long until the next look.
const EVERY: Duration = Duration::from_secs(10);
/// Looks in a row that find records waiting at the same place.
const TIMES: u32 = 3;

/// What the scout finds in a quiet partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing can be read before this position.
    NothingBefore(Position),
    /// A record waits.
    Record,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    next: Position,
    empty_before: Position,
    times: u32,
}

/// What was seen at quiet partitions.
#[derive(Debug)]
pub(super) struct Stalls {
    every: Duration,
    looked_at: Duration,
    seen: BTreeMap<Partition, Seen>,
    drained: bool,
    /// Bytes that the client may have fetched and not handed over.
    prefetched_max: usize,
    /// Bytes that it handed over since the last look.
    taken: usize,
}

impl Stalls {
    /// `fetch_wait` is how long a broker may hold an answer back.
    pub(super) const fn new(fetch_wait: Duration, prefetched_max: usize, now: Duration) -> Self {
        let every = if fetch_wait.as_millis() > EVERY.as_millis() { fetch_wait } else { EVERY };
        Self { every, looked_at: now, seen: BTreeMap::new(), drained: false, prefetched_max, taken: 0 }
    }

    /// The client had nothing more to hand over: what it has fetched waits nowhere.
    pub(super) const fn drained(&mut self) {
        self.drained = true;
    }

    /// The client handed so many bytes over. It has one queue for all partitions: after as many as it may hold, what it
    /// had fetched at the last look waits nowhere, however busy the others are.
    pub(super) const fn took(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
    }

    /// The partitions are paused: who brings nothing now stands still for a reason.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
        (self.drained, self.taken) = (false, 0);
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.looked_at) < self.every {
            return false;
        }
        self.looked_at = now;
        let is_empty = std::mem::take(&mut self.drained) || self.taken > self.prefetched_max;
        if is_empty {
            self.taken = 0;
        }
        is_empty
    }

    /// Those of the partitions that have been quiet long enough, with their next positions.
    pub(super) fn quiet(
        &self,
        held: impl Iterator<Item = (Partition, Position, Duration)>,
        now: Duration,
    ) -> Vec<(Partition, Position)> {
        let quiet = held.filter(|(_, _, moved_at)| now.saturating_sub(*moved_at) >= self.every);
        quiet.map(|(at, next, _)| (at, next)).collect()
    }

    /// Looks at the quiet partitions on the log; why one of them will never go on, where that is so.
    pub(super) fn find(
        &mut self,
        quiet: &[(Partition, Position)],
        scout: &Scout,
        board: &Board,
        deadline: &Deadline,
    ) -> Option<String> {
        let (at, next) = self.look(quiet, |at, next, empty_before| {
            let end = Position::at(scout.stable(at, deadline)?.high);
            board.ends(&at.topic, at.number, end.offset());
            if end <= empty_before {
                return Ok(Found::NothingBefore(empty_before));
            }
            let found = scout.read(at, Span { from: next, until: end }, 1, deadline)?;
            Ok(if found.is_empty() { Found::NothingBefore(end) } else { Found::Record })
        })?;
        let seconds = (self.every * TIMES).as_secs();
        Some(format!("nothing came of {at} for {seconds} s, though records wait at {next}: the client hangs"))
    }

    /// Looks at partitions that have been quiet, with the next position of each; returns the one in which a record was
    /// seen waiting so often that it will never come. Where the scout has no answer nothing is concluded: the partition
    /// may have no leader, which says nothing of the others.
    fn look(
        &mut self,
        quiet: &[(Partition, Position)],
        mut find: impl FnMut(&Partition, Position, Position) -> Result<Found, KafkaError>,
    ) -> Option<(Partition, Position)> {
        self.seen.retain(|at, seen| quiet.iter().any(|(known, next)| known == at && *next == seen.next));
        for (at, next) in quiet {
            let seen = self.seen.entry(at.clone()).or_insert(Seen { next: *next, empty_before: *next, times: 0 });
            match find(at, *next, seen.empty_before) {
                Ok(Found::NothingBefore(position)) => (seen.empty_before, seen.times) = (position, 0),
                Ok(Found::Record) => seen.times += 1,
                Err(error) => tracing::debug!(%error, "looking for what does not come"),
            }
            if seen.times >= TIMES {
                return Some((at.clone(), *next));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use super::*;

    fn at(number: i32) -> Partition {
        Partition::new(&Arc::from("posts"), number)
    }

    fn position(offset: i64) -> Position {
        Position::at(offset)
    }

    fn stalls() -> Stalls {
        Stalls::new(Duration::ZERO, 1_000, Duration::ZERO)
    }

    #[test]
    fn a_record_that_waits_at_the_same_place_for_three_looks_is_a_stall() {
        let mut stalls = stalls();
        let mut look = |quiet: &[(Partition, Position)]| stalls.look(quiet, |_, _, _| Ok(Found::Record));
        assert_eq!(look(&[(at(0), position(5)), (at(1), position(9))]), None);
        assert_eq!(look(&[(at(0), position(5)), (at(1), position(9))]), None);
        assert_eq!(look(&[(at(0), position(6))]), None, "it has moved, and the other was not quiet");
        assert_eq!(look(&[(at(0), position(6)), (at(1), position(9))]), None);
        assert_eq!(look(&[(at(0), position(6))]), Some((at(0), position(6))));
    }

    #[test]
    fn what_holds_no_record_is_looked_at_once_and_a_pause_or_an_error_proves_nothing() {
        let mut stalls = stalls();
        let quiet = [(at(0), position(5))];
        let mut asked = Vec::new();
        for _ in 0..5 {
            let found = stalls.look(&quiet, |_, next, empty_before| {
                asked.push((next, empty_before));
                Ok(Found::NothingBefore(position(7)))
            });
            assert_eq!(found, None);
        }
        assert_eq!(asked.first(), Some(&(position(5), position(5))));
        assert!(asked.get(1..).unwrap().iter().all(|asked| *asked == (position(5), position(7))));
        let mut record = || stalls.look(&quiet, |_, _, _| Ok(Found::Record));
        assert_eq!((record(), record()), (None, None));
        stalls.forget();
        let mut record = || stalls.look(&quiet, |_, _, _| Ok(Found::Record));
        assert_eq!((record(), record()), (None, None));
        let away = || KafkaError::TimedOut { what: "the end".to_owned(), waited: Duration::ZERO };
        assert_eq!(stalls.look(&quiet, |_, _, _| Err(away())), None);
        assert_eq!(stalls.look(&quiet, |_, _, _| Ok(Found::Record)), Some((at(0), position(5))));
    }

    #[test]
    fn a_partition_without_a_leader_hides_no_stall_of_another() {
        let mut stalls = stalls();
        let quiet = [(at(0), position(5)), (at(1), position(9))];
        let away = || KafkaError::TimedOut { what: "the end".to_owned(), waited: Duration::ZERO };
        let mut look = || stalls.look(&quiet, |at, _, _| if at.number == 0 { Err(away()) } else { Ok(Found::Record) });
        assert_eq!((look(), look(), look()), (None, None, Some((at(1), position(9)))));
    }

    #[test]
    fn beside_a_partition_that_is_busy_it_is_looked_when_all_that_was_fetched_has_come() {
        let mut stalls = Stalls::new(Duration::from_secs(10), 1_000, Duration::ZERO);
        let mut due = |at: u64, bytes: usize| {
            stalls.took(bytes);
            stalls.is_due(Duration::from_secs(at))
        };
        assert!(!due(10, 1_000), "one more may wait behind these");
        assert!(!due(15, 1), "it is not time");
        assert!(due(20, 0) && !due(30, 1_000));
    }

    #[test]
    fn it_is_looked_only_after_a_while_in_which_the_client_ran_dry() {
        let mut stalls = Stalls::new(Duration::from_secs(25), 1_000, Duration::from_secs(100));
        let mut due = |at: u64, drained: bool| {
            if drained {
                stalls.drained();
            }
            stalls.is_due(Duration::from_secs(at))
        };
        assert!(!due(124, true), "who waits for a broker so long is quiet that long");
        assert!(due(125, false), "it ran dry meanwhile");
        assert!(!due(151, false), "what it has fetched may still wait");
        assert!(!due(170, true) && due(176, true));
    }
}
