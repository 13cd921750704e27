//! Promise: what cannot be used is kept, can be looked at, stops a process where it is too much, and comes back once when
//! it can be read.
//!
//! On a real broker, as users do it; the broker is in `BELLWETHER_TEST_KAFKA`.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::message::{Header, Headers as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _};
use serde_json::{Value, json};

use crate::corpus;
use crate::trial::{Trial, ends, header, sum_of, wait_for};

const SOON: Duration = Duration::from_secs(90);

/// A post whose text stands where the mapping of the trial does not look.
fn moved(number: usize) -> String {
    json!({ "id": format!("moved-{number}"), "words": format!("Aurora Mills shares fall, note {number}") }).to_string()
}

fn readable(number: usize) -> String {
    json!({ "id": format!("good-{number}"), "body": format!("Brookwater shares rise, note {number}") }).to_string()
}

impl Trial {
    /// Puts values on one partition of the social topic.
    fn put(&self, values: impl IntoIterator<Item = Vec<u8>>) {
        let (producer, topic) = (self.producer(), self.input("social"));
        for value in values {
            let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).partition(1).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(SOON).unwrap();
    }

    /// Changes the pipeline file.
    fn change(&self, from: &str, to: &str) {
        let path = self.path("pipeline.toml");
        let file = std::fs::read_to_string(&path).unwrap();
        assert!(file.contains(from), "{from}");
        std::fs::write(path, file.replace(from, to)).unwrap();
    }

    /// Makes the mapping read what was moved.
    fn mend(&self) {
        self.change("text = [\"/body\"]", "text = [\"/body\", \"/words\"]");
    }

    /// `bellwether dead-letters WHAT FILE …`, to its end.
    fn letters(&self, what: &str, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        command.args(["dead-letters", what]).arg(self.path("pipeline.toml")).args(more).env_remove("RUST_LOG");
        for (name, _) in std::env::vars().filter(|(name, _)| name.to_ascii_uppercase().starts_with("BELLWETHER__")) {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    fn letters_json(&self, what: &str, more: &[&str]) -> Value {
        let output = self.letters(what, &[more, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// How often each record that was sent again stands on the social topic, by where it had been.
    fn sent_again(&self) -> BTreeMap<String, usize> {
        let mut sent = BTreeMap::new();
        for message in self.read(&self.input("social")) {
            if let Some(from) = header(&message, "bellwether.replayed") {
                *sent.entry(from).or_insert(0) += 1;
            }
        }
        sent
    }
}

#[test]
fn letters_are_listed_shown_and_sent_again_once_when_the_mapping_is_mended() {
    let trial = Trial::new("letters");
    trial.done(&["topics"]);
    let broken = b"{\"id\": \"broken\", \xff".to_vec();
    trial.put((0..6).map(|number| moved(number).into_bytes()).chain([broken.clone()]));
    trial.done(&["run", "--until-end"]);
    assert_eq!(trial.outcome().dead.len(), 7);

    let list = trial.letters_json("list", &["--limit", "3"]);
    assert_eq!(list["letters"].as_array().unwrap().len(), 3, "{list}");
    let topic = trial.input("social");
    let counts = json!([
        { "topic": topic, "reason": "malformed", "letters": 1, "now": { "refused": 1 } },
        { "topic": topic, "reason": "missing_field", "letters": 6, "now": { "refused": 6 } },
    ]);
    assert_eq!(list["counts"], counts);
    let only = trial.letters_json("list", &["--reason", "malformed", "--topic", &topic, "--since", "1h"]);
    assert_eq!((only["letters"].as_array().unwrap().len(), &only["counts"][0]["letters"]), (1, &json!(1)), "{only}");
    assert_eq!(trial.letters_json("list", &["--until", "1h"])["counts"], json!([]));
    let text = trial.letters("list", &[]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("7 letters, 7 shown"), "{text:?}");

    let id = only["letters"][0]["id"].as_str().unwrap();
    let shown = trial.letters("show", &[id]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("reason   malformed: not one JSON object"), "{shown}");
    assert!(shown.contains("7b 22 69 64 22 3a"), "bytes that are no text stand there in hexadecimal: {shown}");
    assert_eq!(trial.letters("show", &[id, "--raw"]).stdout, broken);
    assert_eq!(trial.letters_json("show", &[id])["now"], "refused");
    assert_eq!(trial.letters("show", &["nowhere+0+0"]).status.code(), Some(65));
    assert_eq!(trial.letters("show", &["nowhere"]).status.code(), Some(64));

    assert_eq!(trial.letters_json("replay", &[]), json!({ "dry_run": false, "refused": 7 }));
    trial.mend();
    let dry = trial.letters_json("replay", &["--dry-run"]);
    assert_eq!(dry, json!({ "dry_run": true, "readable": 6, "refused": 1 }));
    assert_eq!(trial.sent_again().len(), 0, "nothing was sent");
    let sent = trial.letters("replay", &[]);
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "6 sent; 1 still cannot be read\n", "{sent:?}");
    let again = trial.letters_json("replay", &[]);
    assert_eq!(again, json!({ "dry_run": false, "replayed": 6, "refused": 1 }));
    let came = trial.sent_again();
    assert_eq!((came.len(), came.values().max()), (6, Some(&1)), "{came:?}");
    assert!(came.keys().all(|from| from.starts_with(&format!("{topic}+1+"))), "{came:?}");

    trial.done(&["run", "--until-end"]);
    let outcome = trial.outcome();
    assert_eq!((outcome.scored.len(), outcome.dead.len()), (6, 7));
    assert_eq!(trial.letters_json("list", &[])["counts"][1]["now"], json!({ "replayed": 6 }));
}

#[test]
fn a_replay_that_is_killed_is_run_again_and_sends_nothing_twice() {
    /// More than are read in one go.
    const LETTERS: usize = 2_500;
    let trial = Trial::new("killed-replay");
    trial.change("[web]", "[dead_letters]\nshare_max = 1.0\n[web]");
    trial.done(&["topics"]);
    trial.put((0..LETTERS).map(|number| moved(number).into_bytes()));
    trial.done(&["run", "--until-end"]);
    trial.mend();
    let input = trial.input("social");
    let reader = trial.consumer(&input, "read_uncommitted");
    let stands = || usize::try_from(ends(&reader, &input).into_iter().sum::<i64>()).unwrap();
    // At its first record, or when it has committed the first of its transactions of 500 letters. What the one before it
    // left open ends with a marker, which counts as well.
    let (mut before, mut midway) = (stands(), 0);
    for more in [3, 510, 3, 510, 3] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        let mut child = command.args(["dead-letters", "replay"]).arg(trial.path("pipeline.toml")).spawn().unwrap();
        wait_for("it sends, or there is nothing left to send", || {
            (stands() >= before + more || child.try_wait().unwrap().is_some()).then_some(())
        });
        drop(child.kill());
        child.wait().unwrap();
        let sent = trial.sent_again();
        assert!(sent.values().all(|times| *times == 1), "{sent:?}");
        midway += usize::from((1..LETTERS).contains(&sent.len()));
        before = stands();
    }
    assert!(midway > 0, "each was killed before it had sent any, or when it had sent all");
    let last = trial.letters_json("replay", &[]);
    let counts = ["readable", "replayed"].map(|word| last[word].as_u64().unwrap_or(0));
    assert_eq!(counts.iter().sum::<u64>(), LETTERS as u64, "{last}");
    let came = trial.sent_again();
    assert_eq!((came.len(), came.values().max()), (LETTERS, Some(&1)));
}

#[test]
fn a_topic_that_cannot_be_read_stops_the_process_and_is_not_drained() {
    let trial = Trial::new("unreadable");
    trial.change("[web]", "[dead_letters]\nwindow_records = 20\nshare_max = 0.5\n[web]");
    trial.done(&["topics"]);
    let good = (0..40).map(|number| readable(number).into_bytes());
    trial.put(good.chain((0..300).map(|number| moved(number).into_bytes())));
    for attempt in 1..=3 {
        let mut running = trial.start(&["run", "--until-end"]);
        assert_eq!(running.wait().code(), Some(65), "attempt {attempt}: {}", running.said());
        let said = running.said();
        assert!(said.contains("11 of the last 20 records of ") && said.contains("and 10 may be"), "{said}");
        assert!(said.contains("missing_field: field text is missing"), "{said}");
        let dead = trial.read(&trial.own("dead-letters")).len();
        assert!(dead <= 10, "attempt {attempt}: {dead} were drained");
    }
    trial.mend();
    trial.done(&["run", "--until-end"]);
    let outcome = trial.outcome();
    assert_eq!(outcome.inputs.len(), 340);
    assert_eq!(outcome.scored.len() + outcome.dead.len(), 340, "nothing is lost");
    assert!(outcome.dead.len() <= 10);
}

#[test]
fn hostile_records_between_the_marks_of_transactions_are_each_a_post_or_a_dead_letter() {
    let trial = Trial::new("hostile");
    trial.change("[web]", "[dead_letters]\nshare_max = 1.0\n[web]");
    trial.change("kind = \"social\"\nfields = { text = [\"/body\"] }", "kind = \"social\"");
    trial.done(&["topics"]);
    let mut running = trial.run_as("only");
    running.wait_ready();
    let before = running.memory();
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &trial.servers)
        .set("transactional.id", trial.own("loader"))
        .create()
        .unwrap();
    producer.init_transactions(SOON).unwrap();
    let (records, topic) = (corpus::records(2_000), trial.input("social"));
    assert!(records.len() > 1_800, "{} are small enough", records.len());
    let mut written = 0;
    for (number, chunk) in records.chunks(40).enumerate() {
        producer.begin_transaction().unwrap();
        for hostile in chunk {
            let put = |headers: OwnedHeaders, (key, value)| headers.insert(Header { key, value });
            let headers = hostile.headers.iter().fold(OwnedHeaders::new(), put);
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).headers(headers);
            (record.key, record.payload) = (hostile.key.as_deref(), hostile.value.as_deref());
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        if number % 5 == 2 {
            producer.flush(SOON).unwrap();
            producer.abort_transaction(SOON).unwrap();
        } else {
            producer.commit_transaction(SOON).unwrap();
            written += chunk.len();
        }
    }
    let mut peak = before;
    wait_for("each is a post or a dead letter", || {
        peak = peak.max(running.memory());
        let page = running.metrics();
        let done = ["bellwether_scored_posts_total", "bellwether_dead_letters_total"].map(|it| sum_of(&page, it, ""));
        (done.iter().sum::<f64>() >= written as f64).then_some(())
    });
    // One weighs a megabyte at most; what is made of it must not be many times as much.
    assert!(peak - before < 200e6, "{} bytes more", peak - before);
    running.stop();
    let outcome = trial.outcome();
    assert_eq!(outcome.inputs.len(), written);
    assert_eq!(outcome.scored.len() + outcome.dead.len(), written);
    assert!(outcome.scored.len() > written / 4 && outcome.dead.len() > written / 4);
    for dead in &outcome.dead {
        let came = &outcome.inputs[&crate::trial::place_of_dead(dead)];
        assert_eq!(dead.payload(), came.payload());
        assert_eq!(dead.key(), came.key());
        // As many headers as a letter has room for, in order, before those that say where it came from.
        let (told, had) = (headers(dead), headers(came));
        let kept = told.iter().zip(&had).take_while(|(told, had)| told == had).count();
        let left_out = header(dead, "bellwether.headers-left-out").map_or(0, |count| count.parse().unwrap());
        assert_eq!(kept + left_out, had.len());
    }
}

/// Names and values, in order.
fn headers(record: &OwnedMessage) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = record.headers().map(|headers| headers.iter()).into_iter().flatten();
    headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

/// Sends records of a size that the broker takes for what they are when they are compressed, and waits for them.
fn send_large(trial: &Trial, topic: &str, records: Vec<(String, Option<OwnedHeaders>)>) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &trial.servers)
        .set("compression.type", "lz4")
        .set("message.max.bytes", "20000000")
        .create()
        .unwrap();
    for (value, headers) in records {
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(1).payload(value.as_bytes());
        let record = BaseRecord { headers, ..record };
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(SOON).unwrap();
}

#[test]
fn a_post_of_ten_megabytes_is_one_dead_letter_cut_to_what_fits_and_its_neighbours_go_on() {
    let trial = Trial::new("ten-megabytes");
    trial.done(&["topics"]);
    let long = json!({ "id": "long", "body": "x".repeat(10_000_000) }).to_string();
    let records = [readable(1), long.clone(), readable(3)].map(|value| (value, None));
    send_large(&trial, &trial.input("social"), records.into());
    trial.done(&["run", "--until-end"]);
    let outcome = trial.outcome();
    assert_eq!((outcome.scored.len(), outcome.dead.len()), (2, 1));
    let dead = &outcome.dead[0];
    assert_eq!(header(dead, "__connect.errors.exception.class.name").as_deref(), Some("too_large"));
    assert_eq!(header(dead, "bellwether.truncated"), Some(long.len().to_string()));
    let kept = dead.payload().unwrap();
    assert!(kept.len() > 900_000 && long.as_bytes().starts_with(kept), "{} bytes", kept.len());
}

#[test]
fn a_record_with_more_headers_than_a_record_can_have_is_one_dead_letter_and_its_neighbours_go_on() {
    let trial = Trial::new("flood-of-headers");
    trial.done(&["topics"]);
    let note = "x".repeat(150);
    let flood = (0..20_000)
        .fold(OwnedHeaders::new(), |headers, _| headers.insert(Header { key: "note", value: Some(note.as_bytes()) }));
    let records = vec![(readable(1), None), ("{not one object".to_owned(), Some(flood)), (readable(2), None)];
    send_large(&trial, &trial.input("social"), records);
    trial.done(&["run", "--until-end"]);
    let outcome = trial.outcome();
    assert_eq!((outcome.scored.len(), outcome.dead.len()), (2, 1));
    let dead = &outcome.dead[0];
    assert_eq!(dead.payload(), Some(&b"{not one object"[..]));
    let left_out: usize = header(dead, "bellwether.headers-left-out").unwrap().parse().unwrap();
    assert!((10_000..20_000).contains(&left_out), "{left_out}");
    let (topic, partition, offset) = crate::trial::place_of_dead(dead);
    let shown = trial.letters("show", &[&format!("{topic}+{partition}+{offset}")]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains(&format!("… {left_out} more, which are left out")), "{}", &shown[shown.len() - 2_000..]);
    assert!(shown.contains("it was cut, so it is never sent again"), "{}", &shown[..2_000]);
}
