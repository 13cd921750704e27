//! What happens when the group gives and takes partitions. Runs inside the poll of the polling thread.
//!
//! Given: place each partition under a new lease and assign it there. Taken politely: tell the stage, wait (bounded) until
//! it has committed what it began, turn the leases off, give the partitions back. Lost: leases off at once, nothing
//! else can be done. A consumer that another has taken the place of is not listened to any more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::Timeout;
use rdkafka::{Offset, Statistics, TopicPartitionList};

use crate::kafka::deadline::Deadline;
use crate::kafka::desk::Desk;
use crate::kafka::placement::{Ahead, Placed, Placement};
use crate::kafka::{KafkaError, client, wire};
use crate::stream::Partition;
use crate::time::Clock;

/// How long the stage may take nothing of what is read ahead; then the rest is read as anything else.
const STAGE_PATIENCE: Duration = Duration::from_secs(1);

/// What the consumers of a source have in common; one of them is in place at a time.
pub(super) struct Seat {
    pub(super) desk: Mutex<Desk>,
    pub(super) placement: Placement,
    pub(super) drain_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    /// The number of the consumer that is in place.
    pub(super) present: AtomicU64,
}

/// The context of a source's consumer.
pub(super) struct Listener {
    pub(super) seat: Arc<Seat>,
    pub(super) number: u64,
}

impl Listener {
    /// The seat, as long as nobody else is in place.
    fn seat(&self) -> Option<&Seat> {
        (self.seat.present.load(Ordering::SeqCst) == self.number).then_some(&*self.seat)
    }
}

impl Seat {
    /// A consumer for this seat: the one that is in place when it is made last.
    pub(super) fn consumer(self: &Arc<Self>, config: &ClientConfig) -> Result<BaseConsumer<Listener>, KafkaError> {
        let number = self.present.load(Ordering::SeqCst);
        Ok(config.create_with_context(Listener { seat: self.clone(), number })?)
    }

    /// It joins the group.
    pub(super) fn subscribe(&self, consumer: &BaseConsumer<Listener>) -> Result<(), KafkaError> {
        let topics = self.desk().topics.clone();
        Ok(consumer.subscribe(&topics.iter().map(|topic| &**topic).collect::<Vec<_>>())?)
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of partitions. What can be read back before they are decided goes to the stage meanwhile.
    pub(super) fn place(&self, partitions: &[Partition]) -> Result<Vec<Placed>, KafkaError> {
        self.placement.place(partitions, &mut |ahead| {
            let (mut desk, now) = (self.desk(), self.clock.monotonic());
            match ahead {
                Ahead::Begun(placed) => desk.begin(placed, false, now),
                Ahead::Record(record) => drop(desk.gather(record, now)),
            }
            desk.outlet.pump(|| STAGE_PATIENCE) && !desk.outlet.is_closed()
        })
    }

    /// A client asked for what is not on the log: the source ends, and says where.
    pub(super) fn overtaken(&self, error: &Theirs) {
        let next: Vec<_> = self.desk().held.iter().map(|(at, held)| (at.clone(), held.next)).collect();
        let deadline = Deadline::after(&self.clock, client::ASK);
        let found = self.placement.overtaken(next.into_iter(), &deadline);
        self.desk().fail(found.map_or_else(|| error.to_string(), |found| found.to_string()));
    }

    fn assign(&self, consumer: &BaseConsumer<Listener>, partitions: &[Partition]) {
        let placed = match self.place(partitions) {
            Ok(placed) => placed,
            Err(error) => return self.refuse(consumer, partitions, &error.to_string()),
        };
        let places = wire::list(placed.iter().map(|it| (it.lease.partition(), it.start)));
        let assigned = places.and_then(|places| {
            consumer.incremental_assign(&places)?;
            // The client remembers of a partition that it was paused when it went, whatever was said meanwhile.
            let paused = self.desk().paused;
            let set = if paused { consumer.pause(&places) } else { consumer.resume(&places) };
            Ok(set?)
        });
        let mut desk = self.desk();
        if let Err(error) = assigned {
            return desk.fail(error.to_string());
        }
        if !placed.is_empty() {
            desk.board.rebalanced(|count| count.assigned += 1);
        }
        for one in placed {
            tracing::debug!(partition = %one.lease.partition(), start = %one.start, committed = %one.committed, "begins");
            desk.grant(one, self.clock.monotonic());
        }
    }

    /// The group waits for an answer to every assignment, also from who is about to leave: take it, and read nothing.
    fn refuse(&self, consumer: &BaseConsumer<Listener>, partitions: &[Partition], why: &str) {
        let mut list = wire::bare_list(partitions);
        let answered = list
            .set_all_offsets(Offset::End)
            .and_then(|()| consumer.incremental_assign(&list))
            .and_then(|()| consumer.pause(&list));
        if let Err(error) = answered {
            tracing::warn!(%error, "answering an assignment");
        }
        self.desk().fail(why.to_owned());
    }

    fn revoke(&self, partitions: Vec<Partition>) {
        let deadline = Deadline::after(&self.clock, self.drain_timeout);
        let (leases, settled) = {
            let mut desk = self.desk();
            let leases = desk.release(&partitions);
            desk.board.rebalanced(|count| count.revoked += 1);
            (leases, desk.announce(partitions))
        };
        let told = self.desk().outlet.pump(|| deadline.left());
        if !told || settled.recv_timeout(deadline.left()) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the stage did not settle in time; what it has not committed will be done again");
        }
        for lease in leases {
            lease.turn_off();
        }
        let mut desk = self.desk();
        desk.count_membership();
        desk.flush();
    }

    /// Partitions are gone: nothing more is done for them.
    pub(super) fn lose(&self, partitions: Vec<Partition>) {
        let mut desk = self.desk();
        desk.board.rebalanced(|count| count.lost += 1);
        desk.lose(partitions);
    }
}

impl ConsumerContext for Listener {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let Some(seat) = self.seat() else {
            // It only has to end, and its group waits for an answer.
            let answered = match event {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => consumer.incremental_assign(list),
                _ => consumer.incremental_unassign(list),
            };
            return drop(answered.inspect_err(|error| tracing::debug!(%error, "a consumer that is not in place")));
        };
        let partitions: Vec<Partition> = {
            let desk = seat.desk();
            let of = |(topic, number): (String, i32)| Partition { topic: desk.topic(&topic), number };
            list.to_topic_map().into_keys().map(of).collect()
        };
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                tracing::info!(partitions = %names(&partitions), "partitions came");
                seat.assign(consumer, &partitions);
            }
            _ => {
                let lost = consumer.assignment_lost();
                tracing::info!(partitions = %names(&partitions), lost, "partitions go");
                if lost {
                    seat.lose(partitions);
                } else if !partitions.is_empty() {
                    seat.revoke(partitions);
                }
                if let Err(error) = consumer.incremental_unassign(list) {
                    tracing::warn!(%error, "giving partitions back");
                }
            }
        }
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_millis(100))
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::pass_on(level, facility, message);
    }

    fn error(&self, error: Theirs, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer");
        if error.rdkafka_error_code() == Some(Code::AllBrokersDown)
            && let Some(seat) = self.seat()
        {
            seat.desk().trouble(Some(format!("no broker can be reached: {reason}")));
        }
    }

    fn stats(&self, statistics: Statistics) {
        let Some(seat) = self.seat() else { return };
        let mut desk = seat.desk();
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            desk.trouble(None);
            if statistics.cgrp.as_ref().is_none_or(|group| group.state == "up") {
                desk.board.reached(seat.clock.monotonic());
            }
        }
        for (name, topic) in &statistics.topics {
            for (number, partition) in &topic.partitions {
                desk.board.ends(name, *number, partition.hi_offset);
            }
        }
    }
}

fn names(partitions: &[Partition]) -> String {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    names.join(", ")
}
