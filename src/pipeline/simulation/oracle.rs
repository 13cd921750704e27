//! What must be true at the end, whatever went wrong on the way.
//!
//! Each topic is held against what follows from the topic before it on the same log: scored posts, mentions and dead
//! letters from the inputs, index and alerts from the mentions (ticks and append times included), segments from the
//! scored posts and labels. That is the output of a run in which nothing goes wrong, given the same inputs. The one
//! thing that it leaves open is when ticks come: they are made of the clock, and a tick may stand twice. Of them it asks
//! that they come in the end, to every partition, and exactly once the same to all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use super::archived::archived;
use super::posts::{POISON, POISONED};
use super::process::Site;
use super::steps::AHEAD_MAX_US;
use super::{COUNTS, PIPELINE};
use crate::codec::{Envelope, decode_mention, decode_post, decode_scored};
use crate::event::{Action, MentionRecord, Origin, Reason};
use crate::pipeline::Topics;
use crate::pipeline::signal::{Finding, PartitionState, SignalSettings};
use crate::stream::{Delivery, Output, Partition, Position, Record, partition_for};
use crate::time::{Clock as _, Timestamp};

pub(super) type Verdict = Result<(), String>;

/// Ids with how often each stands there.
pub(super) type Tally = BTreeMap<String, usize>;

pub(super) fn tally(ids: impl IntoIterator<Item = String>) -> Tally {
    let mut tally = Tally::new();
    ids.into_iter().for_each(|id| *tally.entry(id).or_default() += 1);
    tally
}

pub(super) fn all(site: &Site, topic: &Arc<str>) -> Vec<Record> {
    let partitions = site.log.partitions(topic);
    partitions.iter().flat_map(|at| site.log.read(at, Position::at(0), usize::MAX)).collect()
}

pub(super) fn text(record: &Record, header: &str) -> String {
    record.headers.get(header).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

/// Where a dead letter says that it came from, and which stage says so: behind what was said of it before.
pub(super) fn place_of(letter: &Record) -> (String, String) {
    let last = |name: &str| {
        let name = format!("__connect.errors.{name}");
        let found = letter.headers.iter().filter(|(found, _)| *found == name).last();
        found.and_then(|(_, value)| value).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    (["topic", "partition", "offset"].map(last).join("+"), last("stage"))
}

/// Whether a letter is what must become of a record: key, bytes and headers as they came, and Kafka Connect's headers
/// behind them.
pub(super) fn is_whole(letter: &Record, record: &Record, stage: &str, (reason, message): (Reason, &str)) -> Verdict {
    let (at, offset) = (&record.partition, record.offset);
    let mut headers = record.headers.clone();
    let said: [(&str, &dyn Display); 6] = [
        ("topic", &at.topic),
        ("partition", &at.number),
        ("offset", &offset),
        ("stage", &stage),
        ("exception.class.name", &reason),
        ("exception.message", &message),
    ];
    said.into_iter().for_each(|(name, value)| headers.push_text(&format!("__connect.errors.{name}"), value));
    let place = format!("{at}+{offset}");
    let number = partition_for(record.key.as_deref().unwrap_or(place.as_bytes()), COUNTS.dead_letters);
    let found = (letter.partition.number, &letter.key, &letter.value, &letter.headers);
    if found == (number, &record.key, &record.value, &headers) {
        Ok(())
    } else {
        Err(format!(
            "the dead letter of {place} is {letter:?}\n  with other headers than {headers:?}, or of {record:?}"
        ))
    }
}

pub(super) fn origin(record: &Record) -> Origin {
    Origin { topic: record.partition.topic.clone(), partition: record.partition.number, offset: record.offset }
}

/// Every expected id is there; none of them more often `again` than that; nothing else.
pub(super) fn same(what: &str, again: usize, expected: Tally, found: &Tally) -> Verdict {
    for (id, count) in &expected {
        match found.get(id) {
            None => return Err(format!("{what} lost {id}")),
            Some(times) if !(*count..=count + again).contains(times) => {
                return Err(format!("{what} has {id} {times} times"));
            }
            Some(_) => {}
        }
    }
    match found.keys().find(|id| !expected.contains_key(*id)) {
        Some(id) => Err(format!("{what} has {id}, which nothing gave rise to")),
        None => Ok(()),
    }
}

/// Looks at everything; `again` is how often more than once each stage may have told the same, `healing` is when nothing
/// broke any more.
pub(super) fn judge(site: &Site, again: [usize; 3], healing: Timestamp) -> Verdict {
    let [by_score, by_signal, by_archive] = again;
    let topics = Topics::of(PIPELINE);
    let scored = all(site, &topics.scored);
    let dead = all(site, &topics.dead_letters);
    scored_or_dead(site, by_score, &scored, &dead)?;
    mentioned(site, by_score, &topics, &scored)?;
    answered(site, &topics, &scored)?;
    ticked(site, by_score, &topics, healing)?;
    signalled(site, by_signal, &topics)?;
    archived(site, by_archive, &topics, &dead)
}

/// Each input is scored or dead, once; a dead letter is whole.
fn scored_or_dead(site: &Site, again: usize, scored: &[Record], dead: &[Record]) -> Verdict {
    let mut inputs = BTreeMap::new();
    for source in &site.settings.sources {
        for record in all(site, &source.topic) {
            inputs.insert(origin(&record).to_string(), (record, source));
        }
    }
    let mut found = tally(scored.iter().map(|record| text(record, "ce_id")));
    for letter in dead {
        let (id, stage) = place_of(letter);
        match &stage[..] {
            "score" => {}
            // They are held against the labels.
            "archive" => continue,
            _ => return Err(format!("a dead letter of {id} by {stage:?}: {letter:?}")),
        }
        let Some((record, source)) = inputs.get(&id) else { return Err(format!("a dead letter of {id}")) };
        match decode_post(record, source) {
            Err(wrong) => is_whole(letter, record, "score", (wrong.reason, &wrong.message))?,
            Ok(post) if post.text == POISON => {
                is_whole(letter, record, "score", (Reason::NotScorable, POISONED))?;
            }
            Ok(_) => return Err(format!("{id} is a dead letter though it can be used")),
        }
        *found.entry(id).or_default() += 1;
    }
    same("scored", again, tally(inputs.into_keys()), &found)
}

/// Each scored post has its mentions and retractions.
fn mentioned(site: &Site, again: usize, topics: &Topics, scored: &[Record]) -> Verdict {
    let mut expected = Vec::new();
    for record in scored {
        let post = decode_scored(record).map_err(|letter| letter.message)?;
        expected.extend(post.subjects.iter().map(|link| post.origin.id_for(&link.subject)));
        if post.action != Action::Created {
            let numbers = site.log.partitions(&topics.mentions).into_iter().map(|at| at.number);
            expected.extend(numbers.map(|number| post.origin.id_for(format_args!("retraction-{number}"))));
        }
    }
    let mentions = all(site, &topics.mentions);
    let told = mentions.iter().filter(|record| text(record, "ce_type") != "bellwether.tick.v1");
    let expected = tally(expected).into_keys().map(|id| (id, 1)).collect();
    same("mentions", again, expected, &tally(told.map(|record| text(record, "ce_id"))))
}

/// Scored posts and mentions are, byte for byte, what the model that they name makes of their record alone, and stand in
/// the order of their records.
fn answered(site: &Site, topics: &Topics, scored: &[Record]) -> Verdict {
    let sources = site.settings.sources.iter().flat_map(|source| all(site, &source.topic));
    let inputs: BTreeMap<String, Record> = sources.map(|record| (origin(&record).to_string(), record)).collect();
    let mut expected: BTreeMap<String, Vec<(usize, Output)>> = BTreeMap::new();
    for record in scored {
        let post = decode_scored(record).map_err(|letter| letter.message)?;
        let Some(input) = inputs.get(&post.origin.to_string()) else { continue };
        for (number, output) in
            site.outputs_of(input.clone(), &post.model.version, post.scored_at).into_iter().enumerate()
        {
            let id = output.headers.get("ce_id");
            let id = String::from_utf8_lossy(id.unwrap_or_default()).into_owned();
            expected.entry(format!("{}: {id}", output.topic)).or_default().push((number, output));
        }
    }
    let mentions = all(site, &topics.mentions);
    let told = mentions.iter().filter(|record| text(record, "ce_type") != "bellwether.tick.v1");
    let mut order = Order::default();
    for record in scored.iter().chain(told) {
        let id = format!("{}: {}", record.partition.topic, text(record, "ce_id"));
        let is = |(_, output): &&(usize, Output)| {
            (output.partition, &output.key, &output.value, &output.headers)
                == (record.partition.number, &record.key, &record.value, &record.headers)
        };
        // Where a post may be told twice, another version may have answered, or later.
        let expected = expected.get(&id).map_or(&[][..], Vec::as_slice);
        let Some((number, _)) = expected.iter().find(is) else {
            return Err(format!("{id} is {record:?}\n  instead of {expected:?}"));
        };
        // One that came again may have mentions of other subjects, told after what followed it: of those it is not asked.
        if site.delivery == Delivery::ExactlyOnce || record.partition.topic == topics.scored {
            order.take(site, record, *number)?;
        }
    }
    Ok(())
}

/// Where what follows from each input partition stands in each output partition.
#[derive(Default)]
struct Order {
    last: BTreeMap<(Partition, String), (i64, usize)>,
    seen: BTreeSet<(Partition, String)>,
}

impl Order {
    /// The next record of its partition; it is the output of that number of its post. One that may come again counts
    /// where it comes first: nobody writes it who has not written what is before it, or knows that to be written.
    fn take(&mut self, site: &Site, record: &Record, number: usize) -> Verdict {
        let id = text(record, "ce_id");
        let (at, is_new) = (&record.partition, self.seen.insert((record.partition.clone(), id.clone())));
        if !is_new && site.delivery == Delivery::AtLeastOnce {
            return Ok(());
        }
        let mut parts = id.splitn(4, '+');
        let input: Vec<&str> = parts.by_ref().take(2).collect();
        let offset = parts.next().and_then(|offset| offset.parse().ok());
        let place = (offset.ok_or_else(|| format!("{id} in {at} says no offset"))?, number);
        match self.last.insert((at.clone(), input.join("+")), place) {
            Some(last) if last >= place => Err(format!("{id} in {at} stands behind what follows from {}", last.0)),
            _ => Ok(()),
        }
    }
}

/// Each partition of the mentions got a tick after all was well again, none of a time that has not come, and, where outputs
/// are committed together, the same ones as the others.
fn ticked(site: &Site, again: usize, topics: &Topics, healing: Timestamp) -> Verdict {
    let is_tick = |record: &Record| text(record, "ce_type") == "bellwether.tick.v1";
    let mut of_others: Option<Tally> = None;
    for partition in site.log.partitions(&topics.mentions) {
        let ticks: Vec<Record> =
            site.log.read(&partition, Position::at(0), usize::MAX).into_iter().filter(is_tick).collect();
        if ticks.last().is_none_or(|last| last.appended_at < healing) {
            return Err(format!("{partition} gets no ticks any more"));
        }
        for tick in &ticks {
            match decode_mention(tick).map_err(|letter| letter.message)? {
                MentionRecord::Tick(tick) if tick.at.micros() <= site.clock.now().micros() + AHEAD_MAX_US => {}
                other => return Err(format!("{partition} has a tick of another time: {other:?}")),
            }
        }
        let ticks = tally(ticks.iter().map(|tick| text(tick, "ce_id")));
        if again == 0 && of_others.as_ref().is_some_and(|others| *others != ticks) {
            return Err(format!("{partition} has other ticks than the partition before it"));
        }
        of_others = Some(ticks);
    }
    Ok(())
}

/// Index and alerts are, byte for byte, what one reader makes of the mentions who never stopped.
fn signalled(site: &Site, again: usize, topics: &Topics) -> Verdict {
    let settings = Arc::new(SignalSettings::of(&site.settings));
    let envelope = Envelope { source: Arc::from(format!("bellwether/{PIPELINE}")) };
    for partition in site.log.partitions(&topics.mentions) {
        let mut state = PartitionState::new(settings.clone());
        let (mut indices, mut alerts) = (Vec::new(), Vec::new());
        for record in site.log.read(&partition, Position::at(0), usize::MAX) {
            let mention: MentionRecord = decode_mention(&record).map_err(|letter| letter.message)?;
            for finding in state.fold(mention, &origin(&record), record.appended_at, true) {
                match finding {
                    Finding::Index(index) => {
                        indices.push((index.id.clone(), envelope.index(&index).to(&topics.index, partition.number)));
                    }
                    Finding::Alert(alert) => {
                        alerts.push((alert.id.clone(), envelope.alert(&alert).to(&topics.alerts, partition.number)));
                    }
                }
            }
        }
        for (topic, expected) in [(&topics.index, &indices), (&topics.alerts, &alerts)] {
            let at = Partition::new(topic, partition.number);
            equal(&at.to_string(), again, expected, &site.log.read(&at, Position::at(0), usize::MAX))?;
        }
    }
    Ok(())
}

fn equal(what: &str, again: usize, expected: &[(String, Output)], found: &[Record]) -> Verdict {
    let found: Vec<(String, &Record)> = found.iter().map(|record| (text(record, "ce_id"), record)).collect();
    same(
        what,
        again,
        tally(expected.iter().map(|(id, _)| id.clone())),
        &tally(found.iter().map(|(id, _)| id.clone())),
    )?;
    let by_id: BTreeMap<&String, &Output> = expected.iter().map(|(id, output)| (id, output)).collect();
    let is = |(id, record): &&(String, &Record)| {
        by_id.get(id).is_some_and(|output| {
            (&output.key, &output.value, &output.headers) == (&record.key, &record.value, &record.headers)
        })
    };
    if let Some((id, record)) = found.iter().find(|one| !is(one)) {
        return Err(format!("{what}: {record:?}\n  instead of {:?}", by_id.get(id)));
    }
    // Of a compacted topic the last one stays. What came again counts where it came first.
    let mut seen = BTreeSet::new();
    let mut first = found.iter().filter(|(id, _)| seen.insert(id));
    match expected.iter().zip(&mut first).find(|((one, _), (other, _))| one != other) {
        Some(((one, _), (other, _))) => Err(format!("{what}: {other} stands where {one} should")),
        None => Ok(()),
    }
}
