//! The load: posts sent to a pipeline, and the time until what follows from them is committed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::RecvTimeoutError;

use crate::cli::bench::say;
use crate::cli::bench::site::{Broker, Site};
use crate::event::AlertState;
use crate::kafka::PlainProducer;
use crate::onnx::cpu_time;
use crate::pipeline::{PlayRecord, TapeEvent};
use crate::time::{Clock, Timestamp};

/// How long the load for the latencies lasts.
const LATENCY_LOAD: Duration = Duration::from_secs(40);
/// How much of it is not counted: a broker that has just started is still compiling itself.
const LATENCY_WARM_UP: Duration = Duration::from_secs(20);
/// How long a single post may take before the bench gives up.
const STUCK: Duration = Duration::from_secs(60);

/// How fast a pipeline was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    pub(super) posts: usize,
    pub(super) per_second: f64,
    pub(super) per_cpu_second: f64,
    /// Cores that the broker took, when it is ours.
    pub(super) broker_cores: Option<f64>,
}

/// Sends the same posts to a site again and again, each time under other ids and published now.
pub(super) struct Load<'a> {
    pub(super) site: &'a Site,
    pub(super) records: &'a [PlayRecord],
    pub(super) clock: &'a dyn Clock,
    pub(super) sent: usize,
    /// Mentions of the posts that were waited for.
    pub(super) mentions: usize,
}

impl Load<'_> {
    /// Sends `count` posts and waits until all are committed.
    pub(super) fn burst(&mut self, count: usize) -> Result<()> {
        self.send_all(count)?;
        self.wait_for(count)
    }

    /// Sends `count` posts.
    pub(super) fn send_all(&mut self, count: usize) -> Result<()> {
        let mut producer = self.producer()?;
        for _ in 0..count {
            self.send(&mut producer)?;
        }
        producer.finish()
    }

    fn producer(&self) -> Result<Sender> {
        let mut topics = Vec::new();
        for source in &self.site.settings.sources {
            let producer = PlainProducer::start(&self.site.settings.kafka, &source.topic, self.clock)?;
            topics.push((source.topic.clone(), producer));
        }
        Ok(Sender(topics))
    }

    fn send(&mut self, producer: &mut Sender) -> Result<()> {
        let index = self.sent % self.records.len().max(1);
        let record = self.records.get(index).context("there are no posts")?;
        let topic = format!("{}.{}", self.site.settings.name, record.topic);
        let key = format!("bench-{}", self.sent);
        producer.send(&topic, key.as_bytes(), &self.anew(record, &key))?;
        self.sent += 1;
        Ok(())
    }

    /// The same post under another id, published now. What is no JSON object is sent as it is, to end as a dead letter.
    fn anew(&self, record: &PlayRecord, id: &str) -> Vec<u8> {
        let Ok(mut object) = serde_json::from_slice::<serde_json::Map<_, _>>(&record.value) else {
            return record.value.to_vec();
        };
        object.insert("id".to_owned(), id.into());
        object.remove("updated_at");
        for name in ["published_at", "created_at"] {
            if let Some(at) = object.get_mut(name) {
                *at = self.clock.now().to_string().into();
            }
        }
        serde_json::Value::Object(object).to_string().into_bytes()
    }

    /// Waits until `count` more posts are scored or dead.
    fn wait_for(&mut self, count: usize) -> Result<()> {
        let mut seen = 0;
        while seen < count {
            let event = self.next()?;
            seen += usize::from(ends_a_post(&event));
            if let TapeEvent::Scored(post) = event {
                self.mentions += post.subjects.len();
            }
        }
        Ok(())
    }

    /// The next thing that was committed.
    fn next(&self) -> Result<TapeEvent> {
        self.site.events.recv_timeout(STUCK).map_err(|error| match error {
            RecvTimeoutError::Timeout => anyhow::anyhow!("nothing was committed for {} s", STUCK.as_secs()),
            RecvTimeoutError::Disconnected => anyhow::anyhow!("the pipeline ended"),
        })
    }

    /// So many posts, as fast as they go through.
    #[expect(clippy::cast_precision_loss, reason = "a number of posts")]
    pub(super) fn throughput(&mut self, posts: usize, broker: &Broker) -> Result<Throughput> {
        let (cpu, broker_cpu) = (cpu_time(), broker.cpu_seconds());
        let began = self.clock.monotonic();
        self.burst(posts)?;
        let took = self.clock.monotonic().saturating_sub(began).as_secs_f64();
        let used = cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
        let broker_used = broker.cpu_seconds().zip(broker_cpu).map(|(after, before)| after - before);
        Ok(Throughput {
            posts,
            per_second: posts as f64 / took,
            per_cpu_second: used.map_or(0.0, |used| posts as f64 / used),
            broker_cores: broker_used.map(|used| used / took),
        })
    }

    /// A steady load of so many posts a second.
    pub(super) fn latency(&mut self, per_second: f64) -> Result<Latencies> {
        let mut producer = self.producer()?;
        let mut latencies = Latencies { per_second, scored: Vec::new(), alerted: Vec::new() };
        let began = self.clock.monotonic();
        let (first, mut seen) = (self.sent, 0_usize);
        loop {
            let passed = self.clock.monotonic().saturating_sub(began);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of posts")]
            let due = (passed.min(LATENCY_LOAD).as_secs_f64() * per_second) as usize;
            while self.sent - first < due {
                self.send(&mut producer)?;
            }
            if passed >= LATENCY_LOAD && seen >= self.sent - first {
                break;
            }
            anyhow::ensure!(passed < LATENCY_LOAD + STUCK, "the pipeline did not keep up with {per_second:.0} posts/s");
            if let Ok(event) = self.site.events.recv_timeout(Duration::from_millis(1)) {
                seen += usize::from(ends_a_post(&event));
                if passed >= LATENCY_WARM_UP {
                    latencies.see(&event, self.clock.now());
                }
            }
        }
        producer.finish()?;
        Ok(latencies)
    }
}

/// Whether a post is scored or dead by it.
fn ends_a_post(event: &TapeEvent) -> bool {
    matches!(event, TapeEvent::Scored(_) | TapeEvent::Dead { stage: "score", .. })
}

struct Sender(Vec<(Arc<str>, PlainProducer)>);

impl Sender {
    fn send(&mut self, topic: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let producer = self.0.iter_mut().find(|(name, _)| **name == *topic).map(|(_, producer)| producer);
        Ok(producer.with_context(|| format!("no topic {topic}"))?.send(Some(key), value)?)
    }

    fn finish(self) -> Result<()> {
        for (_, producer) in self.0 {
            producer.finish()?;
        }
        Ok(())
    }
}

/// Seconds from publication to what follows from it.
pub(super) struct Latencies {
    per_second: f64,
    scored: Vec<f64>,
    alerted: Vec<f64>,
}

impl Latencies {
    fn see(&mut self, event: &TapeEvent, now: Timestamp) {
        match event {
            TapeEvent::Scored(post) => self.scored.push(now.since(post.published_at).as_secs_f64()),
            TapeEvent::Alert { alert, published_at: Some(at) } if alert.state == AlertState::Firing => {
                self.alerted.push(now.since(*at).as_secs_f64());
            }
            TapeEvent::Dead { .. } | TapeEvent::Alert { .. } | TapeEvent::Segment { .. } => {}
        }
    }

    pub(super) fn report(&mut self) -> Result<()> {
        say(&format!("  latency at {:.0} posts/s (70 % load), ms       p50       p99", self.per_second))?;
        for (name, values) in [("published → scored", &mut self.scored), ("published → alert", &mut self.alerted)] {
            values.sort_by(f64::total_cmp);
            let at = |percent: usize| {
                values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
            };
            say(&format!("    {name:<32} {:>9.0} {:>9.0}   ({} of them)", at(50) * 1e3, at(99) * 1e3, values.len()))?;
        }
        Ok(())
    }
}
