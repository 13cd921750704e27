//! The manifest of a model directory: what the model answers, in which files, and how to know that they are whole.
//!
//! Format 1. Strict: an unknown key or a value out of its range is an error, so that a model that this version cannot
//! honour is refused at load and not half understood.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always 1.
    pub format: u32,
    /// Model name, such as `finance-en`.
    pub name: String,
    /// Version, such as `1`.
    pub version: String,
    /// The version it was trained from.
    pub parent: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Languages it knows, ISO 639-1; empty: any.
    pub languages: Vec<String>,
    /// Tokens of its longest input, special ones included.
    pub max_tokens: usize,
    /// What it answers.
    pub tasks: Vec<Task>,
    /// The graphs that there are.
    pub variants: Vec<Variant>,
    /// File name to SHA-256 of everything else that the model needs.
    pub files: BTreeMap<String, String>,
    /// How it was trained; for people.
    #[serde(default)]
    pub training: serde_json::Value,
    /// What it reached; for people.
    #[serde(default)]
    pub metrics: serde_json::Value,
    /// How each initialiser of the graph maps to a parameter of the trainable model; for the trainer.
    #[serde(default)]
    pub parameters: serde_json::Value,
}

/// One task of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// `sentiment` or `topic`.
    pub name: String,
    /// The graph's output that holds its logits.
    pub output: String,
    /// Its classes in the order of the logits.
    pub labels: Vec<String>,
    /// What logits are divided by.
    pub temperature: f32,
    /// The best probability below which it abstains.
    pub abstain_below: f32,
    /// Labels of data sets to labels of this task.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
}

/// One graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// `int8`, `fp16` or `fp32`.
    pub precision: String,
    /// Its file.
    pub file: String,
    /// Where it may run: `cpu`, `cuda`.
    pub devices: Vec<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The operator set of the graph.
    pub opset: u32,
    /// Texts with the answers that a loaded model must give.
    pub golden: Vec<Golden>,
}

/// A text with the answers that were given for it when the model was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The cleaned text.
    pub text: String,
    /// Task to answer.
    pub outputs: BTreeMap<String, GoldenOutput>,
}

/// The answer that is expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenOutput {
    /// The best label.
    pub label: String,
    /// Its calibrated probability.
    pub probability: f32,
}

/// A manifest that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, a key is unknown or missing, or a value has another type.
    #[error("manifest.json cannot be read: {0}")]
    Unreadable(String),
    /// Written by another version.
    #[error("manifest.json has {}; this version reads format 1", format_said(.0))]
    Format(u32),
    /// Values that make no sense, all of them.
    #[error("manifest.json is wrong: {}", .0.join("; "))]
    Wrong(Vec<String>),
}

fn format_said(format: &u32) -> String {
    if *format == 0 { "no format".to_owned() } else { format!("format {format}") }
}

/// The tasks that the pipeline knows.
const TASKS: [&str; 2] = ["sentiment", "topic"];
const SENTIMENTS: [&str; 3] = ["negative", "neutral", "positive"];

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// When it is not format 1, or with everything that is wrong in it.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let unreadable = |error: serde_json::Error| ManifestError::Unreadable(error.to_string());
        let value: serde_json::Value = serde_json::from_slice(json).map_err(unreadable)?;
        let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if format != 1 {
            return Err(ManifestError::Format(u32::try_from(format).unwrap_or(u32::MAX)));
        }
        let manifest = Self::deserialize(value).map_err(unreadable)?;
        let problems = manifest.problems();
        if problems.is_empty() { Ok(manifest) } else { Err(ManifestError::Wrong(problems)) }
    }

    /// The task of that name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// The first variant that may run on `device` (`cpu` or `cuda`).
    #[must_use]
    pub fn variant_for(&self, device: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.devices.iter().any(|at| at == device))
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value) in [("name", &self.name), ("version", &self.version)] {
            if !plain(value) {
                problems.push(format!("`{key}` must be a plain name, not `{value}`"));
            }
        }
        if !(3..=8_192).contains(&self.max_tokens) {
            problems.push(format!("`max_tokens` must be from 3 to 8192, not {}", self.max_tokens));
        }
        for language in &self.languages {
            if language.len() != 2 || !language.bytes().all(|byte| byte.is_ascii_lowercase()) {
                problems.push(format!("`languages` holds `{language}`, which is no ISO 639-1 code"));
            }
        }
        if self.tasks.is_empty() || self.variants.is_empty() {
            problems.push("at least one task and one variant are needed".to_owned());
        }
        let names: BTreeSet<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        if names.len() != self.tasks.len() {
            problems.push("a task stands twice".to_owned());
        }
        if !self.files.contains_key("tokenizer.json") {
            problems.push("`files` has no tokenizer.json".to_owned());
        }
        for (file, sha256) in &self.files {
            file_problems(file, sha256, &mut problems);
        }
        self.tasks.iter().for_each(|task| task.problems(&mut problems));
        self.variants.iter().for_each(|variant| variant.problems(&self.tasks, &mut problems));
        problems
    }
}

/// Why a label is of no use: there is no such task, or the task has no such class. Nothing is wrong where no task is known.
#[must_use]
pub fn objection(tasks: &[Task], task: &str, label: &str) -> Option<String> {
    match tasks.iter().find(|known| known.name == task) {
        _ if tasks.is_empty() => None,
        Some(known) if known.resolve(label).is_some() => None,
        Some(known) => Some(format!("{} has no class {label:?}; it has {}", known.name, known.labels.join(", "))),
        None => {
            let names: Vec<&str> = tasks.iter().map(|known| known.name.as_str()).collect();
            Some(format!("there is no task {task:?}; there are {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
impl Task {
    /// One of these labels, as it is, with nothing withheld.
    pub(crate) fn plain(name: &str, labels: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            output: format!("{name}_logits"),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            temperature: 1.0,
            abstain_below: 0.0,
            aliases: BTreeMap::new(),
        }
    }
}

impl Task {
    /// The label that a data set's label stands for, itself or by alias; `None` when the model does not know it.
    #[must_use]
    pub fn resolve(&self, label: &str) -> Option<&str> {
        let own = self.labels.iter().find(|known| *known == label);
        own.or_else(|| self.aliases.get(label)).map(String::as_str)
    }

    fn problems(&self, problems: &mut Vec<String>) {
        let name = &self.name;
        if !TASKS.contains(&name.as_str()) {
            problems.push(format!("task `{name}` is unknown; known are {}", TASKS.join(", ")));
        }
        let distinct: BTreeSet<&str> = self.labels.iter().map(String::as_str).collect();
        if self.labels.len() < 2 || distinct.len() != self.labels.len() || distinct.contains("") {
            problems.push(format!("task `{name}` needs two or more labels, none empty, none twice"));
        }
        if name == "sentiment" && distinct != BTreeSet::from(SENTIMENTS) {
            problems.push(format!("the labels of `sentiment` must be {}", SENTIMENTS.join(", ")));
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            problems.push(format!("the temperature of `{name}` must be above 0, not {}", self.temperature));
        }
        if !(0.0..=1.0).contains(&self.abstain_below) {
            problems.push(format!("`abstain_below` of `{name}` must be from 0 to 1, not {}", self.abstain_below));
        }
        for (alias, label) in self.aliases.iter().filter(|(_, label)| !distinct.contains(label.as_str())) {
            problems.push(format!("alias `{alias}` of `{name}` names the unknown label `{label}`"));
        }
    }
}

impl Variant {
    fn problems(&self, tasks: &[Task], problems: &mut Vec<String>) {
        let precision = &self.precision;
        if !["int8", "fp16", "fp32"].contains(&precision.as_str()) {
            problems.push(format!("precision `{precision}` is unknown; known are int8, fp16, fp32"));
        }
        if self.devices.is_empty() || self.devices.iter().any(|device| device != "cpu" && device != "cuda") {
            problems.push(format!("the devices of variant `{precision}` must be cpu, cuda or both"));
        }
        file_problems(&self.file, &self.sha256, problems);
        if self.golden.is_empty() {
            problems.push(format!("variant `{precision}` has no golden inputs"));
        }
        for (name, output) in self.golden.iter().flat_map(|golden| &golden.outputs) {
            let task = tasks.iter().find(|task| task.name == *name);
            if !task.is_some_and(|task| task.labels.contains(&output.label)) {
                problems.push(format!("golden output `{}` of task `{name}` is no label of the model", output.label));
            }
        }
    }
}

fn file_problems(file: &str, sha256: &str, problems: &mut Vec<String>) {
    if !plain(file) {
        problems.push(format!("`{file}` must be a file name without a folder"));
    }
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
        problems.push(format!("the sha256 of `{file}` must be 64 hexadecimal digits in lower case"));
    }
}

/// A name that can stand in a path without leaving its folder.
fn plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use serde_json::{Value, json};

    use super::*;

    fn sample() -> Value {
        json!({
            "format": 1, "name": "finance-en", "version": "1", "parent": null,
            "created_at": "2026-03-02T13:30:00Z", "languages": ["en"], "max_tokens": 128,
            "tasks": [
                {"name": "sentiment", "output": "sentiment_logits", "labels": ["negative", "neutral", "positive"],
                 "temperature": 1.2, "abstain_below": 0.4},
                {"name": "topic", "output": "topic_logits", "labels": ["earnings", "legal"],
                 "temperature": 1.0, "abstain_below": 0.3, "aliases": {"Earnings": "earnings"}}
            ],
            "variants": [{
                "precision": "int8", "file": "model.int8.onnx", "devices": ["cpu"], "sha256": "0".repeat(64), "opset": 17,
                "golden": [{"text": "Acme wins", "outputs": {"sentiment": {"label": "positive", "probability": 0.9}}}]
            }],
            "files": {"tokenizer.json": "0".repeat(64), "config.json": "0".repeat(64)},
            "training": {}, "metrics": {}, "parameters": {}
        })
    }

    fn parse(value: &Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_good_manifest_is_read_and_reads_back() {
        let manifest = parse(&sample()).unwrap();
        assert_eq!(manifest.variant_for("cpu").map(|variant| variant.precision.as_str()), Some("int8"));
        assert!(manifest.variant_for("cuda").is_none());
        let topic = manifest.task("topic").unwrap();
        assert_eq!(topic.resolve("Earnings"), Some("earnings"));
        assert_eq!(topic.resolve("legal"), Some("legal"));
        assert_eq!(topic.resolve("Legal"), None);
        assert_eq!(Manifest::parse(&serde_json::to_vec(&manifest).unwrap()), Ok(manifest));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let mut value = sample();
        value["tasks"][0]["weight"] = json!(2);
        let error = parse(&value).unwrap_err();
        assert!(error.to_string().contains("unknown field `weight`"), "{error}");
    }

    #[test]
    fn another_format_is_said_before_anything_else() {
        let mut value = sample();
        value["format"] = json!(2);
        value["surprise"] = json!(true);
        assert_eq!(parse(&value), Err(ManifestError::Format(2)));
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let mut value = sample();
        value["languages"] = json!(["eng"]);
        value["tasks"][0]["temperature"] = json!(0.0);
        value["tasks"][1]["aliases"] = json!({"Legal": "law"});
        value["variants"][0]["file"] = json!("../model.onnx");
        value["variants"][0]["golden"][0]["outputs"]["sentiment"]["label"] = json!("glad");
        let problems = match parse(&value) {
            Err(ManifestError::Wrong(problems)) => problems,
            other => vec![format!("{other:?}")],
        };
        assert_eq!(problems.len(), 5, "{problems:#?}");
    }

    #[test]
    fn a_path_in_the_name_is_refused() {
        let mut value = sample();
        value["name"] = json!("a/../../b");
        assert!(matches!(parse(&value), Err(ManifestError::Wrong(_))));
    }
}
