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
    lease: Lease,
    /// Once known: the committed position, and up to where the alerts must be read.
    known: Option<(Position, Position)>,
}

/// A partition that has begun.
#[derive(Debug)]
struct Owned {
    lease: Lease,
    next: Position,
    /// Nothing at or behind this is handed over before it is decided where the work begins.
    ahead_until: Option<Position>,
}

/// A member's subscription.
pub struct Source {
    log: Log,
    group: Arc<str>,
    read_back: Option<ReadBack>,
    tail: usize,
    owned: BTreeMap<Partition, Owned>,
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
        Self { log, group, read_back, tail: 0, owned, placing, leaving, waiting, paused: false }
    }

    /// Reads each partition from so many records before its committed position, where no alerts are.
    #[must_use]
    pub fn with_tail(mut self, records: usize) -> Self {
        self.tail = records;
        self
    }

    /// Assigns all partitions of a topic.
    pub fn assign_topic(&mut self, topic: &Arc<str>) {
        for partition in self.log.partitions(topic) {
            self.assign(partition);
        }
    }

    /// Assigns one partition: the same path as a reset. It begins as soon as no open transaction hides what is
    /// committed, or the end of what is read back; what lies before is read back meanwhile.
    pub fn assign(&mut self, partition: Partition) {
        self.placing.push_back(Placing { lease: Lease::grant(partition), known: None });
        self.place();
    }

    /// Takes partitions away the polite way. The stage says on the receiver when it has finished with them;
    /// [`Source::give_up`] ends the wait.
    pub fn revoke(&mut self, partitions: Vec<Partition>) -> Receiver<()> {
        let (settled, receiver) = sync_channel(1);
        self.placing.retain(|placing| !partitions.contains(placing.lease.partition()));
        for partition in &partitions {
            if let Some(owned) = self.owned.remove(partition) {
                self.leaving.insert(partition.clone(), owned.lease);
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

    /// Takes a partition away without a word (a lost assignment). The stage hears of it even where it is not placed yet:
    /// after a reset it knows it all the same.
    pub fn lose(&mut self, partition: &Partition) {
        let placing = self.placing.len();
        self.placing.retain(|placing| placing.lease.partition() != partition);
        let owned = self.owned.remove(partition).map(|owned| owned.lease);
        let lease = owned.or_else(|| self.leaving.remove(partition));
        if lease.is_some() || self.placing.len() < placing {
            self.waiting.push_back(Feed::Lost { partitions: vec![partition.clone()] });
        }
        if let Some(lease) = lease {
            lease.turn_off();
        }
    }

    /// The partitions that this member has, those among them that have not begun or are leaving.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        let placing = self.placing.iter().map(|placing| placing.lease.partition());
        let placing = placing.filter(|partition| !self.owned.contains_key(*partition));
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
        for (partition, owned) in &mut self.owned {
            let mut records = self.log.read(partition, owned.next, count);
            records.retain(|record| owned.ahead_until.is_none_or(|until| Position::at(record.offset) < until));
            if let Some(last) = records.last() {
                owned.next = last.next();
                return Some(Feed::Records { lease: owned.lease.clone(), records });
            }
        }
        None
    }

    /// Does what the stage asks.
    pub fn command(&mut self, command: Command) {
        match command {
            Command::Pause => self.paused = true,
            Command::Resume => self.paused = false,
            Command::Reset(partitions) => {
                for partition in partitions {
                    if let Some(owned) = self.owned.remove(&partition) {
                        owned.lease.turn_off();
                        self.placing.retain(|placing| placing.lease != owned.lease);
                        self.assign(partition);
                    }
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
        let partition = placing.lease.partition();
        let alerts = self.read_back.as_ref().map(|back| Partition::new(&back.alerts, partition.number));
        let (committed, until) = match placing.known {
            Some(known) => known,
            None if self.log.is_unstable(&self.group, partition) => {
                if !self.owned.contains_key(partition) {
                    self.read_ahead(&placing.lease);
                }
                return false;
            }
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
            from = self.replay_from(back, partition, committed);
        }
        if self.read_back.is_none() {
            let records = self.log.read(partition, Position::at(0), usize::MAX);
            let done = records.iter().map(|record| Position::at(record.offset)).filter(|at| *at < committed);
            from = done.rev().take(self.tail).last().unwrap_or(committed);
        }
        let next = self.owned.get(partition).map_or(from, |ahead| ahead.next);
        let assignment = Assignment { lease: placing.lease.clone(), committed, is_decided: true, restored };
        self.begin((next, None), assignment);
        true
    }

    /// An open transaction hides what is committed, or whether it grows: what is before is read back meanwhile, with the
    /// alerts that there are so far.
    fn read_ahead(&mut self, lease: &Lease) {
        let Some(back) = &self.read_back else { return };
        let committed = self.log.committed(&self.group, lease.partition());
        let from = self.replay_from(back, lease.partition(), committed);
        let restored =
            self.log.read(&Partition::new(&back.alerts, lease.partition().number), Position::at(0), usize::MAX);
        let assignment = Assignment { lease: lease.clone(), committed, is_decided: false, restored };
        self.begin((from, Some(committed)), assignment);
    }

    /// From the log time of the committed position: the log stood still for a stage that was down.
    fn replay_from(&self, back: &ReadBack, partition: &Partition, committed: Position) -> Position {
        let log_time = self.log.time_before(partition, committed);
        log_time.map_or(committed, |at| committed.min(self.log.position_at(partition, at.minus(back.look_back))))
    }

    fn begin(&mut self, (next, ahead_until): (Position, Option<Position>), assignment: Assignment) {
        let lease = assignment.lease.clone();
        self.owned.insert(lease.partition().clone(), Owned { lease, next, ahead_until });
        self.waiting.push_back(Feed::Assigned(assignment));
    }
}
