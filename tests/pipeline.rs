//! Promise: the whole pipeline, as its users run it on a real broker, turns every record into one scored post or one
//! dead letter, whatever ends it on the way.
//!
//! The broker is in `BELLWETHER_TEST_KAFKA`; every test has a pipeline and topics of its own, and the tiny model.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use serde_json::{Value, json};

use crate::trial::{Outcome, Running, SOON, Trial, connect, header, ids, json_of, place_of_dead, post, segments, text};

/// Bytes that are no JSON and no text.
const BROKEN: &[u8] = b"{\"id\": \"broken\", \xff\xfe";
/// Posts of a test that is interrupted: ten seconds of them.
const STORY: usize = 2_500;

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

    /// The ids in the archive's samples, sorted.
    fn samples(&self) -> Vec<String> {
        let mut found: Vec<String> =
            segments(&self.path("archive")).into_iter().flat_map(|segment| segment.ids).collect();
        found.sort_unstable();
        found
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
        assert_eq!(self.samples(), ids(&outcome.scored).into_iter().collect::<Vec<_>>(), "the archive's samples");
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
    assert_eq!(trial.samples(), ids(&outcome.scored).into_iter().collect::<Vec<_>>());
    // Nothing is left to do, and nothing is done twice.
    trial.done(&["run", "--until-end"]);
    assert_eq!(trial.outcome().scored.len(), 300);
}

#[test]
fn at_least_once_and_with_no_fault_everything_comes_once() {
    let trial = Trial::new("quiet").set("kafka.delivery", "at-least-once");
    trial.done(&["topics"]);
    trial.pile_up(600);
    trial.done(&["run", "--until-end"]);
    let first = trial.outcome();
    assert_eq!((first.inputs.len(), first.scored.len(), first.dead.len()), (600, 594, 6));
    // A second process goes on where the first was, and does none of it again.
    trial.pile_up(600);
    trial.done(&["run", "--until-end"]);
    let outcome = trial.sums_with_archive(&trial.path("archive"));
    outcome.assert_exact();
    assert_eq!((outcome.inputs.len(), outcome.scored.len(), outcome.dead.len()), (1_200, 1_188, 12));
    assert_eq!((outcome.retractions, outcome.labels, outcome.dead_labels.len()), (240, 22, 2));
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
