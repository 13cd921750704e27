//! Partitions that stand still though records wait on the log.
//!
//! After a broker was away, librdkafka may stop fetching a partition for good (librdkafka#5511). Nothing says so: the
//! client polls on, and the lag, which it knows from what it fetches, looks like none. So the scout is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::KafkaError;
use crate::kafka::membership::Board;
use crate::kafka::scout::{Deadline, Scout};
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
}

impl Stalls {
    /// `fetch_wait` is how long a broker may hold an answer back.
    pub(super) fn new(fetch_wait: Duration, now: Duration) -> Self {
        Self { every: EVERY.max(fetch_wait), looked_at: now, seen: BTreeMap::new(), drained: false }
    }

    /// The client had nothing more to hand over: what it has fetched waits nowhere.
    pub(super) const fn drained(&mut self) {
        self.drained = true;
    }

    /// The partitions are paused: who brings nothing now stands still for a reason.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
        self.drained = false;
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let due = now.saturating_sub(self.looked_at) >= self.every;
        if due {
            self.looked_at = now;
        }
        due && std::mem::take(&mut self.drained)
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
        let looked = self.look(quiet, |at, next, empty_before| {
            let end = Position::at(scout.stable(at, deadline)?.high);
            board.ends(&at.topic, at.number, end.offset());
            if end <= empty_before {
                return Ok(Found::NothingBefore(empty_before));
            }
            let found = scout.read(at, Span { from: next, until: end }, 1, deadline)?;
            Ok(if found.is_empty() { Found::NothingBefore(end) } else { Found::Record })
        });
        let (at, next) = looked.unwrap_or_else(|error| {
            tracing::debug!(%error, "looking for what does not come");
            None
        })?;
        let seconds = (self.every * TIMES).as_secs();
        Some(format!("nothing came of {at} for {seconds} s, though records wait at {next}: the client hangs"))
    }

    /// Looks at partitions that have been quiet, with the next position of each; returns the one in which a record was
    /// seen waiting so often that it will never come.
    ///
    /// # Errors
    /// Where the scout has no answer; nothing is concluded from that.
    fn look(
        &mut self,
        quiet: &[(Partition, Position)],
        mut find: impl FnMut(&Partition, Position, Position) -> Result<Found, KafkaError>,
    ) -> Result<Option<(Partition, Position)>, KafkaError> {
        self.seen.retain(|at, seen| quiet.iter().any(|(known, next)| known == at && *next == seen.next));
        for (at, next) in quiet {
            let seen = self.seen.entry(at.clone()).or_insert(Seen { next: *next, empty_before: *next, times: 0 });
            match find(at, *next, seen.empty_before)? {
                Found::NothingBefore(position) => (seen.empty_before, seen.times) = (position, 0),
                Found::Record => seen.times += 1,
            }
            if seen.times >= TIMES {
                return Ok(Some((at.clone(), *next)));
            }
        }
        Ok(None)
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
        Stalls::new(Duration::ZERO, Duration::ZERO)
    }

    #[test]
    fn a_record_that_waits_at_the_same_place_for_three_looks_is_a_stall() {
        let mut stalls = stalls();
        let mut look = |quiet: &[(Partition, Position)]| stalls.look(quiet, |_, _, _| Ok(Found::Record)).unwrap();
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
            assert_eq!(found.unwrap(), None);
        }
        assert_eq!(asked.first(), Some(&(position(5), position(5))));
        assert!(asked.get(1..).unwrap().iter().all(|asked| *asked == (position(5), position(7))));
        let mut record = || stalls.look(&quiet, |_, _, _| Ok(Found::Record)).unwrap();
        assert_eq!((record(), record()), (None, None));
        stalls.forget();
        let mut record = || stalls.look(&quiet, |_, _, _| Ok(Found::Record)).unwrap();
        assert_eq!((record(), record()), (None, None));
        let away = || KafkaError::TimedOut { what: "the end".to_owned(), waited: Duration::ZERO };
        assert!(stalls.look(&quiet, |_, _, _| Err(away())).is_err());
        assert_eq!(stalls.look(&quiet, |_, _, _| Ok(Found::Record)).unwrap(), Some((at(0), position(5))));
    }

    #[test]
    fn it_is_looked_only_after_a_while_in_which_the_client_ran_dry() {
        let mut stalls = Stalls::new(Duration::from_secs(25), Duration::from_secs(100));
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
