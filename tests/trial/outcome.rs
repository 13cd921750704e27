//! The sums at the end: every record that came in against every record that went out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use serde_json::{Value, json};

use super::Trial;
use super::archive::{Cells, Segment, gaps, label_segments, segments};
use super::findings::{Findings, id_of, place_of};
use super::load::is_broken_label;

/// Topic, partition, offset.
pub type Place = (String, i32, i64);

/// All that came of the inputs.
#[derive(Default)]
pub struct Outcome {
    pub inputs: BTreeMap<Place, OwnedMessage>,
    pub scored: Vec<Value>,
    /// Dead letters of the inputs, and of the labels.
    pub dead: Vec<OwnedMessage>,
    pub dead_labels: Vec<OwnedMessage>,
    /// Retractions that stand among the mentions, and rows of labels in the archive.
    pub retractions: usize,
    pub labels: usize,
    /// What should be there and is not.
    pub lost: Findings,
    /// What stands twice.
    pub twice: Findings,
    /// What nothing gave rise to, or something else than what stands there.
    pub invented: Findings,
    /// What stands before something that came in before it.
    pub disorder: Findings,
}

impl Trial {
    /// Reads every topic; every promise about sums is kept by what it gives back.
    pub fn sums(&self) -> Outcome {
        let read = |kind: &str| self.read(&self.own(kind));
        let inputs = ["news", "social"].iter().flat_map(|kind| self.read(&self.input(kind)));
        let inputs = inputs.map(|message| (stands_at(&message), message)).collect();
        // The marks of those that were sent again stand among them.
        let is_mark = |message: &OwnedMessage| header(message, "ce_type").as_deref() == Some("bellwether.replay.v1");
        let letters = read("dead-letters").into_iter().filter(|letter| !is_mark(letter));
        let (dead_labels, dead) = letters.partition(|letter| connect(letter, "topic") == self.own("labels"));
        let placed = |message: &OwnedMessage| {
            let mut record = json_of(message);
            record["stands_at"] = json!(format!("{}@{}", message.partition(), message.offset()));
            record["stands_in"] = json!(message.partition());
            record
        };
        let scored: Vec<Value> = read("scored").iter().map(placed).collect();
        let mut outcome = Outcome { inputs, scored, dead, dead_labels, ..Outcome::default() };
        outcome.judge_records();
        let mentions: Vec<Value> = read("mentions").iter().map(placed).collect();
        outcome.judge_mentions(mentions.iter().filter(|record| record["type"] == "mention"));
        let partitions = self.committed("signal", &self.own("mentions")).len();
        outcome.judge_retractions(mentions.iter().filter(|record| record["type"] == "retraction"), partitions);
        outcome.disorder.extend(disorder("scored", outcome.scored.iter()));
        outcome.disorder.extend(disorder("mentions", mentions.iter().filter(|record| record["type"] != "tick")));
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
        outcome.judge_labels(&self.read(&self.own("labels")), &label_segments(archive));
        outcome.judge_samples(&segments(archive));
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
        assert!(
            self.twice.is_empty() && self.disorder.is_empty(),
            "twice:\n{}\nout of order:\n{}",
            self.twice,
            self.disorder
        );
    }

    /// Nothing is lost and nothing is invented; something may stand twice, and so behind what came later.
    pub fn assert_whole(&self) {
        assert!(self.lost.is_empty() && self.invented.is_empty(), "lost:\n{}\ninvented:\n{}", self.lost, self.invented);
    }

    /// Each record of the inputs is one scored post or one dead letter.
    fn judge_records(&mut self) {
        let told: Vec<Place> = self.places().collect();
        let mut seen = BTreeSet::new();
        for place in &told {
            if !seen.insert(place) {
                self.twice.add_place(place, "was told twice");
            } else if !self.inputs.contains_key(place) {
                self.invented.add_place(place, "was told and never came in");
            }
        }
        for place in self.inputs.keys().filter(|place| !seen.contains(place)) {
            self.lost.add_place(place, "was not told");
        }
        self.judge_ids("scored", self.scored.iter().map(|post| text(&post["id"])).collect::<Vec<_>>().into_iter());
    }

    /// A row for each scored post, with what was scored, and spans that touch.
    fn judge_samples(&mut self, segments: &[Segment]) {
        self.lost.extend(gaps(segments));
        let mut scored: BTreeMap<String, BTreeSet<Cells>> = BTreeMap::new();
        for post in &self.scored {
            scored.entry(text(&post["id"])).or_default().insert(sample_of(post));
        }
        let rows = || segments.iter().flat_map(|segment| segment.ids.iter().zip(&segment.rows));
        for (id, row) in rows() {
            match scored.get(id) {
                Some(posts) if posts.contains(row) => {}
                Some(posts) => self.invented.add(id, format!("the archive has {row:?} of {id}, which is {posts:?}")),
                None => self.invented.add(id, format!("{id} is in the archive and was never scored")),
            }
        }
        let kept: BTreeSet<&String> = rows().map(|(id, _)| id).collect();
        for id in scored.keys().filter(|id| !kept.contains(id)) {
            self.lost.add(id, format!("{id} is not in the archive"));
        }
        self.judge_ids("the archive", rows().map(|(id, _)| id.clone()));
        self.judge_places(segments);
    }

    /// Each place of the scored posts is one row, in the segment whose span has it: what was told twice is two rows, and
    /// nothing else is. (Spans that touch have no place twice.)
    fn judge_places(&mut self, segments: &[Segment]) {
        let place = |post: &Value| {
            let at = text(&post["stands_at"]);
            let (partition, offset) = at.split_once('@').unwrap();
            (partition.parse::<i32>().unwrap(), offset.parse::<i64>().unwrap())
        };
        let stands: BTreeMap<(i32, i64), String> =
            self.scored.iter().map(|post| (place(post), text(&post["id"]))).collect();
        for Segment { partition: (topic, number), from, until, ids, .. } in segments {
            let there: Vec<&String> = stands.range((*number, *from)..(*number, *until)).map(|(_, id)| id).collect();
            if !there.iter().copied().eq(ids) {
                let what = format!("begins a segment to {until} with rows for {ids:?}, where {there:?} stand");
                self.invented.add_place(&(topic.clone(), *number, *from), &what);
            }
        }
    }

    /// Each label is one row, or one dead letter with its bytes where it is none, and spans that touch.
    fn judge_labels(&mut self, given: &[OwnedMessage], segments: &[Segment]) {
        self.lost.extend(gaps(segments));
        self.labels = segments.iter().map(|segment| segment.ids.len()).sum();
        let mut letters: BTreeMap<Place, &OwnedMessage> = BTreeMap::new();
        for letter in &self.dead_labels {
            let place = place_of_dead(letter);
            if letters.insert(place.clone(), letter).is_some() {
                self.twice.add_place(&place, "is a dead letter twice");
            }
        }
        let mut answers: BTreeMap<Cells, Vec<String>> = BTreeMap::new();
        for label in given {
            let (place, value) = (stands_at(label), label.payload().unwrap());
            match (letters.remove(&place), is_broken_label(value)) {
                (Some(letter), true) if (letter.key(), letter.payload()) == (label.key(), Some(value)) => {}
                (Some(_), true) => self.invented.add_place(&place, "is a dead letter with other bytes"),
                (Some(_), false) => self.invented.add_place(&place, "is a good label and a dead letter"),
                (None, true) => self.lost.add_place(&place, "is no label and no dead letter"),
                (None, false) => answers.entry(answer_of(&json_of(label))).or_default().push(id_of(&place)),
            }
        }
        for place in letters.keys() {
            self.invented.add_place(place, "is a dead letter and was never given");
        }
        let mut kept: BTreeMap<&Cells, usize> = BTreeMap::new();
        segments.iter().flat_map(|segment| &segment.rows).for_each(|row| *kept.entry(row).or_default() += 1);
        for (answer, places) in &answers {
            let rows = kept.remove(answer).unwrap_or(0);
            for place in places.iter().skip(rows) {
                self.lost.add(place, format!("the label {answer:?} at {place} is not in the archive"));
            }
            if rows > places.len() {
                self.twice.add(&places[0], format!("the archive has the label {answer:?} {rows} times"));
            }
        }
        for answer in kept.into_keys() {
            self.invented.add(&format!("{answer:?}"), format!("the label {answer:?} in the archive is nobody's"));
        }
    }

    /// A mention for each subject of each scored post, and no other.
    fn judge_mentions<'a>(&mut self, mentions: impl Iterator<Item = &'a Value> + Clone) {
        let mut seen = BTreeMap::new();
        for mention in mentions.clone() {
            let (id, at) = (text(&mention["id"]), text(&mention["stands_at"]));
            if let Some(before) = seen.insert(id.clone(), at.clone()) {
                self.twice.add(&id, format!("mentions has {id} twice, at {before} and {at}"));
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
                self.lost.add_place(&place, &format!("has mentions of {found:?}, its subjects are {subjects:?}"));
            }
        }
        for place in of_post.keys() {
            self.invented.add_place(place, "has mentions and was never scored");
        }
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
                self.twice.add(&id, format!("mentions has {id} twice, the second time at {at}"));
            } else if wanted.as_deref() != retraction["post_id"].as_str() {
                self.invented.add(&id, format!("{id} takes back {}, not {wanted:?}", retraction["post_id"]));
            }
        }
        for id in expected.keys() {
            self.lost.add(id, format!("mentions lacks {id}"));
        }
    }

    fn judge_ids(&mut self, place: &str, all: impl Iterator<Item = String>) {
        let mut seen = BTreeSet::new();
        for id in all {
            if seen.contains(&id) {
                self.twice.add(&id, format!("{place} has {id} twice"));
            }
            seen.insert(id);
        }
    }
}

/// Of one input partition, what stands in one partition of a topic stands in the order in which it came in.
fn disorder<'a>(kind: &str, records: impl Iterator<Item = &'a Value>) -> Findings {
    let mut reached: BTreeMap<(i64, String, i32), i64> = BTreeMap::new();
    let mut disorder = Findings::default();
    for record in records {
        let id = text(&record["id"]);
        let (topic, number, offset) = place_of(&id);
        let reached = reached.entry((record["stands_in"].as_i64().unwrap(), topic, number)).or_insert(offset);
        if offset < *reached {
            disorder.add(&id, format!("{kind} has {id} at {}, behind offset {reached}", record["stands_at"]));
        }
        *reached = offset.max(*reached);
    }
    disorder
}

/// What a sample has to say of a scored post.
fn sample_of(post: &Value) -> Cells {
    let (sentiment, word) = (&post["sentiment"], |value: &Value| value.as_str().map(str::to_owned));
    let confidence = sentiment["confidence"].as_f64().map(|confidence| (confidence as f32).to_string());
    vec![word(&post["text"]), word(&sentiment["label"]), confidence, word(&post["model"]["version"])]
}

/// What the archive has to say of a label.
fn answer_of(label: &Value) -> Cells {
    ["post_id", "task", "label", "annotator"].map(|name| label[name].as_str().map(str::to_owned)).into()
}

pub fn stands_at(message: &OwnedMessage) -> Place {
    (message.topic().to_owned(), message.partition(), message.offset())
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
