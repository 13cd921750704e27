//! What happens when the group gives and takes partitions. Runs inside the poll of the polling thread.
//!
//! Given: place each partition, assign it there, grant a lease. Taken politely: tell the stage, wait (bounded) until
//! it has committed what it began, turn the leases off, give the partitions back. Lost: leases off at once, nothing
//! else can be done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::Timeout;
use rdkafka::{Offset, Statistics, TopicPartitionList};

use crate::kafka::desk::Desk;
use crate::kafka::placement::Placement;
use crate::kafka::scout::Deadline;
use crate::kafka::{client, wire};
use crate::stream::Partition;
use crate::time::Clock;

/// The context of a source's consumer.
pub(super) struct Listener {
    pub(super) desk: Mutex<Desk>,
    pub(super) placement: Placement,
    pub(super) drain_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl Listener {
    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &[Partition]) {
        let placed = match self.placement.place(partitions) {
            Ok(placed) => placed,
            Err(error) => return self.refuse(consumer, partitions, &error.to_string()),
        };
        let places = wire::list(placed.iter().map(|it| (&it.partition, it.start)));
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
            desk.grant(one, self.clock.monotonic());
        }
    }

    /// The group waits for an answer to every assignment, also from who is about to leave: take it, and read nothing.
    fn refuse(&self, consumer: &BaseConsumer<Self>, partitions: &[Partition], why: &str) {
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
        let told = self.desk().outlet.pump(deadline.left());
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

    fn lose(&self, partitions: Vec<Partition>) {
        let mut desk = self.desk();
        desk.board.rebalanced(|count| count.lost += 1);
        desk.lose(partitions);
    }
}

impl ConsumerContext for Listener {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<Partition> = {
            let desk = self.desk();
            let of = |(topic, number): (String, i32)| Partition { topic: desk.topic(&topic), number };
            list.to_topic_map().into_keys().map(of).collect()
        };
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                tracing::info!(partitions = %names(&partitions), "partitions came");
                self.assign(consumer, &partitions);
            }
            _ => {
                let lost = consumer.assignment_lost();
                tracing::info!(partitions = %names(&partitions), lost, "partitions go");
                if lost {
                    self.lose(partitions);
                } else if !partitions.is_empty() {
                    self.revoke(partitions);
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
        if error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            self.desk().trouble(Some(format!("no broker can be reached: {reason}")));
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut desk = self.desk();
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            desk.trouble(None);
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
