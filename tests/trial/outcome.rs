//! The sums at the end: every record that came in against every record that went out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use serde_json::{Value, json};

use super::Trial;
use super::archive::{gaps, segments};

/// Topic, partition, offset.
pub type Place = (String, i32, i64);

/// All that came of the inputs.
pub struct Outcome {
    pub inputs: BTreeMap<Place, OwnedMessage>,
    pub scored: Vec<Value>,
    pub dead: Vec<OwnedMessage>,
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
        let mut outcome = Outcome { inputs, scored, dead, lost: Vec::new(), twice: Vec::new(), invented: Vec::new() };
        outcome.judge_records();
        let placed = |message: &OwnedMessage| {
            let mut record = json_of(message);
            record["stands_at"] = json!(format!("{}@{}", message.partition(), message.offset()));
            record
        };
        let mentions: Vec<Value> = read("mentions").iter().map(placed).collect();
        outcome.judge_mentions(mentions.iter().filter(|record| record["type"] == "mention"));
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
