//! Where a partition begins: at its committed position, or earlier where state is read back. Assignment and reset
//! both come here, so there is one answer.
//!
//! The order is fixed: the committed position first, then the end of what is read back, asked so that an open
//! transaction of a dead owner counts, then the records up to that end. Whatever that owner had committed is in them.
//!
//! While such a transaction hides the committed position, what lies before the last one that is known is read back
//! already, as far as it comes until it is decided: the position can only grow, and the alerts are looked at once more then.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::kafka::deadline::Deadline;
use crate::kafka::scout::{Bounds, Scout};
use crate::kafka::{KafkaError, ReadBack, client};
use crate::stream::{Lease, Partition, Position, Record, Span};
use crate::time::Clock;

/// Offsets before the committed position in which its log time is looked for: ticks come every few seconds, so records
/// are among them and not markers alone.
const TAIL: i64 = 200;
/// How far the records of a tail are looked for, in offsets for each of them: markers and what was given up have some too.
const TAIL_REACH: i64 = 100;
/// Of the time for a placement this part is for the tails of all its partitions; then they are shorter.
const TAIL_SHARE: u32 = 4;
/// How long a transaction that hides committed positions is waited for before anything is read ahead: that of an owner who
/// lives ends at once.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Where one partition begins, and what was read back for it.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) lease: Lease,
    /// Where reading begins.
    pub(super) start: Position,
    /// Where the work begins.
    pub(super) committed: Position,
    /// The end at this moment, open transactions included.
    pub(super) end: Position,
    /// The alerts that were read back.
    pub(super) restored: Vec<Record>,
}

/// What is handed over before a place is decided.
pub(super) enum Ahead {
    /// The partition begins. Committed is what is so far, and nothing at or behind it comes ahead.
    Begun(Placed),
    /// The next of its records.
    Record(Record),
}

/// Takes what comes ahead, and says whether more is wanted.
pub(super) type TakeAhead<'a> = dyn FnMut(Ahead) -> bool + 'a;

/// Which ends of a partition are asked for.
type Ends = fn(&Scout, &Partition, &Deadline) -> Result<Bounds, KafkaError>;

/// Finds places.
pub(super) struct Placement {
    pub(super) scout: Scout,
    pub(super) read_back: Option<ReadBack>,
    /// Records before the committed position that are read once more where nothing is read back.
    pub(super) tail: usize,
    /// How long one placement may take: longer than a dead owner's transaction stays open.
    pub(super) patience: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl Placement {
    /// The places of `partitions`.
    ///
    /// # Errors
    /// A position that is not on the log, or the deadline: both end the stage.
    pub(super) fn place(&self, partitions: &[Partition], take: &mut TakeAhead<'_>) -> Result<Vec<Placed>, KafkaError> {
        let deadline = Deadline::after(&self.clock, self.patience);
        let leases: Vec<Lease> = partitions.iter().cloned().map(Lease::grant).collect();
        let mut reached = vec![None; leases.len()];
        let at_once = match &self.read_back {
            Some(_) => self.scout.committed(partitions, &Deadline::after(&self.clock, AT_ONCE)).ok(),
            None => Some(self.scout.committed(partitions, &deadline)?),
        };
        let committed = match (at_once, &self.read_back) {
            (None, Some(back)) => self.decided(partitions, &deadline, &mut |is_decided| {
                let is_wanted = &|| !is_decided.load(Ordering::SeqCst);
                if let Err(error) = self.read_ahead(back, (&leases, &mut reached), (is_wanted, take), &deadline) {
                    tracing::debug!(%error, "reading ahead");
                }
            })?,
            (committed, _) => committed.unwrap_or_default(),
        };
        let tail = Deadline::after(&self.clock, self.patience / TAIL_SHARE);
        let mut placed = Vec::with_capacity(partitions.len());
        for ((lease, committed), reached) in leases.into_iter().zip(committed).zip(reached) {
            let one = self.place_one(lease, committed, (&deadline, &tail))?;
            let start = reached.unwrap_or(one.start);
            if start > one.committed {
                let what = format!("{} went back to {} behind {start}", one.lease.partition(), one.committed);
                return Err(KafkaError::refused("reading ahead", what));
            }
            placed.push(Placed { start, ..one });
        }
        Ok(placed)
    }

    /// The committed positions, as soon as no transaction hides them; `meanwhile` is done beside, and told of the end.
    fn decided(
        &self,
        partitions: &[Partition],
        deadline: &Deadline,
        meanwhile: &mut dyn FnMut(&AtomicBool),
    ) -> Result<Vec<Option<i64>>, KafkaError> {
        // One scout cannot do both: who gets no answer takes new clients.
        let asker = self.scout.another()?;
        let is_decided = &AtomicBool::new(false);
        let committed = std::thread::scope(|scope| {
            let asking = std::thread::Builder::new().name("kafka-decided".to_owned()).spawn_scoped(scope, || {
                let committed = asker.committed(partitions, deadline);
                is_decided.store(true, Ordering::SeqCst);
                committed
            });
            let asking = asking.map_err(|error| KafkaError::refused("starting a thread", error))?;
            meanwhile(is_decided);
            asking.join().unwrap_or_else(|_| Err(KafkaError::refused("asking for the committed positions", "a panic")))
        });
        client::end_aside(asker);
        committed
    }

    /// Reads back what lies before the positions that are committed so far, as long as it is wanted and taken, and notes
    /// how far.
    fn read_ahead(
        &self,
        back: &ReadBack,
        (leases, reached): (&[Lease], &mut [Option<Position>]),
        (is_wanted, take): (&dyn Fn() -> bool, &mut TakeAhead<'_>),
        deadline: &Deadline,
    ) -> Result<(), KafkaError> {
        let partitions: Vec<Partition> = leases.iter().map(|lease| lease.partition().clone()).collect();
        let committed = self.scout.committed_so_far(&partitions, deadline)?;
        for ((lease, committed), reached) in leases.iter().zip(committed).zip(reached) {
            let (at, Some(committed)) = (lease.partition(), committed) else { continue };
            let bounds = self.scout.stable(at, deadline)?;
            let since = self.replay_from(back, at, committed, deadline)?;
            let start = since.map_or(committed, |since| since.clamp(bounds.low, committed.max(bounds.low)));
            if !(bounds.low..=bounds.high).contains(&committed) || start == committed {
                continue;
            }
            let span = Span { from: Position::at(start), until: Position::at(committed) };
            let restored = self.restore(back, at.number, (Scout::stable, is_wanted), deadline)?;
            if !is_wanted() {
                break;
            }
            *reached = Some(span.from);
            let (lease, end) = (lease.clone(), Position::at(bounds.high));
            let begun = Placed { lease, start: span.from, committed: span.until, end, restored };
            let mut goes_on = take(Ahead::Begun(begun));
            if goes_on {
                self.scout.each(at, span, deadline, |record| {
                    *reached = Some(record.next());
                    goes_on = take(Ahead::Record(record)) && is_wanted();
                    goes_on
                })?;
            }
            tracing::debug!(partition = %at, from = %span.from, until = ?*reached, "read back before it is decided");
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Where state is read back from: the look-back is counted from the log time of the committed position, not from
    /// the wall clock, because the log stood still for a stage that was down.
    fn replay_from(
        &self,
        back: &ReadBack,
        partition: &Partition,
        committed: i64,
        deadline: &Deadline,
    ) -> Result<Option<i64>, KafkaError> {
        let span = Span { from: Position::at(committed - TAIL), until: Position::at(committed) };
        let tail = self.scout.read(partition, span, usize::MAX, deadline)?;
        let Some(log_time) = tail.iter().map(|record| record.appended_at).max() else { return Ok(None) };
        let since = log_time.minus(back.look_back);
        self.scout.since(partition, since, deadline)
    }

    fn place_one(
        &self,
        lease: Lease,
        committed: Option<i64>,
        (deadline, tail): (&Deadline, &Deadline),
    ) -> Result<Placed, KafkaError> {
        let partition = lease.partition();
        let bounds = self.scout.bounds(partition, deadline)?;
        // A group that never committed begins with the oldest record there is.
        let committed = committed.unwrap_or(bounds.low);
        if !(bounds.low..=bounds.high).contains(&committed) {
            let (low, high) = (bounds.low, bounds.high);
            return Err(KafkaError::OutOfRange { partition: partition.to_string(), committed, low, high });
        }
        let (start, restored) = match &self.read_back {
            Some(back) => {
                let since = self.replay_from(back, partition, committed, deadline)?;
                let start = since.map_or(committed, |since| since.clamp(bounds.low, committed));
                (start, self.restore(back, partition.number, (Scout::bounds, &|| true), deadline)?)
            }
            None => (self.tail_from(partition, (bounds.low, committed), tail)?, Vec::new()),
        };
        let (start, committed, end) = (Position::at(start), Position::at(committed), Position::at(bounds.high));
        Ok(Placed { lease, start, committed, end, restored })
    }

    /// Where the last records before the committed position begin. They are counted, a longer stretch of the log each time,
    /// as long as there is time: whoever waits for the partition waits for this.
    fn tail_from(
        &self,
        partition: &Partition,
        (low, committed): (i64, i64),
        deadline: &Deadline,
    ) -> Result<i64, KafkaError> {
        let tail = i64::try_from(self.tail).unwrap_or(i64::MAX);
        let low = low.max(committed.saturating_sub(tail.saturating_mul(TAIL_REACH)));
        // With each record may stand the marker of a transaction.
        let (mut start, mut stretch, mut missing) = (committed, tail.saturating_mul(2), self.tail);
        while missing > 0 && start > low {
            let from = start.saturating_sub(stretch).max(low);
            let span = Span { from: Position::at(from), until: Position::at(start) };
            let mut last = VecDeque::new();
            let read = self.scout.each(partition, span, deadline, |record| {
                if last.len() == missing {
                    last.pop_front();
                }
                last.push_back(record.offset);
                true
            });
            match read {
                Err(KafkaError::TimedOut { waited, .. }) => {
                    let waited = waited.as_secs();
                    tracing::warn!(%partition, missing, waited, "fewer records than wanted are judged anew: no time");
                    return Ok(start);
                }
                read => read?,
            }
            missing -= last.len();
            start = last.front().filter(|_| missing == 0).copied().unwrap_or(from);
            stretch = stretch.saturating_mul(2);
        }
        Ok(start)
    }

    /// The first of these partitions whose next position is not on the log.
    pub(super) fn overtaken(
        &self,
        mut next: impl Iterator<Item = (Partition, Position)>,
        deadline: &Deadline,
    ) -> Option<KafkaError> {
        next.find_map(|(at, next)| {
            let Bounds { low, high } = self.scout.bounds(&at, deadline).ok()?;
            let (partition, next) = (at.to_string(), next.offset());
            (!(low..=high).contains(&next)).then_some(KafkaError::Overtaken { partition, next, low, high })
        })
    }

    /// The last record of each alert within the bounds of its partition, by its key: as many as there are rules and subjects,
    /// however long the history is. Not all of them where they are wanted no more.
    fn restore(
        &self,
        back: &ReadBack,
        number: i32,
        (bounds, is_wanted): (Ends, &dyn Fn() -> bool),
        deadline: &Deadline,
    ) -> Result<Vec<Record>, KafkaError> {
        let alerts = Partition::new(&back.alerts_topic, number);
        let bounds = bounds(&self.scout, &alerts, deadline)?;
        let all = Span { from: Position::at(bounds.low), until: Position::at(bounds.high) };
        let mut latest = HashMap::new();
        self.scout.each(&alerts, all, deadline, |record| {
            if record.value.is_some() {
                latest.insert(record.key.clone(), record);
            } else {
                // Somebody has taken it away.
                latest.remove(&record.key);
            }
            is_wanted()
        })?;
        let mut latest: Vec<Record> = latest.into_values().collect();
        latest.sort_by_key(|record| record.offset);
        Ok(latest)
    }
}
