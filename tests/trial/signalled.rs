//! Index and alerts, held against what one reader makes of the mentions who never stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use bellwether::codec::{decode_alert, decode_mention};
use bellwether::config;
use bellwether::event::{Index, Origin};
use bellwether::pipeline::read_instruments;
use bellwether::pipeline::signal::{Finding, PartitionState, SignalSettings};
use bellwether::stream::{Headers, Partition, Record};
use bellwether::time::Timestamp;
use rdkafka::Message as _;
use rdkafka::message::{Headers as _, OwnedMessage};

use super::findings::Findings;
use super::{Trial, variable};

impl Trial {
    /// What is lost of index and alerts, and what is not as it follows from the mentions that the signal stage has
    /// committed.
    pub fn judge_signals(&self) -> Findings {
        let overlay = self.settings.iter().map(|(setting, value)| (variable(setting), value.clone()));
        let settings = config::load(&self.path("pipeline.toml"), overlay).unwrap().settings;
        let settings = Arc::new(SignalSettings::of(&settings).naming(&read_instruments(&settings).unwrap()));
        let topic = self.own("mentions");
        let committed = self.committed("signal", &topic);
        let mut states: BTreeMap<i32, PartitionState> = BTreeMap::new();
        let (mut indices, mut alerts) = (Vec::new(), Vec::new());
        for message in self.read(&topic) {
            let number = message.partition();
            if message.offset() >= committed[usize::try_from(number).unwrap()] {
                continue;
            }
            let record = record_of(&message);
            let mention = decode_mention(&record).unwrap_or_else(|letter| panic!("{}", letter.message));
            let place = Origin { topic: record.partition.topic.clone(), partition: number, offset: record.offset };
            let state = states.entry(number).or_insert_with(|| PartitionState::new(settings.clone()));
            for finding in state.fold(mention, &place, record.appended_at, true) {
                match finding {
                    Finding::Index(index) => indices.push((number, index)),
                    Finding::Alert(alert) => alerts.push((number, *alert)),
                }
            }
        }
        assert!(!indices.is_empty(), "no mention is committed: there is nothing to judge");
        let index = |message: &OwnedMessage| -> Index { serde_json::from_slice(message.payload().unwrap()).unwrap() };
        let there = self.read(&self.own("index"));
        let there = there.iter().map(|message| (message.partition(), index(message))).collect();
        let mut wrong = differences("index", indices, there, |index| &index.id);
        let there = self.read(&self.own("alerts"));
        let there = there.iter().filter(|message| message.payload().is_some());
        let there = there.map(|message| (message.partition(), decode_alert(&record_of(message)).unwrap())).collect();
        wrong.extend(differences("alerts", alerts, there, |alert| &alert.id));
        wrong
    }
}

/// Both in the order of each partition.
fn differences<T: PartialEq + Debug>(
    what: &str,
    expected: Vec<(i32, T)>,
    there: Vec<(i32, T)>,
    id: fn(&T) -> &String,
) -> Findings {
    let mut wrong = Findings::default();
    let in_order = |all: &[(i32, T)]| {
        let mut order: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        all.iter().for_each(|(number, one)| order.entry(*number).or_default().push(id(one).clone()));
        order
    };
    // Where something is missing or stands twice, that is what is said.
    if expected.len() == there.len() && in_order(&expected) != in_order(&there) {
        wrong.add(what, format!("{what} does not stand in the order of the mentions"));
    }
    let mut expected: BTreeMap<String, T> = expected.into_iter().map(|(_, one)| (id(&one).clone(), one)).collect();
    let known: BTreeSet<String> = expected.keys().cloned().collect();
    for (_, one) in &there {
        match expected.remove(id(one)) {
            Some(other) if other == *one => {}
            Some(other) => wrong.add(id(one), format!("{what} has {one:?} instead of {other:?}")),
            // Those that stand twice are judged by their ids.
            None if known.contains(id(one)) => {}
            None => wrong.add(id(one), format!("{what} has {one:?}, which follows from nothing")),
        }
    }
    for id in expected.keys() {
        wrong.add(id, format!("{what} lacks {id}"));
    }
    wrong
}

fn record_of(message: &OwnedMessage) -> Record {
    let bytes = |bytes: &[u8]| bytes::Bytes::copy_from_slice(bytes);
    let headers = message
        .headers()
        .map_or_else(Headers::new, |headers| headers.iter().map(|header| (header.key, header.value)).collect());
    Record {
        partition: Partition::new(&Arc::from(message.topic()), message.partition()),
        offset: message.offset(),
        appended_at: Timestamp::from_millis(message.timestamp().to_millis().unwrap()),
        key: message.key().map(bytes),
        value: message.payload().map(bytes),
        headers,
    }
}
