//! The command line: what can be asked for, and nothing about how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::play::Speed;
use crate::config::parse_duration;
use crate::event::Reason;
use crate::pipeline::StageName;
use crate::time::Timestamp;

/// A streaming pipeline for market sentiment.
///
/// Start with `bellwether demo`. Exit codes: 0 done, 64 bad pipeline file or command line, 65 bad data, 69 something
/// needed is unavailable, 70 internal, 130 asked twice to stop.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, max_term_width = 100)]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Form of the log on standard error (default: the pipeline file's, else text)
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogForm>,
    /// Levels of the log by module, such as info,bellwether::kafka=debug
    #[arg(long, global = true, value_name = "LEVELS")]
    pub log_levels: Option<String>,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play the shipped demo: an hour of posts, no broker needed
    Demo(Demo),
    /// Play a file of posts through a pipeline, without a broker, in simulated time
    Play(Play),
    /// Run a pipeline on Kafka
    Run(Run),
    /// Show what a running pipeline scores and raises
    Watch(Watch),
    /// Create the topics of a pipeline that are missing, and say what is wrong with those that are there
    Topics(Topics),
    /// Put posts from a file on an input topic
    Replay(Replay),
    /// Look at what could not be used, and send again what can be read now
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Clean texts: JSON lines in, the same lines with a cleaned `text` out
    Clean(Clean),
    /// Score texts: JSON lines in, the same lines with `sentiment` and `topic` out
    Score(Score),
    /// Judge a model by labelled texts
    ///
    /// The best label of every row counts, also where the pipeline would abstain (its probability is low, its language
    /// unknown); abstentions are counted beside it, by reason. A row whose text is empty has no answer and is a miss.
    Evaluate(Evaluate),
    /// Check a pipeline file: every problem at once, then its own tests
    Check(Check),
    /// Look for what a pipeline needs: library, model, Kafka, archive
    Doctor(Doctor),
    /// Measure: the bare model, the pure steps, the whole pipeline
    Bench(Bench),
}

/// Reads `--speed`.
fn speed(text: &str) -> Result<Speed, String> {
    match (text, text.parse::<u32>()) {
        ("max", _) => Ok(Speed::Max),
        (_, Ok(times)) if times > 0 => Ok(Speed::Times(times)),
        _ => Err("use 1 (real time), another whole number of times as fast, such as 60, or max".to_owned()),
    }
}

/// `bellwether demo`.
#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// How fast: 1, 60, … or max (default: an hour of posts in about a minute)
    #[arg(long, value_parser = speed)]
    pub speed: Option<Speed>,
    /// End when all is through, instead of keeping the page up
    #[arg(long)]
    pub exit: bool,
    /// Print the summary as one line of JSON, the last on standard output
    #[arg(long)]
    pub json: bool,
}

/// `bellwether play`.
#[derive(Debug, Clone, Args)]
pub struct Play {
    /// The pipeline file
    pub file: PathBuf,
    /// Posts as JSON lines; - is standard input
    #[arg(long, value_name = "PATH")]
    pub input: PathBuf,
    /// How fast: 1, 60, … or max
    #[arg(long, default_value = "max", value_parser = speed)]
    pub speed: Speed,
    /// End when all is through, instead of keeping the page up
    #[arg(long)]
    pub exit: bool,
    /// Print the summary as one line of JSON, the last on standard output
    #[arg(long)]
    pub json: bool,
}

/// Reads one of `--stages`.
fn stage(text: &str) -> Result<StageName, String> {
    let known = StageName::ALL.map(StageName::as_str).join(", ");
    StageName::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| format!("the stages are {known}"))
}

/// `bellwether run`.
#[derive(Debug, Clone, Args)]
pub struct Run {
    /// The pipeline file
    pub file: PathBuf,
    /// The stages that this process runs, separated by commas (default: all)
    #[arg(long, value_delimiter = ',', value_name = "STAGES", value_parser = stage)]
    pub stages: Vec<StageName>,
    /// Work off what is there, through all stages, then end
    #[arg(long)]
    pub until_end: bool,
}

/// `bellwether watch`.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// The pipeline file
    pub file: PathBuf,
}

/// `bellwether topics`.
#[derive(Debug, Clone, Args)]
pub struct Topics {
    /// The pipeline file
    pub file: PathBuf,
    /// Only look, create nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `bellwether replay`.
#[derive(Debug, Clone, Args)]
pub struct Replay {
    /// The pipeline file
    pub file: PathBuf,
    /// Posts as JSON lines; - is standard input
    #[arg(long, value_name = "PATH")]
    pub input: PathBuf,
    /// The input topic (default: each line's "@topic", else the first that can read the post)
    #[arg(long)]
    pub topic: Option<String>,
    /// How fast: 1, 60, … or max
    #[arg(long, default_value = "max", value_parser = speed)]
    pub speed: Speed,
    /// Send no more than so many posts
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Say that each post is published at the moment of sending
    #[arg(long)]
    pub rebase: bool,
}

/// `bellwether dead-letters`.
#[derive(Debug, Clone, Subcommand)]
pub enum DeadLetters {
    /// List them, newest last, with counts by topic and reason
    List(ListLetters),
    /// Show the bytes of one, its headers and what is wrong with it, also by the present file
    Show(ShowLetter),
    /// Send those that can be read now to the topics that they came from, each once
    Replay(ReplayLetters),
}

/// Which letters are meant.
#[derive(Debug, Clone, Args)]
pub struct LetterChoice {
    /// Only of these reasons: malformed, missing_field, invalid_field, too_large, not_scorable
    #[arg(long, value_delimiter = ',', value_name = "REASONS", value_parser = reason)]
    pub reason: Vec<Reason>,
    /// Only of records from these topics
    #[arg(long, value_delimiter = ',', value_name = "TOPICS")]
    pub topic: Vec<String>,
    /// Only those written since: a moment (RFC 3339), or a span before now such as 2h
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only those written before: a moment, or a span before now
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub until: Option<Moment>,
}

/// A moment, or a span before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This one.
    At(Timestamp),
    /// So long ago.
    Ago(std::time::Duration),
}

/// Reads `--since`.
fn moment(text: &str) -> Result<Moment, String> {
    let at = crate::codec::instant(text).map(Moment::At);
    at.or_else(|| parse_duration(text).map(Moment::Ago))
        .ok_or_else(|| "use a moment such as 2026-03-02T14:00:00Z, or a span such as 30m, 2h or 7d".to_owned())
}

/// Reads `--reason`.
fn reason(text: &str) -> Result<Reason, String> {
    let known = Reason::ALL.map(Reason::as_str).join(", ");
    Reason::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| format!("the reasons are {known}"))
}

/// `bellwether dead-letters list`.
#[derive(Debug, Clone, Args)]
pub struct ListLetters {
    /// The pipeline file
    pub file: PathBuf,
    /// Which.
    #[command(flatten)]
    pub choice: LetterChoice,
    /// Show no more than the newest so many; the counts are of all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `bellwether dead-letters show`.
#[derive(Debug, Clone, Args)]
pub struct ShowLetter {
    /// The pipeline file
    pub file: PathBuf,
    /// The letter as `list` names it: topic+partition+offset of the record that it was
    pub id: String,
    /// Write the bytes of the value and nothing else
    #[arg(long)]
    pub raw: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,
}

/// `bellwether dead-letters replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayLetters {
    /// The pipeline file
    pub file: PathBuf,
    /// Which.
    #[command(flatten)]
    pub choice: LetterChoice,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `bellwether clean`.
#[derive(Debug, Clone, Args)]
pub struct Clean {
    /// JSON lines with a field `text` (default: standard input)
    pub input: Option<PathBuf>,
}

/// `bellwether score`.
#[derive(Debug, Clone, Args)]
pub struct Score {
    /// JSON lines with a field `text` (default: standard input)
    pub input: Option<PathBuf>,
    /// The model: a folder of versions (its champion) or of one version (default: models/finance-en)
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceArgument,
}

/// `bellwether evaluate`.
#[derive(Debug, Clone, Args)]
pub struct Evaluate {
    /// The model: a folder of versions (its champion) or of one version
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// JSON lines with `text` and `sentiment` or `topic`; - is standard input
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceArgument,
    /// Print one JSON object, a key a task
    #[arg(long)]
    pub json: bool,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceArgument(pub crate::model::Device);

impl std::str::FromStr for DeviceArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use crate::model::Device;
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Self(Device::Auto)),
            ("cpu", _) => Ok(Self(Device::Cpu)),
            (_, Some(Ok(number))) => Ok(Self(Device::Cuda(number))),
            _ => Err("use auto, cpu or cuda:0".to_owned()),
        }
    }
}

/// `bellwether check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// The pipeline file
    pub file: PathBuf,
    /// Print the effective settings as TOML, each with where it comes from; secrets are masked
    #[arg(long)]
    pub print: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "print")]
    pub json: bool,
}

/// `bellwether doctor`.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// The pipeline file (default: only the library and the default model are looked at)
    pub file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `bellwether bench`.
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// The pipeline file: model, sources, instruments, brokers (default: pipelines/market.toml)
    pub file: Option<PathBuf>,
    /// Posts as JSON lines (default: the demo's posts)
    #[arg(long, value_name = "PATH")]
    pub input: Option<PathBuf>,
    /// Take no more than so many posts
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub limit: usize,
    /// Start a broker with this script (`start DIR`, `kill DIR`) once the bare model is measured (default: the file's)
    #[arg(long, value_name = "SCRIPT")]
    pub broker_script: Option<PathBuf>,
    /// Only the bare model and the pure steps
    #[arg(long)]
    pub no_kafka: bool,
    /// Posts after which resident memory is read
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub memory_posts: usize,
    /// Mentions in one partition whose state is read back
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub rebuild_mentions: usize,
}
