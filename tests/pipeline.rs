//! Promise: the whole pipeline, as its users run it on a real broker, turns every record into one scored post or one
//! dead letter, whatever ends it on the way.
//!
//! The broker is in `BELLWETHER_TEST_KAFKA`; every test has a pipeline and topics of its own, and the tiny model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(90);
/// Bytes that are no JSON and no text.
const BROKEN: &[u8] = b"{\"id\": \"broken\", \xff\xfe";
/// Posts of a test that is interrupted: ten seconds of them.
const STORY: usize = 2_500;
const INSTRUMENTS: &str = "id,name,aliases\nXTST:AURM,Aurora Mills,\nXTST:BRKW,Brookwater,\n";

/// A pipeline of one test: a folder, a file and topics.
pub struct Trial {
    folder: tempfile::TempDir,
    name: String,
    pub servers: String,
}

impl Trial {
    pub fn new(name: &str) -> Self {
        let servers = std::env::var("BELLWETHER_TEST_KAFKA")
            .expect("BELLWETHER_TEST_KAFKA is not set: run the tests with `make test`, which starts a broker for them");
        Self::at(name, servers)
    }

    fn at(name: &str, servers: String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let trial = Self {
            folder: tempfile::tempdir().unwrap(),
            name: format!("p{}-{since}-{number}-{name}", std::process::id()),
            servers,
        };
        std::fs::write(trial.path("instruments.csv"), INSTRUMENTS).unwrap();
        std::fs::write(trial.path("pipeline.toml"), trial.file()).unwrap();
        trial
    }

    /// The rule holds for every score there is, so that an alert depends on no weight of the tiny model.
    fn file(&self) -> String {
        format!(
            r#"name = "{name}"
tick_interval = "200ms"
grace = "4s"
[kafka]
bootstrap_servers = "{servers}"
instance = "only"
partitions = 2
start_timeout = "3s"
[[source]]
topic = "{news}"
kind = "news"
[[source]]
topic = "{social}"
kind = "social"
fields = {{ text = ["/body"] }}
[model]
directory = "{models}"
name = "tiny"
device = "cpu"
[instruments]
file = "instruments.csv"
[[rule]]
name = "talk"
subjects = ["XTST:*"]
when = {{ index_above = -0.99, over = "30m", mentions_min = 5 }}
severity = "info"
[sample]
policy = "all"
[archive]
url = "archive"
segment_age = "1s"
[web]
listen = "127.0.0.1:0"
"#,
            name = self.name,
            servers = self.servers,
            news = self.input("news"),
            social = self.input("social"),
            models = concat!(env!("CARGO_MANIFEST_DIR"), "/models"),
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn input(&self, kind: &str) -> String {
        format!("{}-in-{kind}", self.name)
    }

    pub fn own(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        command.arg(arguments[0]).arg(self.path("pipeline.toml")).args(&arguments[1..]).env_remove("RUST_LOG");
        for (name, _) in std::env::vars().filter(|(name, _)| name.to_ascii_uppercase().starts_with("BELLWETHER__")) {
            command.env_remove(name);
        }
        let log = self.path(&format!("{}.log", arguments[0]));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().expect("the binary starts");
        Running { child, log }
    }

    /// Runs a command to its end, which must be a good one.
    pub fn done(&self, arguments: &[&str]) {
        let mut running = self.start(arguments);
        let status = running.wait();
        assert_eq!(status.code(), Some(0), "{arguments:?}: {}", running.said());
    }

    pub fn producer(&self) -> ThreadedProducer<DefaultProducerContext> {
        ClientConfig::new().set("bootstrap.servers", &self.servers).set("linger.ms", "1").create().unwrap()
    }

    /// Everything that is committed in a topic.
    pub fn read(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer = self.consumer(topic);
        let (mut open, mut messages) = (partitions(&consumer, topic), Vec::new());
        let mut list = TopicPartitionList::new();
        for partition in &open {
            list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
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

    fn consumer(&self, topic: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", format!("{topic}-reader"))
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap()
    }

    /// Waits until `count` offsets of a topic are taken, by records or by the marks of transactions.
    fn wait_for(&self, topic: &str, count: i64) {
        let consumer = self.consumer(topic);
        let until = Instant::now() + SOON;
        loop {
            let ends = partitions(&consumer, topic).into_iter();
            let found: i64 = ends.map(|at| consumer.fetch_watermarks(topic, at, SOON).unwrap().1).sum();
            if found >= count {
                return;
            }
            assert!(Instant::now() < until, "{found} of {count} offsets of {topic}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that came of the inputs; every promise about sums is kept by what it gives back.
    pub fn outcome(&self) -> Outcome {
        let read = |kind: &str| self.read(&self.own(kind));
        let inputs: BTreeMap<Place, OwnedMessage> = ["news", "social"]
            .iter()
            .flat_map(|kind| self.read(&self.input(kind)))
            .map(|message| ((message.topic().to_owned(), message.partition(), message.offset()), message))
            .collect();
        let scored: Vec<Value> = read("scored").iter().map(json_of).collect();
        // The marks of those that were sent again stand among them.
        let is_mark = |message: &OwnedMessage| header(message, "ce_type").as_deref() == Some("bellwether.replay.v1");
        let dead: Vec<OwnedMessage> = read("dead-letters").into_iter().filter(|letter| !is_mark(letter)).collect();
        let told = scored.iter().map(origin).chain(dead.iter().map(place_of_dead)).collect::<Vec<_>>();
        let places: BTreeSet<&Place> = told.iter().collect();
        assert_eq!(told.len(), places.len(), "a record was told twice");
        assert_eq!(places, inputs.keys().collect(), "records that came in and records that went out");
        assert_eq!(ids(&scored).len(), scored.len(), "the id of a scored post stands twice");
        let records: Vec<Value> = read("mentions").iter().map(json_of).collect();
        let mentions: Vec<Value> = records.into_iter().filter(|record| record["type"] == "mention").collect();
        assert_eq!(ids(&mentions).len(), mentions.len(), "the id of a mention stands twice");
        let mut of_post: BTreeMap<Place, BTreeSet<String>> = BTreeMap::new();
        for mention in &mentions {
            of_post.entry(origin(mention)).or_default().insert(text(&mention["subject"]));
        }
        for post in &scored {
            let subjects = post["subjects"].as_array().unwrap().iter().map(|link| text(&link["subject"])).collect();
            assert_eq!(of_post.remove(&origin(post)).unwrap_or_default(), subjects, "mentions of {post}");
        }
        assert!(of_post.is_empty(), "mentions without a post: {of_post:?}");
        Outcome { inputs, scored, dead }
    }

    /// The ids in the archive's samples.
    fn samples(&self) -> Vec<String> {
        let mut folders = vec![self.path("archive").join("samples")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("the archive has samples") {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "parquet") {
                    found.extend(sample_ids(&path));
                }
            }
        }
        found
    }
}

/// Topic, partition, offset.
pub type Place = (String, i32, i64);

pub struct Outcome {
    pub inputs: BTreeMap<Place, OwnedMessage>,
    pub scored: Vec<Value>,
    pub dead: Vec<OwnedMessage>,
}

/// A command that runs, and is killed when its test ends before it.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where all went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), SOON).unwrap();
    metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect()
}

fn json_of(message: &OwnedMessage) -> Value {
    serde_json::from_slice(message.payload().unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn ids(records: &[Value]) -> BTreeSet<String> {
    records.iter().map(|record| text(&record["id"])).collect()
}

fn origin(record: &Value) -> Place {
    let origin = &record["origin"];
    let partition = origin["partition"].as_i64().unwrap().try_into().unwrap();
    (text(&origin["topic"]), partition, origin["offset"].as_i64().unwrap())
}

pub fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let found = message.headers()?.iter().find(|header| header.key == name)?;
    Some(String::from_utf8(found.value?.to_vec()).unwrap())
}

fn connect(message: &OwnedMessage, name: &str) -> String {
    header(message, &format!("__connect.errors.{name}")).unwrap_or_else(|| panic!("no header {name}"))
}

pub fn place_of_dead(message: &OwnedMessage) -> Place {
    let number = |name| connect(message, name).parse::<i64>().unwrap();
    (connect(message, "topic"), number("partition").try_into().unwrap(), number("offset"))
}

fn sample_ids(path: &Path) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut ids = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let column = batch.column_by_name("id").unwrap().as_any();
        let column: &arrow::array::StringArray = column.downcast_ref().unwrap();
        ids.extend(column.iter().map(|id| id.unwrap().to_owned()));
    }
    ids
}

/// The `number`-th post of a story that goes on.
fn post(number: usize) -> (bool, Value) {
    let says = match number % 3 {
        0 => format!("Aurora Mills shares fall after the company cuts its outlook for quarter {number}"),
        1 => format!("Analysts expect that Brookwater will report stronger earnings, note {number} of the week"),
        _ => format!("The weather was mild over the weekend and the markets were closed, says bulletin {number}"),
    };
    let id = format!("post-{number}");
    if number.is_multiple_of(2) {
        (true, json!({ "id": id, "text": says, "url": format!("https://example.org/{number}") }))
    } else {
        (false, json!({ "id": id, "body": says }))
    }
}

impl Trial {
    /// A file of posts, with a few records that go wrong.
    fn posts(&self, count: usize) -> PathBuf {
        let mut lines = String::new();
        for number in 0..count {
            let (is_news, mut post) = post(number);
            post["@topic"] = json!(self.input(if is_news { "news" } else { "social" }));
            lines.push_str(&format!("{post}\n"));
        }
        let no_time = json!({ "id": "no-time", "text": "At noon.", "published_at": "noon" });
        for mut bad in [json!({ "id": "no-text" }), no_time] {
            bad["@topic"] = json!(self.input("news"));
            lines.push_str(&format!("{bad}\n"));
        }
        let path = self.path("posts.jsonl");
        std::fs::write(&path, lines).unwrap();
        path
    }

    /// Sends a record that is no JSON, with a key and a header of its own.
    fn break_one(&self) {
        let headers = OwnedHeaders::new().insert(Header { key: "feed", value: Some("seven") });
        let producer = self.producer();
        let topic = self.input("social");
        producer.send(BaseRecord::to(&topic).key(&b"\x00key"[..]).payload(BROKEN).headers(headers)).unwrap();
        producer.flush(SOON).unwrap();
    }

    /// Sends posts one after another while a process runs, `stop` it in the middle, and send the rest.
    fn interrupted(&self, stop: impl FnOnce(&mut Running)) {
        self.done(&["topics"]);
        let mut running = self.start(&["run"]);
        let producer = self.producer();
        let topics = [self.input("news"), self.input("social")];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..STORY {
                    let (is_news, post) = post(number);
                    let (key, value) = (text(&post["id"]), post.to_string());
                    let topic = &topics[usize::from(!is_news)];
                    producer.send(BaseRecord::to(topic).key(&key).payload(&value)).unwrap();
                    std::thread::sleep(Duration::from_millis(4));
                }
                producer.flush(SOON).unwrap();
            });
            self.wait_for(&self.own("scored"), 200);
            stop(&mut running);
        });
        let reached = self.read(&self.own("scored")).len();
        assert!((1..STORY).contains(&reached), "it was not stopped in the middle, but at {reached}");
        self.done(&["run", "--until-end"]);
        let outcome = self.outcome();
        assert_eq!((outcome.scored.len(), outcome.dead.len()), (STORY, 0));
        let mut samples = self.samples();
        samples.sort_unstable();
        assert_eq!(samples, ids(&outcome.scored).into_iter().collect::<Vec<_>>(), "the archive's samples");
    }
}

#[test]
fn what_comes_in_is_scored_or_a_dead_letter_and_becomes_mentions_indices_alerts_and_samples() {
    let trial = Trial::new("whole");
    trial.done(&["topics"]);
    let posts = trial.posts(300);
    trial.done(&["replay", "--input", posts.to_str().unwrap()]);
    trial.break_one();
    trial.done(&["run", "--until-end"]);

    let outcome = trial.outcome();
    assert_eq!((outcome.inputs.len(), outcome.scored.len(), outcome.dead.len()), (303, 300, 3));
    let about = |subject: &str| {
        let links = |post: &Value| post["subjects"].as_array().unwrap().iter().any(|link| link["subject"] == subject);
        outcome.scored.iter().filter(|post| links(post)).count()
    };
    assert_eq!((about("XTST:AURM"), about("XTST:BRKW"), about("market")), (100, 100, 300));
    dead_letters_are_as_they_came(&outcome);

    let indices: Vec<Value> = trial.read(&trial.own("index")).iter().map(json_of).collect();
    let last = indices.iter().rfind(|index| index["subject"] == "XTST:AURM").expect("an index of the instrument");
    assert_eq!(last["mentions"], 100, "the last index has seen every mention");
    let alerts: Vec<Value> = trial.read(&trial.own("alerts")).iter().map(json_of).collect();
    let firing = |alert: &&Value| alert["state"] == "firing" && alert["subject"] == "XTST:AURM";
    let alert = alerts.iter().find(firing).expect("an alert that fires");
    assert_eq!(alert["rule"], "talk");
    let evidence = alert["evidence"].as_array().unwrap();
    assert!((1..=5).contains(&evidence.len()), "{alert}");
    assert!(evidence.iter().all(|it| text(&it["excerpt"]).contains("Aurora Mills")), "{alert}");
    let mut samples = trial.samples();
    samples.sort_unstable();
    assert_eq!(samples, ids(&outcome.scored).into_iter().collect::<Vec<_>>());
    // Nothing is left to do, and nothing is done twice.
    trial.done(&["run", "--until-end"]);
    assert_eq!(trial.outcome().scored.len(), 300);
}

fn dead_letters_are_as_they_came(outcome: &Outcome) {
    for dead in &outcome.dead {
        let came = &outcome.inputs[&place_of_dead(dead)];
        assert_eq!((dead.key(), dead.payload()), (came.key(), came.payload()));
        assert_eq!(connect(dead, "stage"), "score");
        assert!(!connect(dead, "exception.message").is_empty());
    }
    let reasons: BTreeSet<_> = outcome.dead.iter().map(|dead| connect(dead, "exception.class.name")).collect();
    assert_eq!(reasons, ["invalid_field", "malformed", "missing_field"].map(str::to_owned).into());
    let broken = outcome.dead.iter().find(|dead| dead.payload() == Some(BROKEN)).expect("the bytes as they came");
    assert_eq!(broken.key(), Some(&b"\x00key"[..]));
    assert_eq!(header(broken, "feed").as_deref(), Some("seven"));
}

#[test]
fn a_process_that_is_killed_leaves_nothing_out_and_nothing_twice() {
    let trial = Trial::new("killed");
    trial.interrupted(|running| {
        running.signal("-KILL");
        assert_eq!(running.wait().code(), None);
    });
}

#[test]
fn a_process_that_is_told_to_stop_ends_well_and_the_next_one_goes_on() {
    let trial = Trial::new("stopped");
    trial.interrupted(|running| {
        // Longer than the grace, which begins with the signal.
        std::thread::sleep(Duration::from_secs(5));
        running.signal("-TERM");
        assert_eq!(running.wait().code(), Some(0), "{}", running.said());
    });
}

#[test]
fn a_start_without_a_broker_gives_up_after_its_time() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let trial = Trial::at("away", format!("127.0.0.1:{port}"));
    let began = Instant::now();
    let mut running = trial.start(&["run"]);
    let status = running.wait();
    assert_eq!(status.code(), Some(69), "{}", running.said());
    assert!(began.elapsed() >= Duration::from_secs(3), "it gave up early");
    assert!(running.said().contains(&format!("127.0.0.1:{port}")), "{}", running.said());
}
