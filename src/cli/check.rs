//! `bellwether check`: every problem of a pipeline file at once, then its own test cases.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::args::{Check, Global};
use crate::cli::{Exit, Failure, Output, pipeline_file};
use crate::config::{Loaded, Problem, TestCase};
use crate::onnx::graph_bytes;
use crate::pipeline::footprint::{Part, footprint, input_partition_bytes, total};
use crate::pipeline::signal::SignalSettings;
use crate::pipeline::{Settings, read_instruments};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct CheckReport {
    name: Option<Arc<str>>,
    problems: Vec<ProblemReport>,
    tests: Vec<TestReport>,
    /// The memory that a process which runs all stages takes at most.
    memory_bytes_max: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ProblemReport {
    place: String,
    message: String,
    remedy: String,
}

#[derive(Debug, Serialize)]
struct TestReport {
    name: String,
    place: String,
    passed: bool,
    faults: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// With 64 when there are problems or a case fails.
pub(crate) fn run(arguments: &Check, _global: &Global) -> Result<(), Failure> {
    let loaded = match pipeline_file(&arguments.file) {
        Ok(loaded) => loaded,
        Err(problems) if arguments.json => return tell_problems(&problems),
        Err(problems) => return Err(Failure::problems(&problems)),
    };
    let mut output = Output::new();
    if arguments.print {
        output.line(loaded.effective.trim_end())?;
        return output.flush();
    }
    let tests: Vec<TestReport> = loaded.tests.iter().map(|case| test(case, &loaded.settings)).collect();
    let failed = tests.iter().filter(|test| !test.passed).count();
    if arguments.json {
        let memory_bytes_max = Some(total(&parts(&loaded.settings)));
        let name = Some(loaded.settings.name.clone());
        output.json(&CheckReport { name, problems: Vec::new(), tests, memory_bytes_max })?;
    } else {
        tell(&mut output, &loaded, &tests)?;
    }
    output.flush()?;
    if failed == 0 { Ok(()) } else { Err(Failure::silent(Exit::Usage)) }
}

fn test(case: &TestCase, settings: &Settings) -> TestReport {
    let faults = case.run(settings);
    TestReport { name: case.name.clone(), place: case.place.to_string(), passed: faults.is_empty(), faults }
}

fn tell_problems(problems: &[Problem]) -> Result<(), Failure> {
    let told = |problem: &Problem| ProblemReport {
        place: problem.place.to_string(),
        message: problem.message.clone(),
        remedy: problem.remedy.clone(),
    };
    let mut output = Output::new();
    output.json(&CheckReport {
        name: None,
        problems: problems.iter().map(told).collect(),
        tests: Vec::new(),
        memory_bytes_max: None,
    })?;
    output.flush()?;
    Err(Failure::silent(Exit::Usage))
}

fn tell(output: &mut Output, loaded: &Loaded, tests: &[TestReport]) -> Result<(), Failure> {
    let settings = &loaded.settings;
    let (sources, rules) = (settings.sources.len(), settings.rules.len());
    output.line(format!("{}: no problems; {sources} sources, {rules} rules", settings.name))?;
    if !settings.model.directory.is_dir() {
        let (name, directory) = (&settings.model.name, settings.model.directory.display());
        output.line(format!(
            "not checked: whether there is a model {name} and what topics it gives; {directory} is not here"
        ))?;
    }
    if settings.kafka.replication == 1 {
        output.line(
            "each record lies on one broker and is lost with its disk: replication = 1; 3 is usual on a cluster",
        )?;
    }
    memory(output, settings)?;
    for test in tests {
        output.line(format!("{} {}", if test.passed { "ok    " } else { "FAILED" }, test.name))?;
        for fault in &test.faults {
            output.line(format!("       {}: {fault}", test.place))?;
        }
    }
    if tests.is_empty() {
        return output.line("no tests: add [[test]] with posts and alerts");
    }
    let failed = tests.iter().filter(|test| !test.passed).count();
    let verdict = if failed == 0 { "all passed".to_owned() } else { format!("{failed} failed") };
    output.line(format!("{} tests, {verdict}", tests.len()))
}

/// What a start reads back, and how much memory it may come to.
fn memory(output: &mut Output, settings: &Settings) -> Result<(), Failure> {
    let look_back = SignalSettings::of(settings).look_back().as_secs();
    let (hours, minutes) = (look_back / 3_600, look_back / 60 % 60);
    output.line(format!(
        "a start reads the last {hours} h {minutes} min of mentions back: {look_back} records for every mention a second"
    ))?;
    let parts = parts(settings);
    output.line(format!("a process that runs all of it takes {} MiB of memory at most:", total(&parts) >> 20))?;
    for Part { name, bounded_by, bytes } in parts {
        let mib = bytes.div_ceil(1 << 20);
        output.line(format!("  {mib:>6} MiB  {name:<38}  {bounded_by}"))?;
    }
    let (partitions, more) = (settings.kafka.partitions, input_partition_bytes(settings).div_ceil(1 << 20));
    output.line(format!(
        "an input with more than {partitions} partitions (kafka.partitions) takes {more} MiB more for each"
    ))
}

fn parts(settings: &Settings) -> Vec<Part> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // The file was read and found good when the settings were.
    let instruments = read_instruments(settings).map_or(0, |known| known.len());
    footprint(settings, graph_bytes(&settings.model), instruments, cores)
}
