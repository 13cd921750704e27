//! The arguments of `bellwether model`.

use std::path::PathBuf;

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
    /// A version that bellwether retrain made and judged good needs no more; any other one needs --force.
    Promote {
        /// The version
        version: String,
        /// Name it though no gate let it pass
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
    /// Name the version before the champion again
    Rollback {
        /// Who names it, when and why
        #[command(flatten)]
        warrant: WarrantArguments,
    },
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
