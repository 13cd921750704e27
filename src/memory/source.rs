//! A subscription on the in-process log. It does nothing by itself: whoever drives it polls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::memory::Log;
use crate::stream::{Assignment, Command, Feed, Lease, Partition, Position};

/// What must be read again before a partition goes on.
#[derive(Debug, Clone)]
pub struct ReadBack {
    /// How far back state looks, by append time.
    pub look_back: Duration,
    /// The stage's own output whose records of the same partition number are handed over on assignment.
    pub alerts: Arc<str>,
}

/// A partition that is to begin, as soon as the log can say where.
#[derive(Debug)]
struct Placing {
    partition: Partition,
    /// Once known: the committed position, and up to where the alerts must be read.
    known: Option<(Position, Position)>,
}

/// A member's subscription.
pub struct Source {
    log: Log,
    group: Arc<str>,
    read_back: Option<ReadBack>,
    tail_records: usize,
    owned: BTreeMap<Partition, (Lease, Position)>,
    placing: VecDeque<Placing>,
    /// Revoked, and not yet given up.
    leaving: BTreeMap<Partition, Lease>,
    waiting: VecDeque<Feed>,
    paused: bool,
}

impl Source {
    /// A subscription of `group` with nothing assigned.
    #[must_use]
    pub fn new(log: Log, group: Arc<str>, read_back: Option<ReadBack>) -> Self {
        let (owned, leaving) = (BTreeMap::new(), BTreeMap::new());
        let (placing, waiting) = (VecDeque::new(), VecDeque::new());
        Self { log, group, read_back, tail_records: 0, owned, placing, leaving, waiting, paused: false }
    }

    /// Hands the last records before a committed position over with each assignment, where no alerts are.
    #[must_use]
    pub fn with_tail(mut self, records: usize) -> Self {
        self.tail_records = records;
        self
    }

    /// Assigns all partitions of a topic.
    pub fn assign_topic(&mut self, topic: &Arc<str>) {
        for partition in self.log.partitions(topic) {
            self.assign(partition);
        }
    }

    /// Assigns one partition: the same path as a reset. It begins as soon as no open transaction hides what is
    /// committed, or the end of what is read back.
    pub fn assign(&mut self, partition: Partition) {
        self.placing.push_back(Placing { partition, known: None });
        self.place();
    }

    /// Takes partitions away the polite way. The stage says on the receiver when it has finished with them;
    /// [`Source::give_up`] ends the wait.
    pub fn revoke(&mut self, partitions: Vec<Partition>) -> Receiver<()> {
        let (settled, receiver) = sync_channel(1);
        self.placing.retain(|placing| !partitions.contains(&placing.partition));
        for partition in &partitions {
            if let Some((lease, _)) = self.owned.remove(partition) {
                self.leaving.insert(partition.clone(), lease);
            }
        }
        self.waiting.push_back(Feed::Revoked { partitions, settled });
        receiver
    }

    /// Turns off the leases of revoked partitions.
    pub fn give_up(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(lease) = self.leaving.remove(partition) {
                lease.turn_off();
            }
        }
    }

    /// Takes a partition away without a word (a lost assignment).
    pub fn lose(&mut self, partition: &Partition) {
        self.placing.retain(|placing| placing.partition != *partition);
        let owned = self.owned.remove(partition).map(|(lease, _)| lease);
        if let Some(lease) = owned.or_else(|| self.leaving.remove(partition)) {
            lease.turn_off();
            self.waiting.push_back(Feed::Lost { partitions: vec![partition.clone()] });
        }
    }

    /// The partitions that this member has, those among them that have not begun or are leaving.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        let placing = self.placing.iter().map(|placing| &placing.partition);
        self.owned.keys().chain(placing).chain(self.leaving.keys()).cloned().collect()
    }

    /// The next event; at most `count` records of one partition. `None` when there is nothing to say.
    pub fn poll(&mut self, count: usize) -> Option<Feed> {
        self.place();
        if let Some(feed) = self.waiting.pop_front() {
            return Some(feed);
        }
        if self.paused {
            return None;
        }
        for (partition, (lease, next)) in &mut self.owned {
            let records = self.log.read(partition, *next, count);
            if let Some(last) = records.last() {
                *next = last.next();
                return Some(Feed::Records { lease: lease.clone(), records });
            }
        }
        None
    }

    /// Does what the stage asks.
    pub fn command(&mut self, command: Command) {
        match command {
            Command::Pause => self.paused = true,
            Command::Resume => self.paused = false,
            Command::Reset(partition) => {
                if let Some((lease, _)) = self.owned.remove(&partition) {
                    lease.turn_off();
                    self.assign(partition);
                }
            }
            Command::Stop => self.owned.clear(),
        }
    }

    /// Begins what can begin.
    fn place(&mut self) {
        for mut placing in std::mem::take(&mut self.placing) {
            if !self.try_place(&mut placing) {
                self.placing.push_back(placing);
            }
        }
    }

    /// The committed position first, then the end of what is read back, open transactions included, then the records
    /// up to that end.
    fn try_place(&mut self, placing: &mut Placing) -> bool {
        let partition = &placing.partition;
        let alerts = self.read_back.as_ref().map(|back| Partition::new(&back.alerts, partition.number));
        let (committed, until) = match placing.known {
            Some(known) => known,
            None if self.log.is_unstable(&self.group, partition) => return false,
            None => {
                let until = alerts.as_ref().map_or(Position::at(0), |alerts| self.log.end(alerts));
                *placing.known.insert((self.log.committed(&self.group, partition), until))
            }
        };
        let (mut from, mut restored) = (committed, Vec::new());
        if let (Some(back), Some(alerts)) = (&self.read_back, alerts) {
            if self.log.stable_end(&alerts) < until {
                return false;
            }
            restored = self.log.read(&alerts, Position::at(0), usize::MAX);
            restored.retain(|record| Position::at(record.offset) < until);
            // From the log time of the committed position: the log stood still for a stage that was down.
            let log_time = self.log.time_before(partition, committed);
            from = log_time
                .map_or(committed, |at| committed.min(self.log.position_at(partition, at.minus(back.look_back))));
        }
        if self.read_back.is_none() && self.tail_records > 0 {
            let offsets = i64::try_from(self.tail_records).unwrap_or(i64::MAX);
            let first = Position::at(committed.offset().saturating_sub(offsets).max(0));
            restored = self.log.read(partition, first, self.tail_records);
            restored.retain(|record| Position::at(record.offset) < committed);
        }
        let lease = Lease::grant(partition.clone());
        self.owned.insert(partition.clone(), (lease.clone(), from));
        self.waiting.push_back(Feed::Assigned(Assignment { lease, committed, restored }));
        true
    }
}
