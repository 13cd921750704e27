//! What a source knows, for those who work beside it: the group's metadata for a commit, and figures for people.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError as Theirs;

use crate::kafka::rebalance::Listener;
use crate::stream::{Fault, Partition, Position};

/// How often partitions came and went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rebalances {
    /// Assignments that brought at least one partition.
    pub assigned: u64,
    /// Partitions taken back politely.
    pub revoked: u64,
    /// Assignments that were lost.
    pub lost: u64,
}

/// How far a partition is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// Which.
    pub partition: Partition,
    /// Records (and transaction markers: 1 or 2 at rest) between the committed position and the end.
    pub records: i64,
}

/// Figures that the polling thread leaves here.
#[derive(Debug, Default)]
pub(super) struct Board {
    polled_at_micros: AtomicU64,
    reached_at_micros: AtomicU64,
    /// Whether this consumer holds an assignment: before that, group metadata is accepted by the broker unfenced.
    pub(super) member: AtomicBool,
    places: Mutex<BTreeMap<Partition, Place>>,
    rebalances: Mutex<Rebalances>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    committed: Position,
    end: i64,
}

impl Board {
    pub(super) fn polled(&self, at: Duration) {
        self.polled_at_micros.store(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn polled_at(&self) -> Duration {
        Duration::from_micros(self.polled_at_micros.load(Ordering::Relaxed))
    }

    /// A broker is connected, and the group's coordinator is known.
    pub(super) fn reached(&self, at: Duration) {
        self.reached_at_micros.store(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn reached_at(&self) -> Duration {
        Duration::from_micros(self.reached_at_micros.load(Ordering::Relaxed))
    }

    pub(super) fn placed(&self, at: &Partition, committed: Position, end: i64) {
        self.places().insert(at.clone(), Place { committed, end });
    }

    pub(super) fn left(&self, at: &Partition) {
        self.places().remove(at);
    }

    pub(super) fn committed(&self, offsets: &[(Partition, Position)]) {
        let mut places = self.places();
        for (at, position) in offsets {
            if let Some(place) = places.get_mut(at) {
                place.committed = *position;
            }
        }
    }

    /// A later end of a partition that is assigned.
    pub(super) fn ends(&self, topic: &str, number: i32, end: i64) {
        for (at, place) in self.places().iter_mut() {
            if at.number == number && &*at.topic == topic {
                place.end = place.end.max(end);
            }
        }
    }

    pub(super) fn lags(&self) -> Vec<Lag> {
        let lag = |(at, place): (&Partition, &Place)| Lag {
            partition: at.clone(),
            records: place.end.saturating_sub(place.committed.offset()).max(0),
        };
        self.places().iter().map(lag).collect()
    }

    pub(super) fn rebalances(&self) -> Rebalances {
        *self.rebalances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rebalanced(&self, count: impl FnOnce(&mut Rebalances)) {
        count(&mut self.rebalances.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn places(&self) -> std::sync::MutexGuard<'_, BTreeMap<Partition, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle on a source's place in its group. Cheap to clone; it does not keep the consumer alive.
#[derive(Clone)]
pub struct Membership {
    /// The consumer that is in place.
    consumer: Arc<Mutex<Weak<BaseConsumer<Listener>>>>,
    pub(super) board: Arc<Board>,
    /// The group's name.
    pub(super) group: Arc<str>,
}

impl Membership {
    /// The place of who reads in no group.
    pub(super) fn nowhere() -> Self {
        Self { consumer: Arc::default(), board: Arc::default(), group: Arc::from("nobody") }
    }

    pub(super) fn new(consumer: &Arc<BaseConsumer<Listener>>, board: Arc<Board>, group: &str) -> Self {
        Self { consumer: Arc::new(Mutex::new(Arc::downgrade(consumer))), board, group: Arc::from(group) }
    }

    /// Another consumer takes the place.
    pub(super) fn pass_to(&self, consumer: &Arc<BaseConsumer<Listener>>) {
        *self.consumer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(consumer);
    }

    /// The group's metadata now.
    ///
    /// The client answers from the thread on which it also learns that it was put out of the group, so metadata of
    /// nobody (which the broker would accept without a check) is always seen here as an assignment that was lost.
    ///
    /// # Errors
    /// [`Fault::FencedMember`] without an assignment.
    pub(super) fn metadata(&self) -> Result<ConsumerGroupMetadata, Fault> {
        let consumer = self.consumer()?;
        let metadata = consumer.group_metadata();
        if !self.board.member.load(Ordering::SeqCst) || consumer.assignment_lost() {
            return Err(Fault::FencedMember("this consumer holds no assignment".to_owned()));
        }
        metadata.ok_or_else(|| Fault::FencedMember("this consumer is in no group".to_owned()))
    }

    /// The group's metadata, of a member or not: for positions that are never committed.
    pub(super) fn any_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer().ok()?.group_metadata()
    }

    /// What commits positions for the group, outside a transaction. Blocks until the coordinator answered.
    ///
    /// # Errors
    /// [`Fault::FencedMember`] without an assignment.
    pub(super) fn committer(&self) -> Result<impl FnOnce(TopicPartitionList) -> Result<(), Theirs> + use<>, Fault> {
        let consumer = self.consumer()?;
        if !self.board.member.load(Ordering::SeqCst) || consumer.assignment_lost() {
            return Err(Fault::FencedMember("this consumer holds no assignment".to_owned()));
        }
        Ok(move |list: TopicPartitionList| consumer.commit(&list, CommitMode::Sync))
    }

    /// Remembers what was committed, for the lag.
    pub(super) fn committed(&self, offsets: &[(Partition, Position)]) {
        self.board.committed(offsets);
    }

    fn consumer(&self) -> Result<Arc<BaseConsumer<Listener>>, Fault> {
        let consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        consumer.ok_or_else(|| Fault::FencedMember("the source has ended".to_owned()))
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("lags", &self.board.lags()).finish_non_exhaustive()
    }
}
