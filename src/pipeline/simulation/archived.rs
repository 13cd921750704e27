//! What must stand in the archive at the end: every scored post and label, row by row as it is on its topic.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use super::LABELS;
use super::oracle::{Verdict, all, is_whole, origin, place_of, same, tally};
use super::posts::BROKEN;
use super::process::Site;
use crate::archive::StoredRow;
use crate::codec::{decode_label, decode_scored};
use crate::event::{Label, ScoredPost};
use crate::pipeline::Topics;
use crate::sample::{Choice, Policy};
use crate::stream::{Partition, Position, Record};

/// The spans of each partition touch, from the first record to the committed position, and hold the records in them once,
/// in their order; what cannot be read is a dead letter.
pub(super) fn archived(site: &Site, again: usize, topics: &Topics, dead: &[Record]) -> Verdict {
    let segments = site.disk.segments();
    for topic in [&topics.scored, &Arc::from(LABELS)] {
        for partition in site.log.partitions(topic) {
            let name = format!("{}+{}", partition.topic, partition.number);
            let records = site.log.read(&partition, Position::at(0), usize::MAX);
            let mut next = 0;
            let mut mine: Vec<_> = segments.iter().filter(|segment| segment.partition == name).collect();
            mine.sort_by_key(|segment| segment.span.start);
            for segment in mine {
                if segment.span.start != next {
                    return Err(format!("segments of {name}: [{:?}) after {next}", segment.span));
                }
                next = segment.span.end;
                let within = records.iter().filter(|record| segment.span.contains(&record.offset));
                let expected: Vec<StoredRow> = within.filter_map(|record| row(site, &partition, record)).collect();
                let differs = match &site.settings.sample {
                    Policy::Mixed(quotas) if &**topic != LABELS && quotas.iter().any(|quota| quota.share < 1.0) => {
                        drawn
                    }
                    Policy::All | Policy::Hash(_) | Policy::Mixed(_) => difference,
                };
                if let Some(difference) = differs(&expected, &segment.rows) {
                    return Err(format!("segment {:?} of {name}: {difference}", segment.span));
                }
            }
            let end = records.last().map_or(0, |record| record.next().offset());
            if next != end {
                return Err(format!("segments of {name} end at {next} instead of {end}"));
            }
        }
    }
    let labels = all(site, &Arc::from(LABELS));
    let bad = labels.iter().filter(|record| record.value.as_deref() == Some(BROKEN));
    let bad: BTreeMap<String, &Record> = bad.map(|record| (origin(record).to_string(), record)).collect();
    let mut found = Vec::new();
    for letter in dead {
        let (id, stage) = place_of(letter);
        if stage != "archive" {
            continue;
        }
        let Some(record) = bad.get(&id) else { return Err(format!("a dead label of {id}")) };
        let wrong = decode_label(record).err().ok_or_else(|| format!("{id} is dead though it can be used"))?;
        is_whole(letter, record, "archive", (wrong.reason, &wrong.message))?;
        found.push(id);
    }
    same("dead labels", again, tally(bad.into_keys()), &tally(found))
}

fn difference(expected: &[StoredRow], found: &[StoredRow]) -> Option<String> {
    if expected.len() != found.len() {
        return Some(format!("{} rows instead of {}", found.len(), expected.len()));
    }
    let (expected, found) = expected.iter().zip(found).find(|(expected, found)| expected != found)?;
    let columns = expected.keys().chain(found.keys()).find(|name| expected.get(*name) != found.get(*name))?;
    Some(format!("{columns} is {:?} instead of {:?} in {found:?}", found.get(columns), expected.get(columns)))
}

/// The weaker rule where the first writer of a segment draws rows: each is that of its record, in their order and once.
fn drawn(expected: &[StoredRow], found: &[StoredRow]) -> Option<String> {
    let whole = |row: &StoredRow| {
        let mut row = row.clone();
        row.remove("sample_probability");
        row
    };
    let mut rest = expected.iter().map(whole);
    let stray = found.iter().map(whole).find(|row| !rest.any(|other| other == *row));
    stray.map(|row| format!("{row:?} is of no record, or out of order"))
}

/// The row of a record; none of one that cannot be read, or that is left out.
fn row(site: &Site, partition: &Partition, record: &Record) -> Option<StoredRow> {
    if &*partition.topic == LABELS {
        return decode_label(record).ok().map(|label| of_label(&label, record));
    }
    let post = decode_scored(record).ok()?;
    let (reason, probability) = match site.settings.sample.decide(&post.post_id) {
        Choice::Keep(kept) => (kept.reason, kept.probability),
        Choice::Leave => return None,
        Choice::Later => ("random", 1.0),
    };
    Some(of_post(&post, (reason, probability)))
}

fn of_label(label: &Label, record: &Record) -> StoredRow {
    let at = label.at.min(record.appended_at).micros();
    let [post_id, task, class, annotator] =
        [&label.post_id, &label.task, &label.label, &label.annotator].map(ToString::to_string);
    let note = maybe(label.note.as_ref());
    let columns = ["post_id", "task", "label", "annotator", "at", "note"];
    columns.map(str::to_owned).into_iter().zip([post_id, task, class, annotator, at.to_string(), note]).collect()
}

fn of_post(post: &ScoredPost, (reason, probability): (&str, f64)) -> StoredRow {
    let (sentiment, topic, model, origin) = (&post.sentiment, &post.topic, &post.model, &post.origin);
    let subjects = post.subjects.iter().map(|link| format!("{}={}", link.subject.as_str(), link.relevance));
    let columns = [
        ("post_id", post.post_id.to_string()),
        ("id", post.id.clone()),
        ("revision", post.revision.micros().to_string()),
        ("action", format!("{:?}", post.action).to_lowercase()),
        ("published_at", post.published_at.micros().to_string()),
        ("appended_at", post.appended_at.micros().to_string()),
        ("scored_at", post.scored_at.micros().to_string()),
        ("text", post.text.clone()),
        ("original_text", maybe(post.original_text.as_ref())),
        ("lang", maybe(post.lang.as_ref())),
        ("declared_lang", maybe(post.declared_lang.as_ref())),
        ("source", post.source.to_string()),
        ("kind", post.kind.to_string()),
        ("author", maybe(post.author.as_ref())),
        ("url", maybe(post.url.as_ref())),
        ("sentiment_label", maybe(sentiment.label.as_ref())),
        ("sentiment_confidence", sentiment.confidence.to_string()),
        ("sentiment_reason", maybe(sentiment.reason.map(|reason| reason.as_str()).as_ref())),
        ("sentiment_probabilities", odds(&sentiment.probabilities)),
        ("topic_label", maybe(topic.label.as_ref())),
        ("topic_confidence", topic.confidence.to_string()),
        ("topic_reason", maybe(topic.reason.map(|reason| reason.as_str()).as_ref())),
        ("topic_probabilities", odds(&topic.distribution)),
        ("subjects", subjects.collect::<Vec<_>>().join(" ")),
        ("model_name", model.name.to_string()),
        ("model_version", model.version.to_string()),
        ("model_variant", model.variant.to_string()),
        ("origin_topic", origin.topic.to_string()),
        ("origin_partition", origin.partition.to_string()),
        ("origin_offset", origin.offset.to_string()),
        ("sample_reason", reason.to_owned()),
        ("sample_probability", probability.to_string()),
        ("challenger_version", maybe::<String>(None)),
        ("challenger_sentiment_probabilities", String::new()),
        ("challenger_topic_probabilities", String::new()),
    ];
    columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn maybe<T: Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn odds(probabilities: &BTreeMap<Arc<str>, f32>) -> String {
    let odds = probabilities.iter().map(|(label, probability)| format!("{label}={probability}"));
    odds.collect::<Vec<_>>().join(" ")
}
