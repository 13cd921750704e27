//! Somebody who reads what is committed in a topic while a test breaks things, and remembers when each record could be
//! read and where it came from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::outcome::origin;
use super::reading::partitions;
use super::{Trial, wait_for};

/// A record that could be read.
#[derive(Clone)]
struct Seen {
    at: Instant,
    /// When the broker appended it, in milliseconds.
    appended: i64,
    /// A scored post: topic and partition of its input. Another record: its own.
    origin: (String, i32),
}

impl Seen {
    /// Whether it was made after that moment.
    fn is_after(&self, moment: Moment) -> bool {
        self.at > moment.at && self.appended > moment.millis + ON_ITS_WAY
    }
}

/// A moment, on both clocks: ours, and the one that the broker stamps records with.
#[derive(Clone, Copy)]
pub struct Moment {
    pub at: Instant,
    millis: i64,
}

impl Moment {
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self { at: Instant::now(), millis: i64::try_from(since.as_millis()).unwrap() }
    }
}

/// What was on its way to the broker when its sender died is appended within this time, and is no sign of life.
const ON_ITS_WAY: i64 = 100;
/// Who hears nothing for so long goes on with a new client.
const QUIET: Duration = Duration::from_secs(10);

pub struct Follower {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Follows the scored posts.
    pub fn start(trial: &Trial) -> Self {
        Self::of(trial, "scored")
    }

    /// Follows the topic of this role.
    pub fn of(trial: &Trial, role: &str) -> Self {
        let topic = trial.own(role);
        let config = trial.consumer_config(&topic, "read_committed");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut place = TopicPartitionList::new();
        for partition in partitions(&consumer, &topic) {
            place.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&place).unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (told, stopped) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (mut consumer, mut heard) = (consumer, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                // An error is a broker that is away: the client tries again, and may hang for good when it is back.
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
                    if heard.elapsed() > QUIET {
                        let old = std::mem::replace(&mut consumer, config.create().unwrap());
                        std::thread::spawn(move || drop(old));
                        consumer.assign(&place).unwrap();
                        heard = Instant::now();
                    }
                    continue;
                };
                heard = Instant::now();
                let next = Offset::Offset(message.offset() + 1);
                place.set_partition_offset(message.topic(), message.partition(), next).unwrap();
                let (appended, origin) = (message.timestamp().to_millis().unwrap(), origin_of(&message));
                told.lock().unwrap().push(Seen { at: Instant::now(), appended, origin });
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits until `more` records can be read that could not when it was asked.
    pub fn wait_more(&self, more: usize) {
        let before = self.count();
        wait_for("new records", || (self.count() >= before + more).then_some(()));
    }

    /// How long after `moment` the first record could be read that was made after it.
    pub fn recovery(&self, moment: Moment) -> Duration {
        wait_for("a new record", || self.recovered(moment))
    }

    /// How long after `moment` there was such a record of the last of the input partitions that were seen before.
    pub fn recovery_of_all(&self, moment: Moment) -> Duration {
        wait_for("a new record of each partition", || {
            let mut first: BTreeMap<(String, i32), Option<Duration>> = BTreeMap::new();
            for seen in self.seen.lock().unwrap().iter() {
                let first = first.entry(seen.origin.clone()).or_default();
                if first.is_none() && seen.is_after(moment) {
                    *first = Some(seen.at - moment.at);
                }
            }
            first.into_values().collect::<Option<Vec<_>>>()?.into_iter().max()
        })
    }

    /// Whether there is one already.
    pub fn has_recovered(&self, moment: Moment) -> bool {
        self.recovered(moment).is_some()
    }

    fn recovered(&self, moment: Moment) -> Option<Duration> {
        let seen = self.seen.lock().unwrap();
        seen.iter().find(|seen| seen.is_after(moment)).map(|seen| seen.at - moment.at)
    }

    /// For each input partition the longest time between two records since `from`, the time since the last included.
    pub fn gaps(&self, from: Instant) -> BTreeMap<(String, i32), Duration> {
        let mut last: BTreeMap<(String, i32), (Instant, Duration)> = BTreeMap::new();
        for seen in self.seen.lock().unwrap().iter() {
            let (at, longest) = last.entry(seen.origin.clone()).or_insert((seen.at.min(from), Duration::ZERO));
            if seen.at > from {
                *longest = (*longest).max(seen.at.saturating_duration_since((*at).max(from)));
            }
            *at = seen.at;
        }
        let now = Instant::now();
        let whole = |(at, longest): (Instant, Duration)| longest.max(now.saturating_duration_since(at.max(from)));
        last.into_iter().map(|(origin, gap)| (origin, whole(gap))).collect()
    }
}

fn origin_of(message: &BorrowedMessage<'_>) -> (String, i32) {
    if message.topic().ends_with(".scored") {
        let (topic, partition, _) = origin(&serde_json::from_slice(message.payload().unwrap()).unwrap());
        return (topic, partition);
    }
    (message.topic().to_owned(), message.partition())
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
