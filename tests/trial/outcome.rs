//! The sums at the end: every record that came in against every record that went out.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use serde_json::{Value, json};

use super::Trial;
use super::archive::{gaps, label_segments, segments};

/// Topic, partition, offset.
pub type Place = (String, i32, i64);

/// All that came of the inputs.
pub struct Outcome {
    pub inputs: BTreeMap<Place, OwnedMessage>,
    pub scored: Vec<Value>,
    pub dead: Vec<OwnedMessage>,
    /// Retractions that stand among the mentions, and rows of labels in the archive.
    pub retractions: usize,
    pub labels: usize,
    /// What should be there and is not.
    pub lost: Vec<String>,
    /// What stands twice.
    pub twice: Vec<String>,
    /// What nothing gave rise to.
    pub invented: Vec<String>,
}

impl Trial {
    /// Reads every topic; every promise about sums is kept by what it gives back.
    pub fn sums(&self) -> Outcome {
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
        let (lost, twice, invented) = (Vec::new(), Vec::new(), Vec::new());
        let mut outcome = Outcome { inputs, scored, dead, retractions: 0, labels: 0, lost, twice, invented };
        outcome.judge_records();
        let placed = |message: &OwnedMessage| {
            let mut record = json_of(message);
            record["stands_at"] = json!(format!("{}@{}", message.partition(), message.offset()));
            record
        };
        let mentions: Vec<Value> = read("mentions").iter().map(placed).collect();
        outcome.judge_mentions(mentions.iter().filter(|record| record["type"] == "mention"));
        let partitions = self.committed("signal", &self.own("mentions")).len();
        outcome.judge_retractions(mentions.iter().filter(|record| record["type"] == "retraction"), partitions);
        for kind in ["index", "alerts"] {
            outcome.judge_ids(kind, read(kind).iter().map(json_of).map(|record| text(&record["id"])));
        }
        outcome
    }

    /// [`Trial::sums`] where nothing may be lost and nothing may stand twice.
    pub fn outcome(&self) -> Outcome {
        let outcome = self.sums();
        outcome.assert_exact();
        outcome
    }

    /// The sums with the archive's: with the policy `all`, a row for each scored post and spans that touch; and with
    /// index and alerts as they follow from the mentions.
    pub fn sums_with_archive(&self, archive: &Path) -> Outcome {
        let mut outcome = self.sums();
        outcome.lost.extend(self.judge_signals());
        outcome.judge_labels(self, archive);
        let segments = segments(archive);
        outcome.lost.extend(gaps(&segments));
        let rows: Vec<String> = segments.into_iter().flat_map(|segment| segment.ids).collect();
        let (scored, kept) = (ids(&outcome.scored), rows.iter().cloned().collect::<BTreeSet<_>>());
        outcome.lost.extend(scored.difference(&kept).map(|id| format!("{id} is not in the archive")));
        let never = kept.difference(&scored).map(|id| format!("{id} is in the archive and was never scored"));
        outcome.invented.extend(never);
        outcome.judge_ids("the archive", rows.into_iter());
        outcome
    }
}

impl Outcome {
    /// The places of all records that became a scored post or a dead letter.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.scored.iter().map(origin).chain(self.dead.iter().map(place_of_dead))
    }

    pub fn assert_exact(&self) {
        self.assert_whole();
        assert!(self.twice.is_empty(), "twice:\n  {}", shown(&self.twice));
    }

    /// Nothing is lost and nothing is invented; something may stand twice.
    pub fn assert_whole(&self) {
        let (lost, invented) = (shown(&self.lost), shown(&self.invented));
        assert!(self.lost.is_empty() && self.invented.is_empty(), "lost:\n  {lost}\ninvented:\n  {invented}");
    }

    /// Each record of the inputs is one scored post or one dead letter.
    fn judge_records(&mut self) {
        let told: Vec<Place> = self.places().collect();
        let mut seen = BTreeSet::new();
        for place in &told {
            if !seen.insert(place) {
                self.twice.push(format!("{place:?} was told twice"));
            } else if !self.inputs.contains_key(place) {
                self.invented.push(format!("{place:?} was told and never came in"));
            }
        }
        self.lost.extend(self.inputs.keys().filter(|place| !seen.contains(place)).map(|place| format!("{place:?}")));
        self.judge_ids("scored", self.scored.iter().map(|post| text(&post["id"])).collect::<Vec<_>>().into_iter());
    }

    /// A row for each label, and spans that touch.
    fn judge_labels(&mut self, trial: &Trial, archive: &Path) {
        let segments = label_segments(archive);
        self.lost.extend(gaps(&segments));
        self.labels = segments.iter().map(|segment| segment.ids.len()).sum();
        let counted = |ids: Vec<String>| {
            let mut counts: BTreeMap<String, i64> = BTreeMap::new();
            ids.into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
            counts
        };
        let given: Vec<Value> = trial.read(&trial.own("labels")).iter().map(json_of).collect();
        let given = counted(given.iter().map(|label| text(&label["post_id"])).collect());
        let mut kept = counted(segments.into_iter().flat_map(|segment| segment.ids).collect());
        for (id, wanted) in given {
            match kept.remove(&id).unwrap_or(0).cmp(&wanted) {
                Ordering::Less => self.lost.push(format!("a label of {id} is not in the archive")),
                Ordering::Greater => self.twice.push(format!("the archive has a label of {id} twice")),
                Ordering::Equal => {}
            }
        }
        self.invented.extend(kept.into_keys().map(|id| format!("a label of {id} in the archive that nobody gave")));
    }

    /// A mention for each subject of each scored post, and no other.
    fn judge_mentions<'a>(&mut self, mentions: impl Iterator<Item = &'a Value> + Clone) {
        let mut seen = BTreeMap::new();
        for mention in mentions.clone() {
            let (id, at) = (text(&mention["id"]), text(&mention["stands_at"]));
            if let Some(before) = seen.insert(id.clone(), at.clone()) {
                self.twice.push(format!("mentions has {id} twice, at {before} and {at}"));
            }
        }
        let mut of_post: BTreeMap<Place, BTreeSet<String>> = BTreeMap::new();
        for mention in mentions {
            of_post.entry(origin(mention)).or_default().insert(text(&mention["subject"]));
        }
        let posts: BTreeMap<Place, &Value> = self.scored.iter().map(|post| (origin(post), post)).collect();
        for (place, post) in posts {
            let links = post["subjects"].as_array().unwrap().iter();
            let subjects: BTreeSet<String> = links.map(|link| text(&link["subject"])).collect();
            let found = of_post.remove(&place).unwrap_or_default();
            if found != subjects {
                self.lost.push(format!("{}: mentions of {found:?}, its subjects are {subjects:?}", post["id"]));
            }
        }
        self.invented.extend(of_post.keys().map(|place| format!("mentions of {place:?}, which was never scored")));
    }

    /// A retraction in each partition of the mentions for each post that was updated or deleted, and no other.
    fn judge_retractions<'a>(&mut self, told: impl Iterator<Item = &'a Value>, partitions: usize) {
        let taken_back = self.scored.iter().filter(|post| post["action"] != "created");
        let numbers = |post: &Value| {
            let (id, post_id) = (text(&post["id"]), text(&post["post_id"]));
            (0..partitions).map(move |number| (format!("{id}+retraction-{number}"), post_id.clone()))
        };
        let mut expected: BTreeMap<String, String> = taken_back.flat_map(numbers).collect();
        let mut seen = BTreeSet::new();
        for retraction in told {
            self.retractions += 1;
            let (id, at) = (text(&retraction["id"]), text(&retraction["stands_at"]));
            let wanted = expected.remove(&id);
            if !seen.insert(id.clone()) {
                self.twice.push(format!("mentions has {id} twice, the second time at {at}"));
            } else if wanted.as_deref() != retraction["post_id"].as_str() {
                self.invented.push(format!("{id} takes back {}, not {wanted:?}", retraction["post_id"]));
            }
        }
        self.lost.extend(expected.into_keys());
    }

    fn judge_ids(&mut self, place: &str, all: impl Iterator<Item = String>) {
        let mut seen = BTreeSet::new();
        for id in all {
            if seen.contains(&id) {
                self.twice.push(format!("{place} has {id} twice"));
            }
            seen.insert(id);
        }
    }
}

fn shown(all: &[String]) -> String {
    all.iter().take(20).cloned().collect::<Vec<_>>().join("\n  ")
}

pub fn json_of(message: &OwnedMessage) -> Value {
    serde_json::from_slice(message.payload().unwrap()).unwrap()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub fn ids(records: &[Value]) -> BTreeSet<String> {
    records.iter().map(|record| text(&record["id"])).collect()
}

pub fn origin(record: &Value) -> Place {
    let origin = &record["origin"];
    let partition = origin["partition"].as_i64().unwrap().try_into().unwrap();
    (text(&origin["topic"]), partition, origin["offset"].as_i64().unwrap())
}

pub fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    // The last: hostile records bring some of the same name.
    let found = message.headers()?.iter().filter(|header| header.key == name).last()?;
    Some(String::from_utf8(found.value?.to_vec()).unwrap())
}

pub fn connect(message: &OwnedMessage, name: &str) -> String {
    header(message, &format!("__connect.errors.{name}")).unwrap_or_else(|| panic!("no header {name}"))
}

pub fn place_of_dead(message: &OwnedMessage) -> Place {
    let number = |name| connect(message, name).parse::<i64>().unwrap();
    (connect(message, "topic"), number("partition").try_into().unwrap(), number("offset"))
}
