//! `bellwether topics`: creates the topics that are missing and says what is wrong with those that are there.

use serde::Serialize;

use crate::cli::args::{Global, Topics};
use crate::cli::{Exit, Failure, Output, load};
use crate::kafka::{TopicReport, ensure_topics, inspect_topics};
use crate::pipeline::topic_plans;
use crate::time::SystemClock;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    created: Vec<Created<'a>>,
    missing: Vec<&'a str>,
    wrong: Vec<Wrong<'a>>,
}

#[derive(Serialize)]
struct Created<'a> {
    topic: &'a str,
    partitions: i32,
}

#[derive(Serialize)]
struct Wrong<'a> {
    topic: &'a str,
    message: &'a str,
    remedy: &'a str,
}

/// Runs the command.
///
/// # Errors
/// With 69 when Kafka cannot be reached, with 64 when a topic is not as it must be.
pub(crate) fn run(arguments: &Topics, global: &Global) -> Result<(), Failure> {
    let settings = load(&arguments.file, global)?.settings;
    let plans = topic_plans(&settings);
    let clock = SystemClock::new();
    let report = if arguments.dry_run {
        inspect_topics(&settings.kafka, &plans, &clock)
    } else {
        ensure_topics(&settings.kafka, &plans, &clock)
    }
    .map_err(|error| Failure::of(error.into()))?;
    let mut output = Output::new();
    if arguments.json {
        output.json(&shown(&report))?;
    } else {
        let plans: Vec<&str> = plans.iter().map(|plan| &*plan.name).collect();
        tell(&mut output, &plans, &report)?;
    }
    output.flush()?;
    if report.findings.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::Usage)) }
}

fn shown(report: &TopicReport) -> Report<'_> {
    Report {
        created: report.created.iter().map(|(topic, partitions)| Created { topic, partitions: *partitions }).collect(),
        missing: report.missing.iter().map(|topic| &**topic).collect(),
        wrong: report
            .findings
            .iter()
            .map(|finding| Wrong { topic: &finding.topic, message: &finding.message, remedy: &finding.remedy })
            .collect(),
    }
}

fn tell(output: &mut Output, topics: &[&str], report: &TopicReport) -> Result<(), Failure> {
    for topic in topics {
        let created = report.created.iter().find(|(name, _)| **name == **topic);
        let wrong: Vec<_> = report.findings.iter().filter(|finding| *finding.topic == **topic).collect();
        if let Some((_, partitions)) = created {
            output.line(format!("created  {topic} ({partitions} partitions)"))?;
        } else if report.missing.iter().any(|name| **name == **topic) {
            output.line(format!("missing  {topic}"))?;
        } else if wrong.is_empty() {
            output.line(format!("ok       {topic}"))?;
        }
        for finding in wrong {
            output.line(format!("wrong    {topic}: {}\n         {}", finding.message, finding.remedy))?;
        }
    }
    Ok(())
}
