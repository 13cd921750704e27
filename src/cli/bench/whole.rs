//! The whole pipeline on a real broker: throughput, CPU, latency, memory, the time to be ready, what exactly-once costs,
//! and how long a state takes to be read back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::cli::args::{self, BenchPart};
use crate::cli::bench::load::{Load, Throughput};
use crate::cli::bench::say;
use crate::cli::bench::site::{Broker, Site, trial_settings, word};
use crate::cli::serve::bundle;
use crate::model::{Scorer, StubScorer};
use crate::onnx::BareRun;
use crate::pipeline::{PlayRecord, Settings, StageName};
use crate::stream::Delivery;
use crate::time::{Clock, SystemClock};

/// How often the two ways to deliver are compared.
const ROUNDS: usize = 3;
/// Posts that go through before and while a scorer that costs nothing is timed: a broker that has just started is still
/// compiling itself, and fewer would be over in a second.
const FREE_POSTS: (usize, usize) = (50_000, 100_000);
/// Posts that go through between two looks at how many mentions there are: fewer would wait for their commit most of
/// the time.
const BURST_MIN: usize = 20_000;
/// How long a state may take to be read back before the bench gives up.
const REBUILD_MAX: Duration = Duration::from_secs(300);

/// What all trials share.
struct Bench<'a> {
    settings: &'a Settings,
    records: &'a [PlayRecord],
    broker: Broker,
    base: &'a Path,
    clock: Arc<SystemClock>,
    trials: usize,
}

/// Measures and prints.
pub(super) fn whole(
    settings: &Settings,
    request: &args::Bench,
    records: &[PlayRecord],
    bare: Option<&BareRun>,
) -> Result<()> {
    let base = std::env::temp_dir().join(format!("bellwether-bench-{}", std::process::id()));
    let broker = Broker::start(request.broker_script.as_deref(), &base, settings)?;
    let clock = Arc::new(SystemClock::new());
    let mut bench = Bench { settings, records, broker, base: &base, clock, trials: 0 };
    let measured = bench.all(request, bare);
    drop(bench);
    drop(std::fs::remove_dir_all(&base));
    measured
}

impl Bench<'_> {
    fn all(&mut self, request: &args::Bench, bare: Option<&BareRun>) -> Result<()> {
        if request.wants(BenchPart::Throughput) || request.wants(BenchPart::Latency) {
            let first = self.first(request, bare)?;
            if request.wants(BenchPart::Latency) {
                self.latency(first.per_second * 0.7)?;
            }
        }
        if request.wants(BenchPart::Delivery) {
            self.compare("the model", (64, self.records.len()), |bench| bench.model())?;
            self.compare("a scorer that costs nothing", FREE_POSTS, |_| Ok(Arc::new(StubScorer::new())))?;
        }
        if request.wants(BenchPart::State) {
            self.rebuild(request.rebuild_mentions)?;
        }
        Ok(())
    }

    /// The model anew: its cache knows no text yet.
    fn model(&self) -> Result<Arc<dyn Scorer>> {
        Ok(Arc::new(bundle(&self.settings.model, self.clock.clone())?))
    }

    fn trial(&mut self) -> Settings {
        self.trials += 1;
        let name = format!("bench-{}-{}", self.clock.now().millis(), self.trials);
        trial_settings(self.settings, &self.broker, self.base, &name)
    }

    fn load<'a>(&'a self, site: &'a Site) -> Load<'a> {
        Load { site, records: self.records, clock: &*self.clock, sent: 0, mentions: 0 }
    }

    fn first(&mut self, request: &args::Bench, bare: Option<&BareRun>) -> Result<Throughput> {
        let settings = self.trial();
        let site = Site::start(settings, self.model()?, &StageName::ALL)?;
        let mut load = self.load(&site);
        load.burst(64)?;
        let first = load.throughput(self.records.len(), &self.broker)?;
        report(&first, bare, site.ready)?;
        if request.wants(BenchPart::Throughput) {
            load.burst(request.memory_posts.saturating_sub(load.sent))?;
            let resident = resident_mib().unwrap_or_default();
            say(&format!("  resident memory after {:>7} posts  {resident:.0} MiB", load.sent))?;
        }
        site.end()?;
        Ok(first)
    }

    fn latency(&mut self, per_second: f64) -> Result<()> {
        let settings = self.trial();
        let site = Site::start(settings, self.model()?, &StageName::ALL)?;
        let mut load = self.load(&site);
        load.burst(64)?;
        load.latency(per_second)?.report()?;
        site.end()
    }

    /// Both ways to deliver in turn, so that a slow minute of the machine meets both.
    fn compare(
        &mut self,
        with: &str,
        (warm_up, posts): (usize, usize),
        scorer: impl Fn(&Self) -> Result<Arc<dyn Scorer>>,
    ) -> Result<()> {
        let ways = [Delivery::ExactlyOnce, Delivery::AtLeastOnce];
        let mut best: [Option<Throughput>; 2] = [None, None];
        for _ in 0..ROUNDS {
            for (delivery, best) in ways.into_iter().zip(&mut best) {
                let mut settings = self.trial();
                settings.kafka.delivery = delivery;
                let site = Site::start(settings, scorer(self)?, &StageName::ALL)?;
                let mut load = self.load(&site);
                load.burst(warm_up)?;
                let found = load.throughput(posts, &self.broker)?;
                site.end()?;
                if best.is_none_or(|best| found.per_second > best.per_second) {
                    *best = Some(found);
                }
            }
        }
        say(&format!("three stages with {with}, best of {ROUNDS}, posts/s (and a CPU second; cores of the broker)"))?;
        for (delivery, best) in ways.into_iter().zip(&best) {
            let Some(Throughput { per_second, per_cpu_second, broker_cores, .. }) = best else { continue };
            let broker = broker_cores.map_or(String::new(), |cores| format!("; {cores:.2}"));
            say(&format!("  {:<34}  {per_second:>6.0}   ({per_cpu_second:.0}{broker})", word(delivery)))?;
        }
        if let [Some(exactly), Some(at_least)] = best {
            let cost = 100.0 * (1.0 - exactly.per_second / at_least.per_second);
            say(&format!("  exactly once costs                  {cost:.1} %"))?;
        }
        Ok(())
    }

    /// A partition with so many mentions behind its committed position, until the first commit behind it.
    fn rebuild(&mut self, mentions: usize) -> Result<()> {
        let mut settings = self.trial();
        settings.kafka.partitions = 1;
        let scorer: Arc<dyn Scorer> = Arc::new(StubScorer::new());
        let site = Site::start(settings.clone(), scorer.clone(), &[StageName::Score, StageName::Signal])?;
        let mut load = self.load(&site);
        let before = resident_mib().unwrap_or_default();
        while load.mentions < mentions {
            load.burst(self.records.len().max(BURST_MIN.min(mentions)))?;
        }
        let written = load.mentions;
        let began = self.clock.monotonic();
        while site.rows(StageName::Signal) < written as u64 {
            anyhow::ensure!(self.clock.monotonic().saturating_sub(began) < REBUILD_MAX, "signal does not catch up");
            self.clock.pause(Duration::from_millis(20));
        }
        site.end()?;
        let began = self.clock.monotonic();
        let site = Site::start(settings, scorer, &[StageName::Score, StageName::Signal])?;
        let mut load = self.load(&site);
        load.send_all(16)?;
        // Not an alert: when the next one comes is a matter of the rules.
        while site.rows(StageName::Signal) == 0 {
            anyhow::ensure!(self.clock.monotonic().saturating_sub(began) < REBUILD_MAX, "signal says nothing new");
            anyhow::ensure!(!site.has_ended(), "the pipeline ended");
            self.clock.pause(Duration::from_millis(5));
        }
        let took = self.clock.monotonic().saturating_sub(began).as_secs_f64();
        say(&format!("a state of {written} mentions in one partition, read back"))?;
        let ready = site.ready.as_secs_f64();
        say(&format!("  start to the first commit after it  {took:.1} s, {ready:.1} s of them until it is ready"))?;
        let grown = resident_mib().unwrap_or_default() - before;
        say(&format!("  resident memory has grown by        {grown:.0} MiB"))?;
        site.end()
    }
}

fn report(whole: &Throughput, bare: Option<&BareRun>, ready: Duration) -> Result<()> {
    let share =
        |figure: f64, bare: Option<f64>| bare.map_or(String::new(), |bare| format!("   {:.2} of bare", figure / bare));
    say("whole pipeline (Kafka to committed scores, mentions and alerts, exactly once, three stages)")?;
    say(&format!("  posts                               {}", whole.posts))?;
    let of_bare = share(whole.per_second, bare.map(BareRun::texts_per_second));
    say(&format!("  posts/s                             {:.0}{of_bare}", whole.per_second))?;
    let of_bare = share(whole.per_cpu_second, bare.and_then(BareRun::texts_per_cpu_second));
    say(&format!("  posts per CPU second (our process)  {:.0}{of_bare}", whole.per_cpu_second))?;
    if let Some(cores) = whole.broker_cores {
        say(&format!("  the broker's CPU meanwhile          {cores:.2} cores"))?;
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
