//! Topics that somebody changes under a running pipeline.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;

use super::{Figures, at_most, finish, times, trial};
use crate::trial::{Follower, Moment, Place, Running, SOON, Trial, stands_at, wait_for};

/// How the clients of a test hear of new partitions within a second, and not within half a minute.
const REFRESH: &str = "kafka.properties.topic_metadata_refresh_interval_ms";

/// A topic that is gone is missed within this time.
const MISSED: Duration = Duration::from_secs(15);

#[test]
fn a_partition_that_an_input_gets_while_it_is_read_is_read_from_its_first_record() {
    let count = times("grown", 1);
    let trial = trial("grown").set(REFRESH, "1000");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let mut figures = Figures::new("partition count of an input raised while it is read", count);
    let mut running = trial.run_as("only");
    running.wait_ready();
    let mut sent = 0;
    for round in 0..count {
        let load = trial.load(250);
        follower.wait_more(50);
        let partitions = 3 + round;
        let raised = Moment::now();
        for topic in [trial.input("news"), trial.own("scored"), trial.own("labels")] {
            trial.grow(&topic, partitions);
        }
        let new = (trial.input("news"), i32::try_from(partitions - 1).unwrap());
        wait_for("a post of the new partition", || follower.gaps(raised.at).contains_key(&new).then_some(()));
        figures.span("first post of the new partition", raised.at.elapsed());
        // Our own producers go by the file's count; somebody else's label may lie in any partition.
        let label = json!({ "post_id": "a", "task": "sentiment", "label": "neutral", "annotator": "b", "at": "2026-11-26T12:00:00Z" });
        let labels = trial.own("labels");
        trial.send(&labels, new.1, [(Some("a"), Some(label.to_string()))]);
        wait_for("the label in the archive", || {
            let days = std::fs::read_dir(trial.path("archive/labels")).into_iter().flatten();
            let files = days.flat_map(|day| std::fs::read_dir(day.unwrap().path()).unwrap());
            let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
            names.into_iter().any(|name| name.starts_with(&format!("{labels}+{}+", new.1))).then_some(())
        });
        sent += load.stop();
        running.assert_runs();
    }
    running.stop();
    figures.settle(&trial, sent);
}

#[test]
fn a_topic_of_mentions_index_or_alerts_that_grows_stops_the_pipeline_and_so_does_every_start_after_it() {
    let mut figures = Figures::new("partition count of mentions, index or alerts raised", times("grown", 1));
    for kind in ["mentions", "index", "alerts"].into_iter().cycle().take(3 * figures.times) {
        let trial = trial("regrown");
        trial.done(&["topics"]);
        let follower = Follower::start(&trial);
        let load = trial.load(250);
        let mut running = trial.run_as("only");
        follower.wait_more(50);
        trial.grow(&trial.own(kind), 3);
        let grown = Instant::now();
        stops(&mut running, 64, &trial.own(kind), "partitions");
        figures.span("until it stops", grown.elapsed());
        stops(&mut trial.run_as("only"), 64, "they must agree for the life of a pipeline", "new name");
        let sums = trial.sums();
        assert!(load.stop() > sums.scored.len() && sums.twice.is_empty(), "{}", sums.twice);
    }
    figures.tell_sums("| | 0");
}

#[test]
fn a_topic_that_is_deleted_stops_the_pipeline_with_its_name() {
    let mut figures = Figures::new("a topic deleted", times("deleted", 1));
    for _ in 0..figures.times {
        let trial = Trial::new("deleted");
        trial.done(&["topics"]);
        for role in ["index", "alerts", "dead-letters"] {
            figures.span("until it stops", deleted(&trial, role));
            // What stood there is gone, and nothing else.
            finish(&trial);
            let mut outcome = trial.sums();
            if role == "dead-letters" {
                let broken = outcome.inputs.iter().filter(|(_, input)| input.payload().unwrap().ends_with(b"broken"));
                broken.for_each(|(place, _)| outcome.lost.forgive(place));
            }
            outcome.assert_exact();
        }
        // After these there is only a pipeline with another name.
        for role in ["labels", "scored", "mentions", "in-news"] {
            let trial = Trial::new("deleted");
            trial.done(&["topics"]);
            figures.span("until it stops", deleted(&trial, role));
            let twice = trial.sums().twice;
            assert!(twice.is_empty(), "{role}: {twice}");
        }
    }
    figures.tell_sums("| | 0");
}

/// Deletes a topic under a process that is at work: it ends and says why, and so does the next one until the topic is made
/// anew, and what stood in another is there afterwards.
fn deleted(trial: &Trial, role: &str) -> Duration {
    let topic = if role == "in-news" { trial.input("news") } else { trial.own(role) };
    let follower = Follower::start(trial);
    let load = trial.load(250);
    let mut running = trial.run_as("only");
    running.wait_ready();
    follower.wait_more(20);
    trial.wait_for(&topic, 1);
    drop((load.stop(), follower));
    let others = trial.all_but(&topic);
    trial.delete(&topic);
    let deleted = Instant::now();
    stops(&mut running, 69, &topic, "gone");
    let took = deleted.elapsed();
    assert!(took < at_most(MISSED), "it ends only after {took:?}");
    // Nor does a restart make it anew: that is for somebody to decide.
    stops(&mut trial.run_as("only"), 69, &topic, "missing topics");
    trial.done(&["topics"]);
    let now = trial.all_but(&topic);
    let gone: Vec<_> = others.iter().filter(|(place, stood)| now.get(place) != Some(stood)).collect();
    assert!(gone.is_empty(), "{role} was deleted, and with it {gone:?}");
    took
}

#[test]
fn a_position_that_retention_removed_stops_the_process_which_names_what_is_lost() {
    let trial = trial("expired");
    trial.done(&["topics"]);
    trial.pile_up(100);
    trial.done(&["run", "--until-end"]);
    let topic = trial.input("news");
    let committed = trial.committed("score", &topic)[0];
    trial.pile_up(100);
    let first = committed + 5;
    trial.expire(&topic, 0, first);
    for _ in 0..2 {
        let mut running = trial.run_as("only");
        stops(&mut running, 70, &format!("{topic}/0"), &format!("[{first}.."));
        assert!(running.said().contains(&committed.to_string()), "{}", running.said());
    }
    assert_eq!(trial.committed("score", &topic)[0], committed, "nothing was skipped");
    // As the page of guarantees says: that partition alone, to the first record that is left.
    trial.put_back("score", &topic, &[(0, first)]);
    finish(&trial);
    let outcome = trial.sums();
    assert!(outcome.lost.is_empty() && outcome.twice.is_empty(), "lost:\n{}\ntwice:\n{}", outcome.lost, outcome.twice);
    assert!(trial.committed("score", &topic)[0] > first);
}

#[test]
fn records_that_retention_removes_before_anybody_read_them_are_missed_where_the_partition_was_empty() {
    let trial = trial("unread");
    trial.done(&["topics"]);
    let topic = trial.input("news");
    let send = |partition, count| {
        let posts = (0..count).map(|number| json!({ "id": format!("{partition}-{number}"), "text": "Apple rises" }));
        trial.send(&topic, partition, posts.map(|post| (None, Some(post.to_string()))));
    };
    send(0, 1);
    trial.done(&["run", "--until-end"]);
    send(1, 10);
    trial.expire(&topic, 1, 5);
    stops(&mut trial.run_as("only"), 70, &format!("{topic}/1"), "[5..");
}

#[test]
fn an_archive_that_is_not_where_it_was_written_stops_the_start_until_it_is_back_or_begun_anew() {
    let mut trial = trial("moved");
    trial.done(&["topics"]);
    trial.pile_up(20);
    trial.done(&["run", "--until-end"]);
    let (here, there) = (trial.path("archive"), trial.path("moved"));
    std::fs::rename(&here, &there).unwrap();
    let samples = here.join("samples");
    for _ in 0..2 {
        stops(&mut trial.run_as("only"), 69, &trial.own("archive"), &samples.display().to_string());
    }
    trial = trial.set("archive.url", &format!("file://{}", there.display()));
    trial.pile_up(20);
    finish(&trial);
    trial.sums_with_archive(&there).assert_exact();
    trial = trial.set("archive.url", &format!("file://{}", here.display()));
    std::fs::create_dir_all(samples).unwrap();
    finish(&trial);
}

#[test]
fn a_foreign_record_among_the_alerts_stops_each_start_which_says_how_to_take_it_away() {
    let trial = trial("foreign");
    trial.done(&["topics"]);
    trial.pile_up(20);
    trial.done(&["run", "--until-end"]);
    let alerts = trial.own("alerts");
    trial.send(&alerts, 0, [(Some("a note"), Some("no alert".to_owned()))]);
    for _ in 0..2 {
        stops(&mut trial.run_as("only"), 70, &format!("{alerts}/0"), "(key \"a note\")");
    }
    trial.send(&alerts, 0, [(Some("a note"), None)]);
    finish(&trial);
}

#[test]
fn a_stage_whose_positions_the_brokers_forgot_stops_at_its_start_and_makes_nothing_again() {
    let trial = trial("forgotten");
    trial.done(&["topics"]);
    trial.pile_up(200);
    trial.done(&["run", "--until-end"]);
    // What the archive has is found under its name, from the first record on.
    trial.forget("archive");
    finish(&trial);
    let made_again = |trial: &Trial| trial.sums_with_archive(&trial.path("archive")).assert_exact();
    made_again(&trial);
    for (stage, inputs) in [
        ("score", vec![trial.input("news"), trial.input("social")]),
        ("signal", vec![trial.own("mentions")]),
        ("archive", vec![trial.own("scored"), trial.own("labels")]),
    ] {
        if stage == "archive" {
            made_again(&trial);
            trial.expire(&inputs[0], 0, 5);
        }
        let committed: Vec<Vec<i64>> = inputs.iter().map(|topic| trial.committed(stage, topic)).collect();
        trial.forget(stage);
        for _ in 0..2 {
            let name = format!("the group {} has no", trial.own(stage));
            stops(&mut trial.run_as("only"), 69, &name, "offsets.retention.minutes");
        }
        for (topic, committed) in inputs.iter().zip(&committed) {
            assert_eq!(trial.committed(stage, topic), vec![0; committed.len()], "nothing was begun");
            let places: Vec<(i32, i64)> = (0..).zip(committed.iter().copied()).collect();
            trial.put_back(stage, topic, &places);
        }
        finish(&trial);
    }
    let twice = trial.sums_with_archive(&trial.path("archive")).twice;
    assert!(twice.is_empty(), "twice:\n{twice}");
}

/// It ends with a code, and says why.
fn stops(running: &mut Running, code: i32, name: &str, word: &str) {
    let status = running.wait();
    let said = running.said();
    assert_eq!(status.code(), Some(code), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(name) && last.contains(word), "{said}");
}

impl Trial {
    /// Every committed record of every topic but this one: key and value by place.
    fn all_but(&self, topic: &str) -> BTreeMap<Place, [Option<Vec<u8>>; 2]> {
        let own = ["scored", "labels", "mentions", "index", "alerts", "dead-letters"].map(|role| self.own(role));
        let all = ["news", "social"].map(|kind| self.input(kind)).into_iter().chain(own);
        let records = all.filter(|other| other != topic).flat_map(|other| self.read(&other));
        let told = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
        records.map(|record| (stands_at(&record), [told(record.key()), told(record.payload())])).collect()
    }

    fn send<'a>(
        &self,
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = (Option<&'a str>, Option<String>)>,
    ) {
        let producer = self.producer();
        for (key, value) in records {
            let mut record = BaseRecord::<str, str>::to(topic).partition(partition);
            (record.key, record.payload) = (key, value.as_deref());
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(SOON).unwrap();
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.servers).create().unwrap()
    }

    fn grow(&self, topic: &str, partitions: usize) {
        let (admin, plan) = (self.admin(), [NewPartitions::new(topic, partitions)]);
        let options = AdminOptions::new();
        block_on(admin.create_partitions(&plan, &options)).unwrap().remove(0).unwrap();
    }

    /// As if retention had removed what a partition has before an offset.
    fn expire(&self, topic: &str, partition: i32, before: i64) {
        let (admin, options) = (self.admin(), AdminOptions::new());
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
        block_on(admin.delete_records(&list, &options)).unwrap();
    }

    /// As if the group of a stage had been empty for too long.
    fn forget(&self, stage: &str) {
        let (admin, options) = (self.admin(), AdminOptions::new());
        // Whoever ended badly is a member until its session is over.
        wait_for("the group is empty and deleted", || {
            block_on(admin.delete_groups(&[&self.own(stage)], &options)).unwrap().remove(0).ok()
        });
    }

    /// Sets positions of the group of a stage, as `kafka-consumer-groups.sh --reset-offsets` does.
    fn put_back(&self, stage: &str, topic: &str, places: &[(i32, i64)]) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers).set("group.id", self.own(stage));
        let group: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for (partition, offset) in places {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
        }
        group.commit(&list, CommitMode::Sync).unwrap();
    }

    fn delete(&self, topic: &str) {
        let (admin, options) = (self.admin(), AdminOptions::new());
        block_on(admin.delete_topics(&[topic], &options)).unwrap().remove(0).unwrap();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
