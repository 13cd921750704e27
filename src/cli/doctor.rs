//! `bellwether doctor`: looks for what a pipeline needs and says of each thing that it is well, or what to do.

use std::time::Duration;

use serde::Serialize;

use crate::archive::Store;
use crate::cli::args::{Doctor, Global};
use crate::cli::serve::{bundle, runtime_hints};
use crate::cli::{Exit, Failure, Output, load, model, start_quiet_log};
use crate::kafka::inspect_topics;
use crate::model::{Device, Scorer};
use crate::onnx::{Bundle, runtime};
use crate::pipeline::{Settings, topic_plans};
use crate::time::SystemClock;

/// A doctor's patience with a broker; `run` waits for `start_timeout`.
const BROKER_TIMEOUT: Duration = Duration::from_secs(5);

/// What was found of one thing.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    found: String,
}

impl Finding {
    fn of(what: &'static str, result: Result<String, String>) -> Self {
        match result {
            Ok(found) => Self { what, ok: true, found },
            Err(found) => Self { what, ok: false, found },
        }
    }
}

/// Runs the command.
///
/// # Errors
/// With 69 when something is missing.
pub(crate) fn run(arguments: &Doctor, global: &Global) -> Result<(), Failure> {
    let findings = match &arguments.file {
        Some(file) => {
            let settings = load(file, global)?.settings;
            let loaded = bundle(&settings.model, std::sync::Arc::new(SystemClock::new()));
            let loaded = loaded.map_err(|error| format!("{error:#}"));
            vec![library(), answers(loaded), instruments(&settings), kafka(&settings), archive(&settings)]
        }
        None => {
            start_quiet_log(global)?;
            let loaded = model::open(None, Device::Auto).map_err(|failure| failure.to_string());
            vec![library(), answers(loaded)]
        }
    };
    let mut output = Output::new();
    if arguments.json {
        output.json(&findings)?;
    } else {
        for finding in &findings {
            let word = if finding.ok { "ok  " } else { "fail" };
            output.line(format!(
                "{word}  {:<12}  {}",
                finding.what,
                finding.found.replace('\n', "\n                    ")
            ))?;
        }
    }
    output.flush()?;
    if findings.iter().all(|finding| finding.ok) { Ok(()) } else { Err(Failure::silent(Exit::Unavailable)) }
}

fn library() -> Finding {
    let found = runtime(&runtime_hints()).map_err(|error| error.to_string()).map(|runtime| {
        let info = runtime.info();
        format!("{} (version {}, runs on {})", info.path.display(), info.version, info.providers.join(" and "))
    });
    Finding::of("ONNX Runtime", found)
}

fn answers(loaded: Result<Bundle, String>) -> Finding {
    let found = loaded.map(|bundle| {
        let id = bundle.id();
        let place = bundle.directory().display().to_string();
        let tasks: Vec<&str> = bundle.tasks().iter().map(|task| task.name.as_str()).collect();
        format!(
            "{} {} ({}) on {}, answers {}; hashes and golden inputs agree ({place})",
            id.name,
            id.version,
            id.variant,
            bundle.device(),
            tasks.join(" and ")
        )
    });
    Finding::of("model", found)
}

fn instruments(settings: &Settings) -> Finding {
    let found = match &settings.instruments {
        None => Ok("no file: only topics and market are subjects".to_owned()),
        Some(path) if path.is_file() => Ok(path.display().to_string()),
        Some(path) => Err(format!("{} is missing; correct instruments.file", path.display())),
    };
    Finding::of("instruments", found)
}

fn kafka(settings: &Settings) -> Finding {
    let mut kafka = settings.kafka.clone();
    kafka.start_timeout = kafka.start_timeout.min(BROKER_TIMEOUT);
    let inspected = inspect_topics(&kafka, &topic_plans(settings), &SystemClock::new());
    let found = inspected.map_err(|error| error.to_string());
    let found = found.and_then(|report| {
        let mut faults: Vec<String> = Vec::new();
        if !report.missing.is_empty() {
            let names: Vec<&str> = report.missing.iter().map(|name| &**name).collect();
            faults.push(format!("missing topics: {}; create them with `bellwether topics FILE`", names.join(", ")));
        }
        faults.extend(report.findings.iter().map(|it| format!("{}: {}; {}", it.topic, it.message, it.remedy)));
        let reached = format!("{} answers", kafka.bootstrap_servers);
        if faults.is_empty() {
            Ok(format!("{reached}, all topics are as they should be"))
        } else {
            Err(format!("{reached}\n{}", faults.join("\n")))
        }
    });
    Finding::of("Kafka", found)
}

fn archive(settings: &Settings) -> Finding {
    let url = &settings.archive.url;
    let found = Store::open(&settings.archive).and_then(|store| store.probe());
    let found = found.map(|()| format!("{url} is writable and creates files only where there are none"));
    Finding::of("archive", found.map_err(|error| error.to_string()))
}
