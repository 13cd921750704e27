//! The files of a data set, written aside and given their name at the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{DatasetError, DatasetReport, Example, Labels, Side, SplitReport, Vote};
use crate::archive::{ArchivedPost, Odds};
use crate::time::Timestamp;

/// A row of `data/*.jsonl`. Every row has every key, so that readers which guess types guess them alike.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    text: &'a str,
    published_at: Timestamp,
    source: &'a str,
    kind: &'a str,
    lang: Option<&'a str>,
    sentiment: Option<&'a str>,
    topic: Option<&'a str>,
    sample_reason: &'a str,
    sample_probability: f64,
    model_version: &'a str,
}

/// The columns of [`Row`] with their types by Hugging Face's names.
const COLUMNS: [(&str, &str); 11] = [
    ("id", "string"),
    ("text", "string"),
    ("published_at", "string"),
    ("source", "string"),
    ("kind", "string"),
    ("lang", "string"),
    ("sentiment", "string"),
    ("topic", "string"),
    ("sample_reason", "string"),
    ("sample_probability", "float64"),
    ("model_version", "string"),
];

/// A row of `unlabelled.jsonl`.
#[derive(Serialize)]
struct Unlabelled<'a> {
    id: &'a str,
    text: &'a str,
    sentiment_probabilities: BTreeMap<&'a str, f32>,
    topic_probabilities: BTreeMap<&'a str, f32>,
    model_version: &'a str,
}

/// A row of `disagreements.jsonl`.
#[derive(Serialize)]
struct Disagreement<'a> {
    id: &'a str,
    task: &'a str,
    counts: &'a str,
    answers: &'a [Vote],
}

/// Writes the folder `out` and fills in what the report says of the files.
pub(super) fn write(
    out: &Path,
    report: &mut DatasetReport,
    examples: &[Example],
    labels: &Labels,
    unlabelled: &[ArchivedPost],
) -> Result<(), DatasetError> {
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let aside = out.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fill(&aside, report, examples, labels, unlabelled)
        .and_then(|()| std::fs::rename(&aside, out).map_err(|source| failed(out, source)));
    if written.is_err() {
        drop(std::fs::remove_dir_all(&aside));
    }
    written
}

fn failed(path: &Path, source: io::Error) -> DatasetError {
    DatasetError::File { path: path.display().to_string(), source }
}

fn fill(
    folder: &Path,
    report: &mut DatasetReport,
    examples: &[Example],
    labels: &Labels,
    unlabelled: &[ArchivedPost],
) -> Result<(), DatasetError> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).map_err(|source| failed(&data, source))?;
    for side in Side::ALL {
        let mine = || examples.iter().filter(move |example| example.side == side);
        let sha256 = lines(&data.join(format!("{}.jsonl", side.as_str())), mine().map(row))?;
        report.splits.insert(side.as_str().to_owned(), SplitReport { sha256, ..summary(mine()) });
    }
    lines(&folder.join("unlabelled.jsonl"), unlabelled.iter().map(answered))?;
    lines(&folder.join("disagreements.jsonl"), examples.iter().flat_map(|example| disputed(example, labels)))?;
    text(&folder.join("README.md"), &readme(report))?;
    let manifest = serde_json::to_string_pretty(report).map_err(|error| failed(folder, error.into()))?;
    text(&folder.join("dataset.json"), &format!("{manifest}\n"))
}

fn row(example: &Example) -> Row<'_> {
    let post = &example.post;
    let answer = |task: &str| example.answers.get(task).map(String::as_str);
    Row {
        id: &post.post_id,
        text: &post.text,
        published_at: post.published_at,
        source: &post.source,
        kind: &post.kind,
        lang: post.lang.as_deref(),
        sentiment: answer("sentiment"),
        topic: answer("topic"),
        sample_reason: &post.reason,
        sample_probability: post.probability,
        model_version: &post.model_version,
    }
}

fn answered(post: &ArchivedPost) -> Unlabelled<'_> {
    Unlabelled {
        id: &post.post_id,
        text: &post.text,
        sentiment_probabilities: by_label(&post.sentiment),
        topic_probabilities: by_label(&post.topic),
        model_version: &post.model_version,
    }
}

fn by_label(odds: &Odds) -> BTreeMap<&str, f32> {
    odds.iter().map(|(label, probability)| (label.as_str(), *probability)).collect()
}

fn disputed<'a>(example: &'a Example, labels: &'a Labels) -> impl Iterator<Item = Disagreement<'a>> {
    example.answers.iter().filter_map(|(task, counts)| {
        let id = &*example.post.post_id;
        let answers = labels.votes(id, task);
        let disputed = answers.iter().any(|vote| vote.label != *counts);
        disputed.then_some(Disagreement { id, task, counts, answers })
    })
}

fn summary<'a>(examples: impl Iterator<Item = &'a Example>) -> SplitReport {
    let mut summary = SplitReport::default();
    for Example { post, answers, .. } in examples {
        summary.rows += 1;
        summary.from = Some(summary.from.map_or(post.published_at, |from| from.min(post.published_at)));
        summary.until = Some(summary.until.map_or(post.published_at, |until| until.max(post.published_at)));
        *summary.sources.entry(post.source.clone()).or_default() += 1;
        for (task, class) in answers {
            *summary.classes.entry(task.clone()).or_default().entry(class.clone()).or_default() += 1;
        }
    }
    summary
}

/// Writes JSON lines; returns the file's hash.
fn lines<R: Serialize>(path: &Path, rows: impl Iterator<Item = R>) -> Result<String, DatasetError> {
    let told = |source| failed(path, source);
    let mut hash = Sha256::new();
    let mut file = BufWriter::new(File::create(path).map_err(told)?);
    for row in rows {
        let mut line = serde_json::to_vec(&row).map_err(|error| told(error.into()))?;
        line.push(b'\n');
        hash.update(&line);
        file.write_all(&line).map_err(told)?;
    }
    file.into_inner().map_err(|error| told(error.into_error())).and_then(|file| file.sync_all().map_err(told))?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(path: &PathBuf, text: &str) -> Result<(), DatasetError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| failed(path, source))
}

/// What Hugging Face's `datasets` reads first: which file is which split.
fn readme(report: &DatasetReport) -> String {
    let mut readme = "---\nconfigs:\n- config_name: default\n  data_files:\n".to_owned();
    for (side, split) in &report.splits {
        // An empty file has no columns, and is no split.
        if split.rows > 0 {
            readme += &format!("  - split: {side}\n    path: data/{side}.jsonl\n");
        }
    }
    // Without their types, a split whose rows all lack a label would have a column of nothing.
    readme += "dataset_info:\n  features:\n";
    for (name, kind) in COLUMNS {
        readme += &format!("  - name: {name}\n    dtype: {kind}\n");
    }
    readme += &format!(
        "---\n\n# Labelled posts of `{}`\n\nMade by `bellwether dataset` at {}. `dataset.json` has the counts, spans and hashes, \
         `unlabelled.jsonl` what the model answered for samples without a label, `disagreements.jsonl` where the people who \
         labelled do not agree. Train on `train`, choose by `validation`, look at `test` once.\n",
        report.pipeline, report.made_at
    );
    readme
}
