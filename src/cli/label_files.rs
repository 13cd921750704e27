//! Labels from files and samples to files: JSON lines of our own, and what annotation tools read and write.

use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::cli::args::LabelPosts;
use crate::cli::label::hardest;
use crate::cli::{Failure, Input, Output};
use crate::event::Label;
use crate::model::Task;
use crate::pipeline::Settings;
use crate::retrain::{Answer, Tool, from_tool, label_studio_config, to_tool};
use crate::time::Timestamp;

/// The largest file of a tool that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// What a line of an import must be.
const SHAPE: &str = "a line is {\"post_id\": …, \"task\": …, \"label\": …}, and may have annotator, at and note";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    post_id: String,
    task: String,
    label: String,
    annotator: Option<String>,
    at: Option<Timestamp>,
    note: Option<String>,
}

/// Reads a file of labels; `who` answers where the file does not say.
///
/// # Errors
/// With 65 at the first one that cannot be used.
pub(super) fn import(
    path: &Path,
    tool: Option<Tool>,
    tasks: &[Task],
    (who, now): (&str, Timestamp),
) -> Result<Vec<Label>, Failure> {
    let Some(tool) = tool else { return lines(path, tasks, (who, now)) };
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    let remedy = "give the tool's JSON export: an array, or one object a line";
    read.map_err(|error| Failure::data(format!("{name}: {error}"), remedy))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::data(format!("{name} is larger than 256 MiB"), "export it in parts"));
    }
    let mut labels = Vec::new();
    for item in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
        let items = match item.map_err(|error| Failure::data(format!("{name}: {error}"), remedy))? {
            Value::Array(items) => items,
            item => vec![item],
        };
        for item in items {
            let number = labels.len() + 1;
            let bad = |why: String| Failure::data(format!("{name}: behind {number} labels: {why}"), remedy);
            for answer in from_tool(tool, item).map_err(bad)? {
                labels.push(answer.label(tasks, who, now).map_err(bad)?);
            }
        }
    }
    Ok(labels)
}

fn lines(path: &Path, tasks: &[Task], (who, now): (&str, Timestamp)) -> Result<Vec<Label>, Failure> {
    let mut lines = Input::open(Some(path))?;
    let mut labels = Vec::new();
    while let Some((number, text)) = lines.next_line()? {
        let label = serde_json::from_str(&text).map_err(|error| error.to_string()).and_then(|line: Line| {
            let Line { post_id, task, label, annotator, at, note } = line;
            Ok(Label { note, ..Answer { post_id, task, label, annotator, at }.label(tasks, who, now)? })
        });
        labels.push(label.map_err(|why| lines.bad(number, why, SHAPE))?);
    }
    Ok(labels)
}

/// Writes the samples most worth a label of `arguments.task` for a tool, and for Label Studio its interface beside them.
///
/// # Errors
/// As [`hardest`], and with 69 when the file cannot be written.
pub(super) fn export(
    arguments: &LabelPosts,
    (path, tool): (&Path, Tool),
    settings: &Settings,
    tasks: &[Task],
) -> Result<(), Failure> {
    let (_, samples) = hardest(arguments, settings, tasks)?;
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|error| {
            Failure::unavailable(format!("{}: {error}", path.display()), "name a file that can be written")
        })
    };
    write(path, to_tool(tool, &samples, tasks).to_string() + "\n")?;
    let mut output = Output::new();
    output.line(format!("{} samples in {}", samples.len(), path.display()))?;
    if tool == Tool::LabelStudio {
        let config = path.with_extension("xml");
        write(&config, label_studio_config(tasks))?;
        output.line(format!("the labelling interface of their project in {}", config.display()))?;
    }
    output.flush()
}
