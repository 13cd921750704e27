//! The command line: what can be asked for, and nothing about how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use crate::cli::letter_args::{DeadLetters, LetterChoice, ListLetters, Moment, ReplayLetters, ShowLetter};
pub use crate::cli::model_args::{Import, Model, ModelAction, WarrantArguments};
use crate::cli::play::Speed;
pub use crate::cli::retrain_args::{Dataset, LabelPosts, Retrain};
use crate::pipeline::StageName;

/// A streaming pipeline for market sentiment.
///
/// Start with `bellwether demo`. Exit codes: 0 done, 20 a model was refused by its gate,
/// 21 too few labels to retrain, 22 nothing new to retrain with, 64 bad pipeline file or command
/// line, 65 bad data, 69 something needed is unavailable, 70 internal, 130 asked twice to stop.
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
    /// Say which words moved the model's answer to a text
    ///
    /// The model is asked again about the text without each of its words. What its answer loses is the word's share, in
    /// log-odds: of positive against negative, and of the text's own topic against all others.
    Explain(Explain),
    /// Judge a model by labelled texts
    ///
    /// The best label of every row counts, also where the pipeline would abstain (its probability is low, its language
    /// unknown); abstentions are counted beside it, by reason. A row whose text is empty has no answer and is a miss.
    Evaluate(Evaluate),
    /// Label samples: the hardest first, one key a label; or take labels from a file
    ///
    /// Shows archived samples without a label, those between whose best two classes the model hesitates most first and each
    /// story once, and writes the answers to the pipeline's topic of labels. With --import nothing is asked: the file has
    /// lines like {"post_id": "a1", "task": "sentiment", "label": "negative"}, and may name annotator, at and note.
    Label(LabelPosts),
    /// Make a data set of the samples that people labelled, cut by time
    ///
    /// Reads the archive that the pipeline file names and writes data/train.jsonl, validation.jsonl and test.jsonl (the
    /// newest), unlabelled.jsonl, disagreements.jsonl, and dataset.json with counts, spans and hashes. Near-copies stand on
    /// one side. Of more than 250,000 labelled posts so many are kept, by a hash. The folder opens with Hugging Face's
    /// load_dataset.
    Dataset(Dataset),
    /// Retrain the model on what people labelled, judge it against the champion, and let it answer when it is better
    ///
    /// Makes a data set, trains, asks champion and candidate about the newest rows and those that travel with the model,
    /// and holds the figures against the bounds under [retrain] in the file. A verdict page is written either way. Exit codes:
    /// 0 promoted, 20 refused, 21 too few labels, 22 nothing new, others as always. Killed, it goes on where it was.
    Retrain(Retrain),
    /// Which versions of a model there are and which one answers; name another, or the one before
    Model(Model),
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

/// `bellwether explain`.
#[derive(Debug, Clone, Args)]
pub struct Explain {
    /// The text; - reads it from standard input
    pub text: String,
    /// The model: a folder of versions (its champion) or of one version (default: models/finance-en)
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceArgument,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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
    /// Also write what these rows look like into the version's folder, as reference.json: a pipeline in which it answers
    /// then shows how far its posts are from them
    #[arg(long)]
    pub reference: bool,
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

/// A part of `bellwether bench`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchPart {
    /// The model with nothing around it, and what the size of a pool is worth to it
    Model,
    /// Each pure step
    Steps,
    /// The whole pipeline at full speed, and its memory
    Throughput,
    /// Published to scored to alert, at 70 % of the full speed, which is measured for it
    Latency,
    /// Exactly once beside at least once, with the model and with a scorer that costs nothing
    Delivery,
    /// A state of many mentions, read back
    State,
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
    /// Measure only these; what compares itself with the bare model says so only when that is measured too
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,…")]
    pub only: Vec<BenchPart>,
    /// Posts after which resident memory is read
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub memory_posts: usize,
    /// Mentions in one partition whose state is read back
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub rebuild_mentions: usize,
}

impl Bench {
    /// Whether this part is to be measured.
    #[must_use]
    pub fn wants(&self, part: BenchPart) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
