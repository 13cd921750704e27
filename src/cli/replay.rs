//! `bellwether replay`: puts JSON lines on an input topic, keyed by the posts' ids. Record timestamps are the moment of
//! sending, never the past: retention would delete the records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::cli::args::{Global, Replay};
use crate::cli::lines::Lines;
use crate::cli::play::Speed;
use crate::cli::serve::{Stopped, stopped};
use crate::cli::{Failure, Output, load};
use crate::codec::SourceSettings;
use crate::kafka::PlainProducer;
use crate::pipeline::{PlayRecord, Settings};
use crate::time::{Clock, SystemClock, Timestamp};

/// How long a wait for a post's time goes on before it looks whether it was stopped.
const NAP: Duration = Duration::from_millis(50);

/// Runs the command.
///
/// # Errors
/// With 65 at a bad line, when those before it are sent and said; with 69 when Kafka cannot be reached or a record was
/// not delivered.
pub(crate) fn run(arguments: &Replay, global: &Global) -> Result<(), Failure> {
    let settings = load(&arguments.file, global)?.settings;
    if let Some(topic) = &arguments.topic
        && !settings.sources.iter().any(|source| *source.topic == **topic)
    {
        let known: Vec<&str> = settings.sources.iter().map(|source| &*source.topic).collect();
        let message = format!("the pipeline `{}` reads no topic `{topic}`", settings.name);
        return Err(Failure::usage(message, format!("use --topic with {}", known.join(" or "))));
    }
    let topic = arguments.topic.as_deref().map(Arc::from);
    let lines = Lines::open(&arguments.input, &settings.sources, topic).map_err(|error| Failure::of(error.into()))?;
    let mut sender = Sender::new(&settings, arguments)?;
    let limit = usize::try_from(arguments.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    for record in lines.take(limit) {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                // Whoever mends the line must know what went before it.
                sender.finish()?;
                return Err(Failure::of(error.into()));
            }
        };
        if !sender.wait_for(record.at) {
            break;
        }
        sender.send(record)?;
    }
    sender.finish()
}

/// Sends records at their time.
struct Sender<'a> {
    settings: &'a Settings,
    clock: SystemClock,
    speed: Speed,
    rebase: bool,
    producers: BTreeMap<Arc<str>, PlainProducer>,
    bar: ProgressBar,
    /// The first post's time and the moment at which it was sent.
    origin: Option<(Timestamp, Duration)>,
    stop: Stopped,
}

impl<'a> Sender<'a> {
    fn new(settings: &'a Settings, arguments: &Replay) -> Result<Self, Failure> {
        let bar = match arguments.limit {
            Some(limit) => ProgressBar::new(limit),
            None => ProgressBar::no_length(),
        };
        let style = ProgressStyle::with_template("{bar:30} {human_pos} posts  {per_sec}  {elapsed}  {msg}");
        bar.set_style(style.map_err(|error| Failure::internal(error.to_string()))?);
        Ok(Self {
            settings,
            clock: SystemClock::new(),
            speed: arguments.speed,
            rebase: arguments.rebase,
            producers: BTreeMap::new(),
            bar,
            origin: None,
            stop: stopped().map_err(Failure::of)?,
        })
    }

    /// Waits for a post's time; false when somebody asked to stop.
    fn wait_for(&mut self, at: Option<Timestamp>) -> bool {
        if let (Speed::Times(times), Some(at)) = (self.speed, at) {
            let (first, began) = *self.origin.get_or_insert((at, self.clock.monotonic()));
            let due = began + at.since(first) / times.max(1);
            while !self.stop.is_stopped() {
                let now = self.clock.monotonic();
                if now >= due {
                    break;
                }
                self.clock.pause((due - now).min(NAP));
            }
        }
        !self.stop.is_stopped()
    }

    fn send(&mut self, record: PlayRecord) -> Result<(), Failure> {
        let source = self.settings.sources.iter().find(|source| source.topic == record.topic);
        let value = match source {
            Some(source) if self.rebase => rebased(&record.value, source, self.clock.now()),
            _ => record.value,
        };
        if !self.producers.contains_key(&record.topic) {
            let started = PlainProducer::start(&self.settings.kafka, &record.topic, &self.clock);
            self.producers.insert(record.topic.clone(), started.map_err(|error| Failure::of(error.into()))?);
        }
        let Some(producer) = self.producers.get_mut(&record.topic) else { return Ok(()) };
        producer.send(record.key.as_deref(), &value).map_err(|error| Failure::of(error.into()))?;
        self.bar.inc(1);
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        let mut sent = Vec::new();
        for (topic, producer) in self.producers {
            let count = producer.finish().map_err(|error| Failure::of(error.into()))?;
            sent.push(format!("{count} on {topic}"));
        }
        self.bar.finish_and_clear();
        let sent = if sent.is_empty() { "nothing".to_owned() } else { sent.join(", ") };
        let mut output = Output::new();
        output.line(format!("acknowledged: {sent}"))?;
        output.flush()
    }
}

/// The post with `now` where it says when it was published, and where it says that it was changed. A record that is no
/// JSON, or has no such field, is left as it is.
fn rebased(value: &Bytes, source: &SourceSettings, now: Timestamp) -> Bytes {
    let Ok(mut post) = serde_json::from_slice::<Value>(value) else { return value.clone() };
    let mut is_changed = false;
    for pointer in source.fields.published_at.iter().chain(&source.fields.updated_at) {
        if let Some(place) = post.pointer_mut(pointer).filter(|place| !place.is_null()) {
            *place = Value::String(now.to_string());
            is_changed = true;
        }
    }
    if is_changed { Bytes::from(post.to_string()) } else { value.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::codec::FieldMap;

    #[test]
    fn a_rebased_post_is_published_now_where_its_source_says_so() {
        let fields = FieldMap { published_at: vec!["/meta/at".to_owned()], ..FieldMap::default() };
        let source = SourceSettings { topic: Arc::from("t"), kind: Arc::from("news"), fields };
        let now = Timestamp::parse("2026-03-02T12:00:00Z").unwrap();
        let value = rebased(&Bytes::from_static(br#"{"id":"1","meta":{"at":1700000000}}"#), &source, now);
        assert_eq!(value, r#"{"id":"1","meta":{"at":"2026-03-02T12:00:00Z"}}"#);
        let broken = Bytes::from_static(b"{\"id\":");
        assert_eq!(rebased(&broken, &source, now), broken);
    }
}
