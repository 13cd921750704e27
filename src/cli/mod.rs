//! The command line: parse, call, exit code.
//!
//! [`args`] says what can be asked for, one file a command does it, [`exit`] says how it ends. Nothing is decided here
//! that a library user could want: commands assemble the rooms below and print.

pub mod args;
mod bench;
mod check;
mod clean;
mod dataset;
mod dead_letters;
mod defect;
mod demo;
mod doctor;
mod evaluate;
mod exit;
mod explain;
mod input;
mod label;
mod label_files;
mod letter_args;
mod letter_shown;
mod lines;
mod model;
mod model_args;
mod output;
pub mod play;
mod registry;
mod replay;
mod reports;
mod retrain;
mod retrain_args;
mod row;
mod run;
mod score;
mod serve;
mod tape;
mod topics;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::{self, Loaded, Problem};
use crate::pipeline::StageName;
use crate::telemetry::{LogFormat, LogSettings, init_logs};
use args::{Arguments, Command, Global, LogForm};
use play::PlayRequest;

pub use exit::{Exit, Failure};
pub use input::Input;
pub use output::Output;
pub use row::Row;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(exit) = reports::keep_silent() {
        return ExitCode::from(exit as u8);
    }
    defect::end_on_panic();
    let exit = match Arguments::try_parse() {
        Ok(arguments) => dispatch(arguments).err().map_or(Exit::Done, |failure| failure.tell()),
        Err(error) => {
            // Help and version are no errors; whether anybody reads them is no matter.
            drop(error.print());
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        }
    };
    ExitCode::from(exit as u8)
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Demo(demo) => demo::run(demo, global),
        Command::Play(arguments) => {
            let settings = load(&arguments.file, global)?.settings;
            let request = PlayRequest {
                input: arguments.input.clone(),
                speed: arguments.speed,
                exit: arguments.exit,
                json: arguments.json,
            };
            play::play(settings, &request).map_err(Failure::of)
        }
        Command::Run(arguments) => {
            let settings = load(&arguments.file, global)?.settings;
            let all = arguments.stages.is_empty();
            let stages = if all { StageName::ALL.into() } else { arguments.stages.iter().copied().collect() };
            run::run(settings, stages, arguments.until_end).map_err(Failure::of)
        }
        Command::Watch(arguments) => {
            let settings = load(&arguments.file, global)?.settings;
            run::watch(&settings).map_err(Failure::of)
        }
        Command::Topics(topics) => topics::run(topics, global),
        Command::Replay(replay) => replay::run(replay, global),
        Command::DeadLetters(asked) => dead_letters::run(asked, global),
        Command::Clean(clean) => clean::run(clean),
        Command::Score(score) => score::run(score, global),
        Command::Explain(explain) => explain::run(explain, global),
        Command::Evaluate(evaluate) => evaluate::run(evaluate, global),
        Command::Label(label) => label::run(label, global),
        Command::Dataset(dataset) => dataset::run(dataset, global),
        Command::Retrain(asked) => retrain::run(asked, global),
        Command::Model(model) => registry::run(model, global),
        Command::Check(check) => check::run(check, global),
        Command::Doctor(doctor) => doctor::run(doctor, global),
        Command::Bench(bench) => bench::run(bench, global),
    }
}

/// Reads a pipeline file with the environment laid over it.
fn pipeline_file(path: &Path) -> Result<Loaded, Vec<Problem>> {
    config::load(path, config::environment())
}

/// Reads a pipeline file for a command that needs it whole, and starts the log as it says.
fn load(path: &Path, global: &Global) -> Result<Loaded, Failure> {
    let loaded = pipeline_file(path).map_err(|problems| Failure::problems(&problems))?;
    start_log(global, &loaded.settings.log)?;
    Ok(loaded)
}

/// Starts the log; the command line wins over the settings.
fn start_log(global: &Global, settings: &LogSettings) -> Result<(), Failure> {
    let format = match global.log_format {
        Some(LogForm::Text) => LogFormat::Text,
        Some(LogForm::Json) => LogFormat::Json,
        None => settings.format,
    };
    let levels = global.log_levels.clone().unwrap_or_else(|| settings.levels.clone());
    init_logs(&LogSettings { format, levels }).map_err(|error| Failure::usage(error.to_string(), ""))
}

/// The log of a command without a pipeline file: warnings and errors.
fn start_quiet_log(global: &Global) -> Result<(), Failure> {
    start_log(global, &LogSettings { format: LogFormat::Text, levels: "warn".to_owned() })
}
