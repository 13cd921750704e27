//! The command line of `bellwether dead-letters`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::parse_duration;
use crate::event::Reason;
use crate::time::Timestamp;

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
