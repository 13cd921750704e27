//! A scout asks about partitions and reads short stretches of them, beside the subscription and in no group.
//!
//! Two clients: one reads uncommitted, because only that one is told the real end of a partition (a read-committed
//! client is told an end that an open transaction holds back); the other reads committed records.
//!
//! Who gets no answer asks again with new clients. An old one may never get any: librdkafka keeps what it was told
//! once, even that nobody leads a partition, and a coordinator that it dropped while the broker was not to be seen
//! (librdkafka#5511).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::kafka::client::{self, Quiet};
use crate::kafka::deadline::Deadline;
use crate::kafka::{KafkaError, KafkaSettings, wire};
use crate::stream::{Partition, Position, Record, Span};
use crate::time::{Clock, Timestamp};

/// Where a partition begins and ends, open transactions included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// New clients are made no more often than this.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// How long a client may bring nothing of what is there.
const SILENCE: Duration = Duration::from_secs(10);

/// Who asks and reads.
pub(super) struct Scout {
    config: ClientConfig,
    clients: Mutex<Clients>,
    clock: Arc<dyn Clock>,
}

/// The two clients.
#[derive(Clone)]
struct Clients {
    open: Arc<BaseConsumer<Quiet>>,
    stable: Arc<BaseConsumer<Quiet>>,
    made_at: Duration,
}

impl Clients {
    fn make(config: &ClientConfig, made_at: Duration) -> Result<Self, Theirs> {
        let open = config.clone().set("isolation.level", "read_uncommitted").create_with_context(Quiet)?;
        let stable = config.clone().set("enable.partition.eof", "true").create_with_context(Quiet)?;
        Ok(Self { open: Arc::new(open), stable: Arc::new(stable), made_at })
    }
}

impl Scout {
    /// Two clients; nothing is asked yet. `group` is named for access rules only, and never joined.
    pub(super) fn new(settings: &KafkaSettings, group: &str, clock: &Arc<dyn Clock>) -> Result<Self, KafkaError> {
        let mut config = client::consumer(settings, group, &format!("{group}-scout"));
        config.set("statistics.interval.ms", "0");
        config.set("queued.max.messages.kbytes", (client::SCOUT_BYTES / 1024).to_string());
        // It reads for moments only, an end is told with the answer to a fetch, and it waits for ends of transactions.
        config.set("fetch.wait.max.ms", "20");
        config.set("fetch.queue.backoff.ms", "20");
        config.set("retry.backoff.max.ms", "100");
        Self::of(config, clock.clone())
    }

    /// One more, made like this one.
    pub(super) fn another(&self) -> Result<Self, KafkaError> {
        Self::of(self.config.clone(), self.clock.clone())
    }

    fn of(config: ClientConfig, clock: Arc<dyn Clock>) -> Result<Self, KafkaError> {
        let clients = Mutex::new(Clients::make(&config, clock.monotonic())?);
        Ok(Self { config, clients, clock })
    }

    fn clients(&self) -> Clients {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks until there is an answer, with new clients after an error.
    fn ask<T>(
        &self,
        what: &str,
        deadline: &Deadline,
        question: impl Fn(&Clients, Duration) -> Result<T, Theirs>,
    ) -> Result<T, KafkaError> {
        deadline.ask(&format!("asking for {what}"), |limit| {
            // The clients are let go before new ones are made, so that this thread never ends old ones.
            let answer = question(&self.clients(), limit);
            if let Err(error) = &answer
                // Somebody's transaction is open, which is an answer.
                && error.rdkafka_error_code() != Some(Code::UnstableOffsetCommit)
            {
                self.renew();
            }
            answer
        })
    }

    fn renew(&self) {
        let (now, mut clients) = (self.clock.monotonic(), self.clients.lock().unwrap_or_else(PoisonError::into_inner));
        if !client::may_replace() || now.saturating_sub(clients.made_at) < RENEWED_EVERY {
            return;
        }
        match Clients::make(&self.config, now) {
            Ok(new) => {
                let old = std::mem::replace(&mut *clients, new);
                client::end_aside(old);
            }
            Err(error) => tracing::debug!(%error, "making new clients"),
        }
    }

    /// Whether the coordinator of the group answers, whatever it says of this partition.
    pub(super) fn finds_coordinator(&self, at: &Partition, deadline: &Deadline) -> bool {
        let asked = self.ask("the group's coordinator", deadline, |clients, limit| {
            let answer = clients.stable.committed_offsets(wire::bare_list([at]), limit);
            match answer.map(drop) {
                Err(error) if error.rdkafka_error_code() == Some(Code::UnstableOffsetCommit) => Ok(()),
                other => other,
            }
        });
        asked.is_ok()
    }

    /// Whether the brokers know a group: somebody is in it, or it has a position on whatever topic.
    pub(super) fn knows(&self, group: &str, deadline: &Deadline) -> Result<bool, KafkaError> {
        let known = |clients: &Clients, limit| clients.open.fetch_group_list(Some(group), limit);
        let known = self.ask("the group", deadline, known)?;
        Ok(known.groups().iter().any(|it| it.name() == group && it.state() != "Dead"))
    }

    /// What the group committed of each; waits for transactions with its offsets that are still open.
    pub(super) fn committed(
        &self,
        partitions: &[Partition],
        deadline: &Deadline,
    ) -> Result<Vec<Option<i64>>, KafkaError> {
        self.committed_by(|clients| &clients.stable, partitions, deadline)
    }

    /// What the group committed of each up to now, whatever transactions with its offsets are open.
    pub(super) fn committed_so_far(
        &self,
        partitions: &[Partition],
        deadline: &Deadline,
    ) -> Result<Vec<Option<i64>>, KafkaError> {
        self.committed_by(|clients| &clients.open, partitions, deadline)
    }

    fn committed_by(
        &self,
        client: impl Fn(&Clients) -> &BaseConsumer<Quiet>,
        partitions: &[Partition],
        deadline: &Deadline,
    ) -> Result<Vec<Option<i64>>, KafkaError> {
        let found = self.ask("the committed positions", deadline, |clients, limit| {
            let found = client(clients).committed_offsets(wire::bare_list(partitions), limit)?;
            found.elements().iter().try_for_each(|element| element.error())?;
            Ok(found)
        })?;
        let position = |at: &Partition| match found.find_partition(&at.topic, at.number)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(partitions.iter().map(position).collect())
    }

    /// How many partitions a topic has; one that is not there has none.
    pub(super) fn count(&self, topic: &str, deadline: &Deadline) -> Result<usize, KafkaError> {
        self.ask(&format!("the partitions of {topic}"), deadline, |clients, limit| {
            let found = clients.open.fetch_metadata(Some(topic), limit)?;
            let Some(it) = found.topics().first() else { return Ok(0) };
            match it.error().map(Code::from) {
                None => Ok(it.partitions().len()),
                Some(Code::UnknownTopicOrPartition) => Ok(0),
                Some(other) => Err(Theirs::MetadataFetch(other)),
            }
        })
    }

    /// Where a partition begins and really ends.
    pub(super) fn bounds(&self, at: &Partition, deadline: &Deadline) -> Result<Bounds, KafkaError> {
        self.bounds_by(("end", |clients| &clients.open), at, deadline)
    }

    /// The first position whose record was appended at or after `since`; none where all are older.
    pub(super) fn since(
        &self,
        at: &Partition,
        since: Timestamp,
        deadline: &Deadline,
    ) -> Result<Option<i64>, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&at.topic, at.number, Offset::Offset(since.millis().max(0)))?;
        let found = self.ask(&format!("a position by time in {at}"), deadline, |clients, limit| {
            clients.open.offsets_for_times(list.clone(), limit)
        })?;
        match found.find_partition(&at.topic, at.number).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => Ok(Some(offset)),
            _ => Ok(None),
        }
    }

    /// All committed records in `span`, oldest first, at most `limit` of them.
    ///
    /// Waits first until no open transaction hides anything before its end: from then on the end of the partition is
    /// at or behind it, and reaching it says that nothing is left, even where only transaction markers are.
    pub(super) fn read(
        &self,
        at: &Partition,
        span: Span,
        limit: usize,
        deadline: &Deadline,
    ) -> Result<Vec<Record>, KafkaError> {
        let mut records = Vec::new();
        self.each(at, span, deadline, |record| {
            records.push(record);
            records.len() < limit
        })?;
        Ok(records)
    }

    /// Hands every committed record in `span` over, oldest first, as long as `take` wants more. A client that brings nothing
    /// for [`SILENCE`] is given up, and a new one goes on behind the last record.
    pub(super) fn each(
        &self,
        at: &Partition,
        span: Span,
        deadline: &Deadline,
        mut take: impl FnMut(Record) -> bool,
    ) -> Result<(), KafkaError> {
        let low = self.stable_until(at, span.until, deadline)?;
        let mut left = Span { from: span.from.max(Position::at(low)), until: span.until };
        while left.from < left.until {
            let stable = self.clients().stable;
            stable.assign(&wire::list([(at, left.from)])?)?;
            let collected = self.collect(&stable, (at, left), deadline, &mut take);
            stable.unassign()?;
            drop(stable);
            match collected? {
                None => break,
                Some(next) => left.from = next,
            }
            tracing::debug!(partition = %at, next = %left.from, "reading on with a new client");
            self.renew();
        }
        Ok(())
    }

    /// Reads a partition that is assigned up to the end of the span; returns where it came to when nothing more came for a
    /// while.
    fn collect(
        &self,
        stable: &BaseConsumer<Quiet>,
        (at, span): (&Partition, Span),
        deadline: &Deadline,
        take: &mut impl FnMut(Record) -> bool,
    ) -> Result<Option<Position>, KafkaError> {
        let mut next = span.from;
        let mut silence = Deadline::after(&self.clock, SILENCE);
        loop {
            let left = deadline.left();
            match stable.poll(left.min(Duration::from_millis(500))) {
                Some(Ok(message)) => {
                    if Position::at(message.offset()) >= span.until {
                        return Ok(None);
                    }
                    let record = wire::record(&message, &at.topic);
                    next = record.next();
                    if !take(record) || next >= span.until {
                        return Ok(None);
                    }
                    silence = Deadline::after(&self.clock, SILENCE);
                }
                Some(Err(Theirs::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) if wire::is_unreadable(&error) => {
                    return Err(KafkaError::refused(
                        "reading back",
                        format!("{at} holds what cannot be read: {error}"),
                    ));
                }
                Some(Err(error)) => tracing::debug!(%error, partition = %at, "reading back"),
                None => {}
            }
            if left.is_zero() {
                return Err(deadline.missed(format!("reading {at} back")));
            }
            if silence.left().is_zero() {
                return Ok(Some(next));
            }
        }
    }

    /// Where what can be read of a partition begins and ends: before the first open transaction.
    pub(super) fn stable(&self, at: &Partition, deadline: &Deadline) -> Result<Bounds, KafkaError> {
        self.bounds_by(("stable end", |clients| &clients.stable), at, deadline)
    }

    fn bounds_by(
        &self,
        (what, client): (&str, fn(&Clients) -> &BaseConsumer<Quiet>),
        at: &Partition,
        deadline: &Deadline,
    ) -> Result<Bounds, KafkaError> {
        let asked = |clients: &Clients, limit| client(clients).fetch_watermarks(&at.topic, at.number, limit);
        let (low, high) = self.ask(&format!("the {what} of {at}"), deadline, asked)?;
        Ok(Bounds { low, high })
    }

    /// Waits until everything before `until` is decided; returns the first position that is there.
    fn stable_until(&self, at: &Partition, until: Position, deadline: &Deadline) -> Result<i64, KafkaError> {
        let mut held_back = false;
        loop {
            match self.stable(at, deadline) {
                Ok(bounds) if bounds.high >= until.offset() => return Ok(bounds.low),
                Ok(_) => held_back = true,
                Err(error) if !held_back => return Err(error),
                Err(_) => {
                    let what = format!(
                        "waiting for an open transaction on {at} (where its process never comes back: start one \
                         under its instance once, or end it with kafka-transactions.sh)"
                    );
                    return Err(deadline.missed(what));
                }
            }
            self.clock.pause(deadline.left().min(Duration::from_millis(100)));
        }
    }
}
