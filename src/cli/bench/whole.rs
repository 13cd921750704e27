//! The whole pipeline on a real broker: throughput, CPU, latency, memory and the time to be ready.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::cli::args;
use crate::cli::bench::say;
use crate::cli::serve::{Service, assembly};
use crate::event::{AlertState, Severity};
use crate::kafka::PlainProducer;
use crate::onnx::{BareRun, cpu_time};
use crate::pipeline::{PlayRecord, RunOptions, Settings, StageName, TapeEvent, prepare_topics, run};
use crate::rule::{Bound, Rule, SubjectPattern};
use crate::time::{Clock, SystemClock, Timestamp};

/// How long the load for the latencies lasts.
const LATENCY_LOAD: Duration = Duration::from_secs(20);
/// How long a single post may take before the bench gives up.
const STUCK: Duration = Duration::from_secs(60);

/// Measures and prints.
pub(super) fn whole(settings: &Settings, request: &args::Bench, records: &[PlayRecord], bare: &BareRun) -> Result<()> {
    let clock = Arc::new(SystemClock::new());
    let archive = std::env::temp_dir().join(format!("bellwether-bench-{}", std::process::id()));
    let broker = request.broker_script.as_deref().map(|script| Broker::start(script, &archive)).transpose()?;
    let settings = bench_settings(settings, broker.as_ref(), &archive, &*clock);
    let began = clock.monotonic();
    let service = Service::start(&settings, clock.clone())?;
    let (sender, events) = bounded(100_000);
    let assembly = assembly(settings.clone(), &service, clock.clone(), clock.clone(), Some((sender, true)))?;
    prepare_topics(&assembly)?;
    let (stop, stopped) = bounded::<()>(0);
    let options = RunOptions { stages: StageName::ALL.into_iter().collect::<BTreeSet<_>>(), until_end: false };
    let running = std::thread::spawn(move || run(&assembly, &options, stopped));
    while let Err(waiting) = service.board.readiness() {
        anyhow::ensure!(!running.is_finished(), "the pipeline ended before it was ready: {waiting}");
        clock.pause(Duration::from_millis(5));
    }
    let ready = clock.monotonic().saturating_sub(began);
    let mut load = Load { settings: &settings, records, events, clock: &*clock, sent: 0 };
    load.burst(64)?;
    let whole = load.throughput(broker.as_ref())?;
    report(&whole, bare, ready)?;
    let mut latencies = load.latency(whole.per_second * 0.7)?;
    latencies.report()?;
    let left = request.memory_posts.saturating_sub(load.sent);
    load.burst(left)?;
    say(&format!("  resident memory after {:>7} posts  {:.0} MiB", load.sent, resident_mib().unwrap_or_default()))?;
    drop(stop);
    drop(load);
    let ended = running.join().map_err(|_| anyhow::anyhow!("the pipeline panicked"))?;
    service.end();
    drop(std::fs::remove_dir_all(&archive));
    Ok(ended?)
}

/// A pipeline of its own with rules that turn often, so that there are alerts to be timed.
fn bench_settings(settings: &Settings, broker: Option<&Broker>, archive: &Path, clock: &dyn Clock) -> Settings {
    let mut settings = settings.clone();
    settings.name = Arc::from(format!("bench-{}", clock.now().millis()));
    for source in &mut settings.sources {
        source.topic = Arc::from(format!("{}.{}", settings.name, source.topic));
    }
    if let Some(broker) = broker {
        settings.kafka.bootstrap_servers.clone_from(&broker.bootstrap);
    }
    settings.archive.url = format!("file://{}", archive.join("archive").display());
    settings.web.listen.set_port(0);
    for (name, bound) in [("bench-below", Bound::Below(0.0)), ("bench-above", Bound::Above(0.0))] {
        settings.rules.push(Rule {
            name: Arc::from(name),
            subjects: vec![SubjectPattern("topic:*".to_owned())],
            bound,
            over: Duration::from_secs(10),
            half_life: Duration::from_secs(5),
            mentions_min: 1,
            hold: Duration::ZERO,
            keep_firing: Duration::ZERO,
            severity: Severity::Info,
        });
    }
    settings
}

/// A broker that this bench started.
struct Broker {
    script: PathBuf,
    folder: PathBuf,
    bootstrap: String,
}

impl Broker {
    fn start(script: &Path, base: &Path) -> Result<Self> {
        let folder = base.join("broker");
        std::fs::create_dir_all(&folder)?;
        let done = Command::new(script).arg("start").arg(&folder).stdout(std::process::Stdio::null()).status();
        anyhow::ensure!(done.context("the broker script cannot be run")?.success(), "the broker did not start");
        let bootstrap = std::fs::read_to_string(folder.join("bootstrap"))?.trim().to_owned();
        Ok(Self { script: script.to_owned(), folder, bootstrap })
    }

    /// CPU seconds of the broker so far.
    fn cpu_seconds(&self) -> Option<f64> {
        let pid = std::fs::read_to_string(self.folder.join("pid")).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok());
        // utime and stime, in USER_HZ, which is 100 on Linux.
        Some((ticks(11)? + ticks(12)?) / 100.0)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(Command::new(&self.script).arg("kill").arg(&self.folder).stdout(std::process::Stdio::null()).status());
    }
}

struct Whole {
    posts: usize,
    per_second: f64,
    per_cpu_second: f64,
    broker_share: Option<f64>,
}

struct Load<'a> {
    settings: &'a Settings,
    records: &'a [PlayRecord],
    events: Receiver<TapeEvent>,
    clock: &'a dyn Clock,
    sent: usize,
}

impl Load<'_> {
    /// Sends `count` posts and waits until all are committed.
    fn burst(&mut self, count: usize) -> Result<()> {
        let mut producer = self.producer()?;
        for _ in 0..count {
            self.send(&mut producer)?;
        }
        producer.finish()?;
        self.wait_for(count, |_| {})
    }

    fn producer(&self) -> Result<Sender> {
        let mut topics = Vec::new();
        for source in &self.settings.sources {
            topics.push((source.topic.clone(), PlainProducer::start(&self.settings.kafka, &source.topic, self.clock)?));
        }
        Ok(Sender(topics))
    }

    fn send(&mut self, producer: &mut Sender) -> Result<()> {
        let index = self.sent % self.records.len().max(1);
        let record = self.records.get(index).context("there are no posts")?;
        let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&record.value)?;
        object.insert("id".to_owned(), format!("bench-{}", self.sent).into());
        object.remove("updated_at");
        for name in ["published_at", "created_at"] {
            if object.contains_key(name) {
                object.insert(name.to_owned(), self.clock.now().to_string().into());
            }
        }
        let topic = format!("{}.{}", self.settings.name, record.topic);
        let key = format!("bench-{}", self.sent);
        let value = serde_json::Value::Object(object).to_string();
        producer.send(&topic, key.as_bytes(), value.as_bytes())?;
        self.sent += 1;
        Ok(())
    }

    /// Waits until `count` more posts are scored or dead.
    fn wait_for(&self, count: usize, mut see: impl FnMut(&TapeEvent)) -> Result<()> {
        let mut seen = 0;
        while seen < count {
            let event = self.events.recv_timeout(STUCK).map_err(|error| match error {
                RecvTimeoutError::Timeout => anyhow::anyhow!("no post was committed for {} s", STUCK.as_secs()),
                RecvTimeoutError::Disconnected => anyhow::anyhow!("the pipeline ended"),
            })?;
            see(&event);
            seen += usize::from(matches!(&event, TapeEvent::Scored(_) | TapeEvent::Dead { stage: "score", .. }));
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of posts")]
    fn throughput(&mut self, broker: Option<&Broker>) -> Result<Whole> {
        let posts = self.records.len();
        let (cpu, broker_cpu) = (cpu_time(), broker.and_then(Broker::cpu_seconds));
        let began = self.clock.monotonic();
        self.burst(posts)?;
        let took = self.clock.monotonic().saturating_sub(began).as_secs_f64();
        let used = cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
        let broker_used = broker.and_then(Broker::cpu_seconds).zip(broker_cpu).map(|(after, before)| after - before);
        Ok(Whole {
            posts,
            per_second: posts as f64 / took,
            per_cpu_second: used.map_or(0.0, |used| posts as f64 / used),
            broker_share: broker_used.map(|used| used / took),
        })
    }

    /// A steady load of so many posts a second.
    fn latency(&mut self, per_second: f64) -> Result<Latencies> {
        let mut producer = self.producer()?;
        let mut latencies = Latencies { per_second, scored: Vec::new(), alerted: Vec::new() };
        let began = self.clock.monotonic();
        let (mut sent, mut seen) = (0_usize, 0_usize);
        loop {
            let passed = self.clock.monotonic().saturating_sub(began);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of posts")]
            let due = (passed.min(LATENCY_LOAD).as_secs_f64() * per_second) as usize;
            while sent < due {
                self.send(&mut producer)?;
                sent += 1;
            }
            if passed >= LATENCY_LOAD && seen >= sent {
                break;
            }
            anyhow::ensure!(passed < LATENCY_LOAD + STUCK, "the pipeline did not keep up with {per_second:.0} posts/s");
            if let Ok(event) = self.events.recv_timeout(Duration::from_millis(1)) {
                seen += usize::from(latencies.see(&event, self.clock.now()));
            }
        }
        producer.finish()?;
        Ok(latencies)
    }
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

struct Latencies {
    per_second: f64,
    scored: Vec<f64>,
    alerted: Vec<f64>,
}

impl Latencies {
    /// Takes an event; true when it ends a post.
    fn see(&mut self, event: &TapeEvent, now: Timestamp) -> bool {
        match event {
            TapeEvent::Scored(post) => {
                self.scored.push(now.since(post.published_at).as_secs_f64());
                true
            }
            TapeEvent::Alert { alert, published_at: Some(at) } if alert.state == AlertState::Firing => {
                self.alerted.push(now.since(*at).as_secs_f64());
                false
            }
            TapeEvent::Dead { stage, .. } => *stage == "score",
            TapeEvent::Alert { .. } | TapeEvent::Segment { .. } => false,
        }
    }

    fn report(&mut self) -> Result<()> {
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

fn report(whole: &Whole, bare: &BareRun, ready: Duration) -> Result<()> {
    say("whole pipeline (Kafka to committed scores, mentions and alerts, exactly once, three stages)")?;
    say(&format!("  posts                               {}", whole.posts))?;
    let ratio = whole.per_second / bare.texts_per_second();
    say(&format!("  posts/s                             {:.0}   {ratio:.2} of bare", whole.per_second))?;
    let bare_cpu = bare.texts_per_cpu_second().unwrap_or(f64::NAN);
    let ratio = whole.per_cpu_second / bare_cpu;
    say(&format!("  posts per CPU second (our process)  {:.0}   {ratio:.2} of bare", whole.per_cpu_second))?;
    if let Some(share) = whole.broker_share {
        say(&format!("  the broker's CPU meanwhile          {share:.2} cores"))?;
    }
    say(&format!("  start to ready                      {:.1} s", ready.as_secs_f64()))
}

/// Resident memory of this process.
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024.0)
}
