//! Promise: on a real broker, everything is read once, committed once, and said when it goes wrong.
//!
//! The broker is in `BELLWETHER_TEST_KAFKA`; every test has topics and groups of its own.

mod commits;
mod outage;
mod raw;
mod reading;
mod sharing;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bellwether::kafka::{
    KafkaSettings, PlainProducer, ReadBack, Source, SourceConfig, SourceHandle, TopicPlan, Traces, Upkeep,
    ensure_topics,
};
use bellwether::stream::{Assignment, Command, Feed, Headers, Lease, Output, Partition, Position, Record, Row};
use bellwether::time::{Clock, SystemClock};
use crossbeam_channel::{Receiver, bounded};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::trial::wait_for;

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(30);

/// One test's corner of the broker.
struct Corner {
    settings: KafkaSettings,
    prefix: String,
    clock: Arc<dyn Clock>,
}

impl Corner {
    fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let servers = std::env::var("BELLWETHER_TEST_KAFKA")
            .expect("BELLWETHER_TEST_KAFKA is not set: run the tests with `make test`, which starts a broker for them");
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let settings = KafkaSettings { bootstrap_servers: servers, ..KafkaSettings::default() };
        let prefix = format!("t{}-{since}-{number}-{name}", std::process::id());
        Self { settings, prefix, clock: Arc::new(SystemClock::new()) }
    }

    /// A new topic.
    fn topic(&self, name: &str, partitions: i32, upkeep: Upkeep) -> Arc<str> {
        let name: Arc<str> = format!("{}.{name}", self.prefix).into();
        let plan = TopicPlan { name: name.clone(), upkeep, alike: false };
        let settings = KafkaSettings { partitions, ..self.settings.clone() };
        ensure_topics(&settings, &[plan], self.clock.as_ref()).unwrap();
        name
    }

    fn group(&self) -> String {
        format!("{}.group", self.prefix)
    }

    /// Writes `values` one after another, outside any transaction, in single-partition topics.
    fn write(&self, topic: &Arc<str>, values: impl IntoIterator<Item = String>) {
        let mut producer = PlainProducer::start(&self.settings, topic, self.clock.as_ref()).unwrap();
        for value in values {
            producer.send(Some(b"key"), value.as_bytes()).unwrap();
        }
        producer.finish().unwrap();
    }

    /// A transaction that is open, with these values in it.
    fn open_transaction(
        &self,
        topic: &str,
        partition: i32,
        values: &[&str],
    ) -> ThreadedProducer<DefaultProducerContext> {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.settings.bootstrap_servers)
            .set("transactional.id", format!("{topic}-{partition}-{}", values.join("-")))
            .set("transaction.timeout.ms", "60000")
            .create()
            .unwrap();
        producer.init_transactions(SOON).unwrap();
        producer.begin_transaction().unwrap();
        for value in values {
            producer.send(BaseRecord::to(topic).partition(partition).key("key").payload(*value)).unwrap();
        }
        producer.flush(SOON).unwrap();
        producer
    }

    fn transaction(&self, topic: &str, partition: i32, values: &[&str]) {
        self.open_transaction(topic, partition, values).commit_transaction(SOON).unwrap();
    }

    fn config(&self, topics: &[&Arc<str>]) -> SourceConfig {
        SourceConfig {
            settings: self.settings.clone(),
            group: self.group(),
            topics: topics.iter().map(|topic| (*topic).clone()).collect(),
            read_back: None,
            traces: Traces::None,
            tail: 0,
            until_end: false,
            client_id: self.prefix.clone(),
            clock: self.clock.clone(),
        }
    }

    fn read(&self, topics: &[&Arc<str>]) -> Reader {
        Reader::start(self.config(topics))
    }

    fn output(topic: &Arc<str>, value: impl Into<bytes::Bytes>) -> Output {
        let key = Some(bytes::Bytes::from_static(b"key"));
        Output { topic: topic.clone(), partition: 0, key, value: Some(value.into()), headers: Headers::new() }
    }

    fn row(topic: &Arc<str>, value: impl Into<bytes::Bytes>) -> Row<()> {
        Row { outputs: vec![Self::output(topic, value)], note: () }
    }

    /// A client that asks.
    fn client(&self) -> BaseConsumer {
        self.client_of(&format!("{}.asks", self.prefix))
    }

    /// A client that knows a group, and is no member of it.
    fn client_of(&self, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.settings.bootstrap_servers).set("group.id", group).create().unwrap()
    }

    /// Until the brokers have given somebody a partition in this corner's group.
    fn wait_for_a_member(&self) {
        let client = self.client();
        wait_for("a member of the group", || {
            let found = client.fetch_group_list(Some(&self.group()), SOON).ok()?;
            let group = found.groups().first()?;
            (group.state() == "Stable" && !group.members().is_empty()).then_some(())
        });
    }

    /// Where the first partition ends, whatever stands in it.
    fn end(&self, topic: &str) -> i64 {
        self.client().fetch_watermarks(topic, 0, SOON).unwrap().1
    }

    /// A new topic of which this node has all.
    fn put_on(&self, node: i32, topic: &str, partitions: i32) {
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", &self.settings.bootstrap_servers).create().unwrap();
        let nodes = [node];
        let nodes = vec![&nodes[..]; usize::try_from(partitions).unwrap()];
        let topic = NewTopic::new(topic, partitions, TopicReplication::Variable(&nodes));
        let made = admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(SOON)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(made).unwrap().into_iter().for_each(|topic| drop(topic.unwrap()));
    }

    /// As if retention had removed what stands before an offset of the first partition.
    fn remove_before(&self, topic: &str, offset: i64) {
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", &self.settings.bootstrap_servers).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        let options = AdminOptions::new();
        let removed = admin.delete_records(&list, &options);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(removed).unwrap();
    }

    /// Everything committed in a topic of one partition, read in a group of its own.
    fn contents(&self, topic: &Arc<str>) -> Vec<String> {
        let group = format!("{}.contents-{topic}", self.prefix);
        let reader = Reader::start(SourceConfig { group, until_end: true, ..self.config(&[topic]) });
        let mut values = Vec::new();
        loop {
            match reader.next() {
                Feed::Records { records, .. } => values.extend(records.iter().map(value)),
                Feed::End { .. } => return values,
                _ => {}
            }
        }
    }
}

fn value(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()
}

fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("value-{number}"))
}

/// A source whose feeds wait in a queue.
struct Reader {
    source: Option<SourceHandle>,
    feeds: Receiver<Feed>,
}

impl Reader {
    fn start(config: SourceConfig) -> Self {
        let (sender, feeds) = bounded(10_000);
        let source = Source::start(config, move |feed| sender.send(feed).is_ok()).unwrap();
        Self { source: Some(source), feeds }
    }

    fn source(&self) -> &SourceHandle {
        self.source.as_ref().unwrap()
    }

    fn next(&self) -> Feed {
        self.feeds.recv_timeout(SOON).expect("nothing came in time")
    }

    fn assigned(&self) -> Assignment {
        loop {
            match self.next() {
                Feed::Assigned(assignment) => return assignment,
                Feed::Failed(why) => panic!("failed: {why}"),
                _ => {}
            }
        }
    }

    /// At least `count` records, of any partition.
    fn records(&self, count: usize) -> (Lease, Vec<Record>) {
        let mut all = Vec::new();
        loop {
            if let Feed::Records { lease, records } = self.next() {
                all.extend(records);
                if all.len() >= count {
                    return (lease, all);
                }
            }
        }
    }

    fn failed(&self) -> String {
        loop {
            if let Feed::Failed(why) = self.next() {
                return why;
            }
        }
    }

    /// Leaves the group, saying that everything is settled.
    fn stop(mut self) {
        let source = self.source.take().unwrap();
        source.command(Command::Stop);
        let feeds = self.feeds.clone();
        std::thread::spawn(move || {
            while let Ok(feed) = feeds.recv() {
                if let Feed::Revoked { settled, .. } = feed {
                    let _ = settled.send(());
                }
            }
        });
        source.join();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            source.command(Command::Stop);
        }
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < SOON, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
