//! `bellwether play` and `bellwether demo`: a pipeline file on the in-process log.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};

use crate::cli::lines::Lines;
use crate::cli::serve::{Service, assembly, look};
use crate::cli::tape::{Summary, Tape};
use crate::pipeline::{Play, PlayRecord, Settings, TapeEvent};
use crate::time::{Clock, ManualClock, SystemClock, Timestamp};

/// Posts whose answers are asked for together at full speed.
const LOOK_AHEAD: usize = 512;
/// Events between the stages and the tape.
const TAPE_QUEUE: usize = 1_024;

/// How fast a play goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// So many seconds of the posts' time in one second.
    Times(u32),
    /// As fast as the model can.
    Max,
}

/// What `play` was asked to do.
#[derive(Debug, Clone)]
pub(crate) struct PlayRequest {
    /// The posts, `-` for standard input.
    pub input: PathBuf,
    /// How fast.
    pub speed: Speed,
    /// End when all is through.
    pub exit: bool,
    /// Print the summary as JSON, and no tape.
    pub json: bool,
}

/// Plays a file through a pipeline.
///
/// # Errors
/// When a part is missing, a line is bad, or a stage halts.
pub(crate) fn play(mut settings: Settings, request: &PlayRequest) -> Result<()> {
    let lines = Lines::open(&request.input, &settings.sources, None)?;
    look(&settings.model)?;
    settings.archive.url = fresh_archive(&settings.archive.url)?;
    let wall = Arc::new(SystemClock::new());
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    let service = Service::start(&settings, wall.clone(), clock.clone())?;
    let (sender, tape_events) = bounded(TAPE_QUEUE);
    let assembly = assembly(settings.clone(), &service, (clock.clone(), wall.clone()), Some((sender, true)))?;
    let tape = Tape::new(!request.json);
    let counting = std::thread::spawn({
        let wall = wall.clone();
        move || count(tape, &tape_events, &wall)
    });
    let mut player = Player {
        play: Play::new(assembly, clock)?,
        wall: wall.clone(),
        speed: request.speed,
        origin: None,
        stop: service.stopped(),
        latencies: Vec::new(),
        posts: 0,
        timeless: 0,
    };
    let began = wall.monotonic();
    let result = player.all(lines);
    let took = wall.monotonic().saturating_sub(began);
    let Player { play, latencies, posts, timeless, .. } = player;
    drop(play);
    let mut tape = counting.join().map_err(|_| anyhow::anyhow!("the tape stopped"))?;
    result?;
    latencies.into_iter().for_each(|latency| tape.latency(latency));
    tape.summary.posts = posts;
    tape.summary.without_time = timeless;
    tape.summary.archive.clone_from(&settings.archive.url);
    tape.summary.page = format!("http://{}", service.address());
    tape.finish(took);
    report(&mut tape, request, &settings)?;
    if !request.exit {
        eprintln!("all is through; the page stays at http://{} until Ctrl-C", service.address());
        let _asked = service.stopped().recv();
    }
    service.end();
    Ok(())
}

/// A fresh folder for this play, beside what `run` has archived: segments are named by where they begin, a play always
/// begins at 0, and what it made must never stand for what the log says.
fn fresh_archive(url: &str) -> Result<String> {
    let Some(path) = url.strip_prefix("file://") else { return Ok(url.to_owned()) };
    let base = PathBuf::from(path);
    for number in 1..10_000 {
        let next = base.join(format!("play-{number}"));
        if !next.exists() {
            return Ok(format!("file://{}", next.display()));
        }
    }
    anyhow::bail!("{path} holds ten thousand plays: delete some, or set BELLWETHER__ARCHIVE__URL")
}

fn count(mut tape: Tape, events: &Receiver<TapeEvent>, wall: &SystemClock) -> Tape {
    for event in events {
        tape.event(&event, wall.monotonic());
    }
    tape
}

/// Drives a play at its speed.
struct Player {
    play: Play,
    wall: Arc<SystemClock>,
    speed: Speed,
    /// The first post's time and the moment at which it was played.
    origin: Option<(Timestamp, Duration)>,
    stop: Receiver<()>,
    latencies: Vec<Duration>,
    posts: u64,
    /// Records that say no time that can be read.
    timeless: u64,
}

impl Player {
    fn all(&mut self, mut lines: Lines<'_>) -> Result<()> {
        let ahead = if self.speed == Speed::Max { LOOK_AHEAD } else { 1 };
        let mut waiting: VecDeque<PlayRecord> = VecDeque::new();
        loop {
            while waiting.len() < ahead {
                match lines.next() {
                    Some(record) => waiting.push_back(record?),
                    None => break,
                }
            }
            if waiting.is_empty() {
                break;
            }
            let read_at = self.wall.monotonic();
            if ahead > 1 {
                self.play.look_ahead(waiting.make_contiguous());
            }
            for record in waiting.drain(..) {
                if !self.one(&record, (ahead > 1).then_some(read_at))? {
                    return Ok(self.play.finish()?);
                }
            }
        }
        Ok(self.play.finish()?)
    }

    /// One record; false when a person stopped the play.
    fn one(&mut self, record: &PlayRecord, read_at: Option<Duration>) -> Result<bool> {
        if !self.wait_for(record)? {
            return Ok(false);
        }
        let began = read_at.unwrap_or_else(|| self.wall.monotonic());
        self.play.play(record)?;
        self.posts += 1;
        self.timeless += u64::from(record.at.is_none());
        self.latencies.push(self.wall.monotonic().saturating_sub(began));
        if self.latencies.len() >= 400_000 {
            let mut keep = false;
            self.latencies.retain(|_| {
                keep = !keep;
                keep
            });
        }
        Ok(true)
    }

    /// Waits until a record's time has come, with the ticks on the way.
    fn wait_for(&mut self, record: &PlayRecord) -> Result<bool> {
        let stopped = || matches!(self.stop.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected));
        let Speed::Times(times) = self.speed else { return Ok(!stopped()) };
        let Some(at) = record.at else { return Ok(!stopped()) };
        let (first, began) = *self.origin.get_or_insert((at, self.wall.monotonic()));
        let due = began + at.since(first) / times.max(1);
        loop {
            if stopped() {
                return Ok(false);
            }
            let now = self.wall.monotonic();
            if now >= due {
                return Ok(true);
            }
            let reached = first.plus(now.saturating_sub(began).saturating_mul(times));
            self.play.pass_until(reached.min(at))?;
            self.wall.pause((due - now).min(Duration::from_millis(50)));
        }
    }
}

fn report(tape: &mut Tape, request: &PlayRequest, settings: &Settings) -> Result<()> {
    let summary = tape.summary.clone();
    let mut out = std::io::stdout();
    if request.json {
        let line = serde_json::to_string(&summary).context("the summary cannot be written")?;
        writeln!(out, "{line}").context("standard output is closed")?;
        return Ok(());
    }
    let busiest: Vec<String> =
        tape.busiest(5).iter().map(|(subject, mentions)| format!("{subject} ({mentions})")).collect();
    let lines = [
        String::new(),
        format!(
            "{} records: {} scored ({} abstained), {} dead letters; {} mentions",
            summary.posts, summary.scored, summary.abstained, summary.dead_letters, summary.mentions
        ),
        format!("{} alerts fired, {} of them resolved", summary.alerts_firing, summary.alerts_resolved),
        format!("most mentioned: {}", if busiest.is_empty() { "no instrument".to_owned() } else { busiest.join(", ") }),
        format!(
            "{:.0} posts/s in {:.1} s; a post took {:.1} ms (median), {:.1} ms (99 %){}",
            summary.posts_per_second,
            summary.seconds,
            summary.latency_p50_ms,
            summary.latency_p99_ms,
            if request.speed == Speed::Max { ", its turn in a pool of 512 included" } else { "" }
        ),
        format!("{} samples in {}", summary.samples, summary.archive),
    ];
    lines.iter().for_each(|line| tape.print(line));
    advice(&summary, request, settings).iter().for_each(|line| tape.print(line));
    Ok(())
}

/// What to look at next, and what looks wrong.
fn advice(summary: &Summary, request: &PlayRequest, settings: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    if summary.posts == 0 {
        lines.push(format!("{} holds no record: is it the file that was meant?", request.input.display()));
    }
    if summary.scored > 0 && summary.without_time >= summary.scored {
        let fields = "`published_at` or what the source maps to it";
        lines.push(format!("no post says when it was published ({fields}): index and alerts mean nothing so"));
    }
    lines.extend([String::new(), "Look at next:".to_owned()]);
    if !request.exit {
        lines.push(format!("  the page                 {}", summary.page));
    }
    if summary.samples > 0 {
        let path = summary.archive.trim_start_matches("file://");
        let query = format!("select sentiment_label, count(*) from '{path}/samples/*/*.parquet' group by 1");
        lines.push(format!("  the samples              duckdb -c \"{query}\""));
    } else {
        lines.push("  no samples               [sample] says which posts are kept; share = 1.0 keeps each".to_owned());
    }
    let program = std::env::args().next().unwrap_or_else(|| "bellwether".to_owned());
    if &*settings.name == "demo" {
        lines.push(format!("  your own posts           {program} play pipelines/market.toml --input posts.jsonl"));
    }
    lines.push(format!("  your Kafka               {program} doctor pipelines/market.toml"));
    lines
}
