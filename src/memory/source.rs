//! A subscription on the in-process log. It does nothing by itself: whoever drives it polls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::memory::Log;
use crate::stream::{Assignment, Command, Feed, Lease, Partition, Position};
use crate::time::Clock;

/// What must be read again before a partition goes on.
#[derive(Debug, Clone)]
pub struct ReadBack {
    /// How far back state looks, by append time.
    pub look_back: Duration,
    /// The stage's own output whose records of the same partition number are handed over on assignment.
    pub alerts: Arc<str>,
}

/// A member's subscription.
pub struct Source {
    log: Log,
    group: Arc<str>,
    read_back: Option<ReadBack>,
    clock: Arc<dyn Clock>,
    owned: BTreeMap<Partition, (Lease, Position)>,
    waiting: VecDeque<Feed>,
    paused: bool,
}

impl Source {
    /// A subscription of `group` with nothing assigned.
    #[must_use]
    pub fn new(log: Log, group: Arc<str>, read_back: Option<ReadBack>, clock: Arc<dyn Clock>) -> Self {
        Self { log, group, read_back, clock, owned: BTreeMap::new(), waiting: VecDeque::new(), paused: false }
    }

    /// Assigns all partitions of a topic.
    pub fn assign_topic(&mut self, topic: &Arc<str>) {
        for partition in self.log.partitions(topic) {
            self.assign(partition);
        }
    }

    /// Assigns one partition: the same path as a reset.
    pub fn assign(&mut self, partition: Partition) {
        let committed = self.log.committed(&self.group, &partition);
        let mut from = committed;
        let mut restored = Vec::new();
        if let Some(read_back) = &self.read_back {
            let since = self.clock.now().minus(read_back.look_back);
            from = committed.min(self.log.position_at(&partition, since));
            let alerts = Partition::new(&read_back.alerts, partition.number);
            restored = self.log.read(&alerts, Position::at(0), usize::MAX);
        }
        let lease = Lease::grant(partition.clone());
        self.owned.insert(partition, (lease.clone(), from));
        self.waiting.push_back(Feed::Assigned(Assignment { lease, committed, restored }));
    }

    /// Takes a partition away without a word (a lost assignment).
    pub fn lose(&mut self, partition: &Partition) {
        if let Some((lease, _)) = self.owned.remove(partition) {
            lease.turn_off();
            self.waiting.push_back(Feed::Lost { partitions: vec![partition.clone()] });
        }
    }

    /// The next event; at most `count` records of one partition. `None` when there is nothing to say.
    pub fn poll(&mut self, count: usize) -> Option<Feed> {
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
}
