//! The arguments of `bellwether label`, `dataset` and `retrain`.

use std::path::PathBuf;

use clap::Args;

use crate::retrain::Tool;

/// `bellwether retrain`.
#[derive(Debug, Clone, Args)]
pub struct Retrain {
    /// The pipeline file
    pub file: PathBuf,
    /// Do not name the candidate champion, even when it passes
    #[arg(long)]
    pub no_promote: bool,
    /// Print the verdict as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `bellwether label`.
#[derive(Debug, Clone, Args)]
pub struct LabelPosts {
    /// The pipeline file
    pub file: PathBuf,
    /// What to ask for
    #[arg(long, default_value = "sentiment")]
    pub task: String,
    /// Samples to show at most
    #[arg(long, value_name = "N", default_value = "200")]
    pub count: usize,
    /// Who answers (default: the user's name)
    #[arg(long, value_name = "NAME")]
    pub annotator: Option<String>,
    /// Take labels from JSON lines; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["task", "count"])]
    pub import: Option<PathBuf>,
    /// Write the samples most worth a label to a file for an annotation tool, with the model's answers as suggestions
    #[arg(long, value_name = "FILE", conflicts_with = "import")]
    pub export: Option<PathBuf>,
    /// The tool that reads the export, or wrote the file to import: label-studio or argilla (JSON). Argilla does not say when
    /// an answer was given: it counts as given now
    #[arg(long, value_name = "TOOL")]
    pub tool: Option<ToolArgument>,
}

/// An annotation tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolArgument(pub Tool);

impl std::str::FromStr for ToolArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "label-studio" => Ok(Self(Tool::LabelStudio)),
            "argilla" => Ok(Self(Tool::Argilla)),
            _ => Err("label-studio and argilla are known".to_owned()),
        }
    }
}

/// `bellwether dataset`.
#[derive(Debug, Clone, Args)]
pub struct Dataset {
    /// The pipeline file
    pub file: PathBuf,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Share of the rows to choose by, 0 to 0.9
    #[arg(long, value_name = "SHARE", default_value = "0.15", value_parser = share)]
    pub validation_share: f64,
    /// Share of the rows to judge by, the newest, 0 to 0.9
    #[arg(long, value_name = "SHARE", default_value = "0.15", value_parser = share)]
    pub test_share: f64,
    /// Samples without a label that are kept with the model's answers
    #[arg(long, value_name = "N", default_value = "20000")]
    pub unlabelled_max: usize,
    /// Which of them: another seed, another choice
    #[arg(long, value_name = "N", default_value = "7")]
    pub seed: u64,
    /// Print dataset.json
    #[arg(long)]
    pub json: bool,
}

/// Reads a share.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=0.9).contains(&share) => Ok(share),
        _ => Err("use a share between 0 and 0.9".to_owned()),
    }
}
