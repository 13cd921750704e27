//! The arguments of `bellwether model`.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

use crate::cli::args::DeviceArgument;

/// `bellwether model`.
#[derive(Debug, Clone, Args)]
pub struct Model {
    /// What to do
    #[command(subcommand)]
    pub action: ModelAction,
    /// The folder of the model's versions (default: models/finance-en)
    #[arg(long, value_name = "DIR", global = true)]
    pub model: Option<PathBuf>,
}

/// What `bellwether model` does.
#[derive(Debug, Clone, Subcommand)]
pub enum ModelAction {
    /// The versions that there are, and which one answers
    List {
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// What a version answers, how it was made and what it reached; and who named which champion, and why
    Show {
        /// The version (default: the champion)
        version: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Name a version champion: its files and its golden answers are checked first
    ///
    /// A version that bellwether retrain made and judged good needs no more; any other one needs --force, and so does
    /// one that a rollback took back.
    Promote {
        /// The version
        version: String,
        /// Name it though no gate let it pass, or though it was taken back
        #[arg(long)]
        force: bool,
        /// Who names it, when and why
        #[command(flatten)]
        warrant: WarrantArguments,
    },
    /// Try a version beside the champion: it answers a share of what is archived, and nobody acts on it
    ///
    /// Metrics and samples show how often the two agree and how sure each is ([model] challenger_share).
    Challenge {
        /// The version
        #[arg(required_unless_present = "none")]
        version: Option<String>,
        /// Try none any more
        #[arg(long, conflicts_with = "version")]
        none: bool,
        /// Who tries it, when and why
        #[command(flatten)]
        warrant: WarrantArguments,
    },
    /// Make a version of a text classifier in Hugging Face's form: model.onnx, config.json, tokenizer.json
    ///
    /// Who answers does not change. Its probabilities are taken as they are: bellwether evaluate says how well
    /// they are calibrated. One that was quantised dynamically answers a little differently beside other texts; fp32
    /// does not.
    Import(Import),
    /// Name the version before the champion again
    ///
    /// After a rollback that is the version which was taken back, and needs --force.
    Rollback {
        /// Name it though it was taken back itself
        #[arg(long)]
        force: bool,
        /// Who names it, when and why
        #[command(flatten)]
        warrant: WarrantArguments,
    },
}

/// `bellwether model import`.
#[derive(Debug, Clone, Args)]
pub struct Import {
    /// The exporter's folder
    #[arg(value_name = "DIR")]
    pub from: PathBuf,
    /// The version to make
    pub version: String,
    /// What it answers: sentiment or topic
    #[arg(long, default_value = "sentiment", value_parser = ["sentiment", "topic"])]
    pub task: String,
    /// What a class of the model is for us, such as LABEL_0=negative (once a class; plain names are known)
    #[arg(long = "class", value_name = "NAME=CLASS", value_parser = class)]
    pub classes: Vec<(String, String)>,
    /// The graph, below the folder (default: where exporters put it)
    #[arg(long, value_name = "FILE")]
    pub graph: Option<PathBuf>,
    /// Tokens of the longest text, 3 to 8192; what is longer is cut (default: what the model takes, or 512 if that is less)
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(3..=8_192))]
    pub max_tokens: Option<usize>,
    /// The probability of its best class below which it abstains, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    pub abstain_below: f32,
    /// A language that it knows, such as en (once a language; default: any)
    #[arg(long = "language", value_name = "CODE", value_parser = language)]
    pub languages: Vec<String>,
}

fn class(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, class)| !name.is_empty() && !class.is_empty());
    pair.map(|(name, class)| (name.to_owned(), class.to_owned())).ok_or_else(|| "expected NAME=CLASS".to_owned())
}

fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn language(text: &str) -> Result<String, String> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_code { Ok(text.to_owned()) } else { Err("expected an ISO 639-1 code, two small letters".to_owned()) }
}

/// Who changes the champion, and why.
#[derive(Debug, Clone, Args)]
pub struct WarrantArguments {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who, for the history (default: the user who runs this)
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Where its golden answers are checked: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceArgument,
}
