//! `bellwether bench`: the figures that tell how much of the model's speed the pipeline keeps, side by side, in one run.
//!
//! *Bare* is the model's sessions with nothing around them, on texts that are cleaned, tokenised and sorted by length
//! beforehand. The *whole pipeline* is Kafka to committed scores, mentions and alerts, exactly once, all three stages in
//! this process. Machines are noisy: the ratios count.

mod load;
mod site;
mod steps;
mod whole;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::clean;
use crate::cli::args::{self, BenchPart, Global};
use crate::cli::lines::Lines;
use crate::cli::model::shipped;
use crate::cli::serve::bundle;
use crate::cli::{Failure, load, pipeline_file};
use crate::model::{Encoded, ModelSettings, Scorer};
use crate::onnx::{BareRun, Bundle, Combination};
use crate::pipeline::{PlayRecord, Settings};
use crate::time::{Clock, SystemClock};

/// Texts on which the combinations of sessions, threads and rows are compared.
const TRIAL: usize = 2_000;
/// Sizes of pools that are compared.
const POOLS: [usize; 6] = [1, 4, 16, 64, 256, 1_024];

/// Runs the command.
///
/// # Errors
/// When the model, the posts or Kafka are not there.
pub(crate) fn run(arguments: &args::Bench, global: &Global) -> Result<(), Failure> {
    let find = |given: &Option<PathBuf>, path: &str| {
        given.clone().or_else(|| shipped(path)).ok_or_else(|| {
            Failure::unavailable(format!("there is no file {path} here"), "run it in the folder of the repository")
        })
    };
    let settings = load(&find(&arguments.file, "pipelines/market.toml")?, global)?.settings;
    let demo = load_demo_sources(arguments, &settings)?;
    let input = find(&arguments.input, "pipelines/demo/posts.jsonl")?;
    bench(&demo.unwrap_or(settings), &input, arguments).map_err(Failure::of)
}

/// The demo's posts have a mapping of their own.
fn load_demo_sources(arguments: &args::Bench, settings: &Settings) -> Result<Option<Settings>, Failure> {
    if arguments.input.is_some() {
        return Ok(None);
    }
    let Some(path) = shipped("pipelines/demo.toml") else { return Ok(None) };
    let demo = pipeline_file(&path).map_err(|problems| Failure::problems(&problems))?.settings;
    Ok(Some(Settings { sources: demo.sources, instruments: demo.instruments, ..settings.clone() }))
}

fn bench(settings: &Settings, input: &Path, request: &args::Bench) -> Result<()> {
    let clock = Arc::new(SystemClock::new());
    let bundle = bundle(&settings.model, clock.clone())?;
    let records: Vec<PlayRecord> =
        Lines::open(input, &settings.sources, None)?.take(request.limit).collect::<Result<_, _>>()?;
    let texts = texts(settings, &records);
    anyhow::ensure!(!texts.is_empty(), "{} holds no post that the pipeline can read", input.display());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let different = texts.iter().collect::<HashSet<_>>().len();
    let (posts, model, device) = (texts.len(), &bundle.id().name, bundle.device());
    // The pipeline answers a text that it has just scored from its cache, the bare model does not.
    say(&format!("{posts} posts with {different} different texts, {cores} cores, model {model} on {device}"))?;
    let mut bare = None;
    if request.wants(BenchPart::Model) {
        bare = Some(bare_model(&bundle, &texts, cores)?);
        pools(settings, &texts, clock.clone())?;
        say("")?;
    }
    if request.wants(BenchPart::Steps) {
        steps::steps(settings, &records, &bundle, &*clock)?;
        say("")?;
    }
    drop(bundle);
    let with_kafka = [BenchPart::Throughput, BenchPart::Latency, BenchPart::Delivery, BenchPart::State];
    if with_kafka.into_iter().any(|part| request.wants(part)) {
        whole::whole(settings, request, &records, bare.as_ref())?;
    }
    Ok(())
}

/// The cleaned text of each record that is a post.
fn texts(settings: &Settings, records: &[PlayRecord]) -> Vec<String> {
    let cleaned =
        records.iter().filter_map(|record| steps::post(settings, record)).map(|post| clean::clean(&post.text));
    cleaned.filter(|text| !text.is_empty()).collect()
}

fn bare_model(bundle: &Bundle, texts: &[String], cores: usize) -> Result<BareRun> {
    let mut encoded: Vec<Encoded> = texts.iter().map(|text| bundle.encode(text)).collect::<Result<_, _>>()?;
    encoded.sort_by_key(|text| text.ids.len());
    // Every n-th text keeps the mix of lengths.
    let stride = encoded.len().div_ceil(TRIAL).max(1);
    let trial: Vec<Encoded> = encoded.iter().step_by(stride).cloned().collect();
    let mut best: Option<BareRun> = None;
    for combination in Combination::worth_trying(cores) {
        let run = bundle.bare(&trial, combination)?;
        if best.is_none_or(|best| run.texts_per_second() > best.texts_per_second()) {
            best = Some(run);
        }
    }
    let best = best.context("no combination of sessions could be tried")?;
    let run = bundle.bare(&encoded, best.combination)?;
    let Combination { sessions, threads, rows } = run.combination;
    say("bare (session.run on tokenised texts, sorted by length over the whole set)")?;
    say(&format!("  best of sessions × threads × rows   {sessions} × {threads} × {rows}"))?;
    say(&format!("  texts/s                             {:.0}", run.texts_per_second()))?;
    say(&format!("  texts per CPU second                {:.0}", run.texts_per_cpu_second().unwrap_or_default()))?;
    Ok(run)
}

/// What a pool's size is worth: the fewer texts are sorted together, the less alike are the lengths in a batch.
#[expect(clippy::cast_precision_loss, reason = "numbers of texts and tokens")]
fn pools(settings: &Settings, texts: &[String], clock: Arc<SystemClock>) -> Result<()> {
    let bundle = bundle(&ModelSettings { cache_texts: 0, ..settings.model.clone() }, clock.clone())?;
    let trial = texts.iter().take(TRIAL).map(|text| bundle.encode(text));
    let trial: Vec<Encoded> = trial.collect::<Result<_, _>>()?;
    say("pools of texts in the order in which they came, texts/s (and the share of padding)")?;
    for size in POOLS {
        let began = clock.monotonic();
        let mut padding = (0, 0);
        for pool in trial.chunks(size) {
            drop(bundle.score(pool));
            for batch in bundle.take_stats().batches {
                padding = (padding.0 + batch.text_tokens, padding.1 + batch.padded_tokens);
            }
        }
        let took = clock.monotonic().saturating_sub(began).as_secs_f64();
        let (speed, waste) = (trial.len() as f64 / took, 1.0 - padding.0 as f64 / padding.1.max(1) as f64);
        say(&format!("  {size:>4} a pool                         {speed:>6.0}   ({:.0} %)", 100.0 * waste))?;
    }
    Ok(())
}

/// A line on standard output.
fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
