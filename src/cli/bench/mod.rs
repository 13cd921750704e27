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
use crate::cli::args::{self, Global};
use crate::cli::lines::Lines;
use crate::cli::model::shipped;
use crate::cli::serve::bundle;
use crate::cli::{Failure, load, pipeline_file};
use crate::model::{Encoded, Scorer};
use crate::onnx::{BareRun, Bundle, Combination};
use crate::pipeline::{PlayRecord, Settings};
use crate::time::SystemClock;

/// Texts on which the combinations of sessions, threads and rows are compared.
const TRIAL: usize = 2_000;

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
    let bare = bare(&bundle, &texts, cores)?;
    say("")?;
    steps::steps(settings, &records, &bundle, &*clock)?;
    if request.no_kafka {
        return Ok(());
    }
    drop(bundle);
    say("")?;
    whole::whole(settings, request, &records, &bare)
}

/// The cleaned text of each record that is a post.
fn texts(settings: &Settings, records: &[PlayRecord]) -> Vec<String> {
    let cleaned =
        records.iter().filter_map(|record| steps::post(settings, record)).map(|post| clean::clean(&post.text));
    cleaned.filter(|text| !text.is_empty()).collect()
}

fn bare(bundle: &Bundle, texts: &[String], cores: usize) -> Result<BareRun> {
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

/// A line on standard output.
fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
