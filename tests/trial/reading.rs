//! Reading topics as their readers do: what is committed, from the first record to the end.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{DefaultProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{SOON, Trial};

impl Trial {
    /// Writes each record once, however often it must be sent.
    pub fn producer(&self) -> ThreadedProducer<DefaultProducerContext> {
        self.producer_config().create().unwrap()
    }

    pub fn producer_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("linger.ms", "1")
            .set("enable.idempotence", "true")
            .set("reconnect.backoff.max.ms", "500")
            .set("topic.metadata.refresh.interval.ms", "1000");
        config
    }

    /// Everything that is committed in a topic.
    pub fn read(&self, topic: &str) -> Vec<OwnedMessage> {
        // The end is an answer without a record: who waits long for one gets none where somebody writes all the time.
        let mut config = self.consumer_config(topic, "read_committed");
        let consumer: BaseConsumer = config.set("fetch.wait.max.ms", "10").create().unwrap();
        let mut open = partitions(&consumer, topic);
        let mut messages = Vec::new();
        assign(&consumer, topic, &open);
        let until = Instant::now() + SOON;
        while !open.is_empty() {
            assert!(Instant::now() < until, "{topic} does not come to its end");
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => messages.push(message.detach()),
                Some(Err(KafkaError::PartitionEOF(partition))) => open.retain(|other| *other != partition),
                Some(Err(error)) => panic!("{topic}: {error}"),
                None => {}
            }
        }
        messages
    }

    pub fn consumer(&self, topic: &str, isolation: &str) -> BaseConsumer {
        self.consumer_config(topic, isolation).create().unwrap()
    }

    pub fn consumer_config(&self, topic: &str, isolation: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("group.id", format!("{topic}-reader"))
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("reconnect.backoff.max.ms", "500");
        config
    }

    /// Waits until `count` offsets of a topic are taken, by records or by the marks of transactions.
    pub fn wait_for(&self, topic: &str, count: i64) {
        let consumer = self.consumer(topic, "read_committed");
        let until = Instant::now() + SOON;
        loop {
            let found: i64 = ends(&consumer, topic).into_iter().sum();
            if found >= count {
                return;
            }
            assert!(Instant::now() < until, "{found} of {count} offsets of {topic}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the group of a stage has committed of each partition of a topic.
    pub fn committed(&self, stage: &str, topic: &str) -> Vec<i64> {
        self.committed_within(SOON, stage, topic).expect("the group says what it has committed")
    }

    /// The same, if it is told in time: what a transaction holds is not told before that ends.
    pub fn committed_within(&self, limit: Duration, stage: &str, topic: &str) -> Option<Vec<i64>> {
        let group: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", self.own(stage))
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in partitions(&group, topic) {
            list.add_partition(topic, partition);
        }
        let found = group.committed_offsets(list, limit).ok()?;
        let position = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        Some(found.elements().iter().map(|at| position(at.offset())).collect())
    }
}

/// Begins every partition at its first record.
pub fn assign(consumer: &BaseConsumer, topic: &str, partitions: &[i32]) {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
}

pub fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), SOON).unwrap();
    metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect()
}

/// Where each partition ends: for a reader of what is committed, where an open transaction holds it back.
pub fn ends(consumer: &BaseConsumer, topic: &str) -> Vec<i64> {
    let all = partitions(consumer, topic).into_iter();
    all.map(|at| consumer.fetch_watermarks(topic, at, SOON).unwrap().1).collect()
}
