//! How the process ends: the codes, and errors that say what to do.

use std::fmt;
use std::io::{self, Write as _};

use crate::archive::ArchiveError;
use crate::cli::lines::LineError;
use crate::config::Problem;
use crate::kafka::KafkaError;
use crate::onnx::{BundleError, RuntimeError};
use crate::pipeline::{AssembleError, PlayError, RunError};
use crate::web::WebError;

/// Exit codes: three of our own, the others after `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A retrained model was refused by its gate.
    Refused = 20,
    /// Too few labels to retrain.
    TooFewLabels = 21,
    /// Retraining with the same labels, champion and settings was done before.
    NothingNew = 22,
    /// A bad pipeline file or command line.
    Usage = 64,
    /// Bad data.
    Data = 65,
    /// Something that we need is unavailable: a broker, a library, a model.
    Unavailable = 69,
    /// Our own fault.
    Internal = 70,
}

/// Why a command stopped.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened.
    pub message: String,
    /// What to do; empty where the message says it.
    pub remedy: String,
}

impl Failure {
    /// A bad pipeline file or command line.
    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), remedy: remedy.into() }
    }

    /// Bad data; the message names file and line.
    pub fn data(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit: Exit::Data, message: message.into(), remedy: remedy.into() }
    }

    /// Something that we need is unavailable.
    pub fn unavailable(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit: Exit::Unavailable, message: message.into(), remedy: remedy.into() }
    }

    /// Our own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { exit: Exit::Internal, message: message.into(), remedy: String::new() }
    }

    /// Nothing went wrong that is worth a word: whoever read our output has left, or the report is out already.
    pub fn silent(exit: Exit) -> Self {
        Self { exit, message: String::new(), remedy: String::new() }
    }

    /// All problems of a pipeline file.
    pub fn problems(problems: &[Problem]) -> Self {
        let count = match problems.len() {
            1 => "1 problem; nothing was started".to_owned(),
            many => format!("{many} problems; nothing was started"),
        };
        let lines: Vec<String> = problems.iter().map(ToString::to_string).chain([count]).collect();
        Self::usage(lines.join("\n"), "")
    }

    /// Output that could not be written. That the reader has left is no failure.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::Done);
        }
        Self::unavailable(format!("the output cannot be written: {error}"), "make room, or write to another place")
    }

    /// An error of the rooms below, with the code that fits it.
    pub fn of(error: anyhow::Error) -> Self {
        let broken = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if broken {
            return Self::silent(Exit::Done);
        }
        let exit = error.chain().find_map(code).unwrap_or(Exit::Internal);
        Self { exit, message: causes(&error), remedy: String::new() }
    }

    /// Says it on standard error and gives the code back.
    pub(super) fn tell(&self) -> Exit {
        if !self.message.is_empty() {
            // Where nobody can be told, the code still can.
            drop(writeln!(io::stderr().lock(), "{self}"));
        }
        self.exit
    }
}

/// What happened and why, leaving out the causes that a message has told already.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.contains(&cause) {
            told
        } else if told.is_empty() {
            cause
        } else {
            format!("{told}: {cause}")
        }
    })
}

/// What the code of an error is; `None` where its cause decides.
fn code(error: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(error) = error.downcast_ref::<KafkaError>() {
        return Some(match error {
            KafkaError::Settings(_) => Exit::Usage,
            KafkaError::Unavailable { .. }
            | KafkaError::MissingTopics(_)
            | KafkaError::TopicsGone(_)
            | KafkaError::TimedOut { .. }
            | KafkaError::OutOfRange { .. }
            | KafkaError::Forgotten { .. }
            | KafkaError::Missing { .. }
            | KafkaError::Refused { .. }
            | KafkaError::Overtaken { .. }
            | KafkaError::NoPartition(..) => Exit::Unavailable,
        });
    }
    if let Some(error) = error.downcast_ref::<AssembleError>() {
        return Some(match error {
            AssembleError::InstrumentsUnread { .. } | AssembleError::Instruments { .. } => Exit::Usage,
            AssembleError::Archive(_) => Exit::Unavailable,
        });
    }
    if let Some(error) = error.downcast_ref::<PlayError>() {
        return match error {
            PlayError::Assemble(error) => code(error),
            PlayError::BadData(_) => Some(Exit::Data),
            PlayError::UnknownTopic(_) | PlayError::Halted(_) => None,
        };
    }
    if let Some(error) = error.downcast_ref::<RunError>() {
        // The transparent ones are not in the chain themselves.
        return match error {
            RunError::Kafka(error) => code(error),
            RunError::Assemble(error) => code(error),
            RunError::Topics(_) => Some(Exit::Usage),
            RunError::BadData { .. } => Some(Exit::Data),
            RunError::Laggards { cause, .. } => cause.as_deref().and_then(|cause| code(cause)),
            RunError::Halted { .. } => None,
        };
    }
    if error.is::<LineError>() {
        return Some(Exit::Data);
    }
    let unavailable = error.is::<RuntimeError>() || error.is::<BundleError>() || error.is::<ArchiveError>();
    (unavailable || error.is::<WebError>()).then_some(Exit::Unavailable)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n    {}", self.remedy) }
    }
}
