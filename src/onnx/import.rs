//! A classifier with one head, as Hugging Face's exporters write it (`model.onnx`, `config.json`, `tokenizer.json`),
//! made into a model directory of ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::model::{Golden, GoldenOutput, Manifest, ManifestError, ModelSettings, Scorer as _, Task, Variant};
use crate::onnx::bundle::answer_of;
use crate::onnx::directory::{read_plain, sha256_of};
use crate::onnx::graph::outputs_of;
use crate::onnx::headroom::{self, SESSION_FILES};
use crate::onnx::opset::opset_of;
use crate::onnx::{Bundle, BundleError, Runtime, is_version};
use crate::time::Clock;

/// Where exporters put the graph, the first that is there.
const GRAPHS: [&str; 4] = ["model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx"];
/// Tokens of the longest input unless told otherwise: longer ones are rare, and dear.
const TOKENS_MAX: usize = 512;
/// Bytes of a file of settings, and of a tokeniser; what is larger is neither.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;
const TOKENISER_BYTES_MAX: u64 = 64 << 20;
/// How sentiments are called elsewhere.
const SENTIMENTS: [(&str, &[&str]); 3] = [
    ("negative", &["negative", "neg", "bearish"]),
    ("neutral", &["neutral", "neu"]),
    ("positive", &["positive", "pos", "bullish"]),
];
/// Texts whose answers are written into the manifest, so that a changed file or runtime shows at once.
const GOLDEN: [&str; 6] = [
    "Tamarack Air lifts its full-year forecast after record bookings",
    "Corvane Chemicals warns of a loss and halts its dividend",
    "Verity Bank will publish its annual report on 4 March",
    "$KLDR - Kalder Robotics cut to underperform, shares slide 7%",
    "Central bank leaves its main rate unchanged",
    "Ostend Shipping wins a ten-year contract worth $900 million",
];

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// The exporter's folder.
    pub from: PathBuf,
    /// The graph in it; without one, where exporters put it.
    pub graph: Option<PathBuf>,
    /// The folder of the model's versions; its name is the model's.
    pub model: PathBuf,
    /// The version to be made.
    pub version: String,
    /// What the head answers: `sentiment` or `topic`.
    pub task: String,
    /// The model's own names of classes, to ours.
    pub classes: BTreeMap<String, String>,
    /// Tokens of the longest input; without a number, what the model was made for, but no more than 512.
    pub tokens_max: Option<usize>,
    /// The best probability below which it abstains.
    pub abstain_below: f32,
    /// Languages it knows, ISO 639-1; empty: any.
    pub languages: Vec<String>,
}

/// Why a model cannot be imported. Every message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The version is there, or cannot be one.
    #[error("{} cannot be made: {reason}", path.display())]
    Version {
        /// The version's folder.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file says what we cannot take.
    #[error("{}: {reason}", path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// What was made of it is no model.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It does not run.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    id2label: BTreeMap<String, String>,
    #[serde(default)]
    problem_type: Option<String>,
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    max_position_embeddings: Option<i64>,
    #[serde(default)]
    pad_token_id: Option<i64>,
}

/// What is read of `tokenizer_config.json`, which may be missing. Some write 10^30 for "no limit".
#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    model_max_length: Option<f64>,
}

impl Import {
    /// Makes the version, asks it the golden texts and loads it as a pipeline would. A failure leaves nothing that
    /// anything would load.
    ///
    /// # Errors
    /// When the export cannot be read, taken or run, or the version is there already.
    pub fn run(
        &self,
        settings: &ModelSettings,
        runtime: &Runtime,
        clock: &Arc<dyn Clock>,
    ) -> Result<Manifest, ImportError> {
        let refused = |reason| ImportError::Version { path: self.model.join(&self.version), reason };
        if !is_version(&self.version) {
            return Err(refused("a version has letters, digits, - and _"));
        }
        file(&self.model, std::fs::create_dir_all(&self.model))?;
        // By its own name, as whoever opens it looks for it, and not by that of a link to it.
        let model = file(&self.model, self.model.canonicalize())?;
        let place = model.join(&self.version);
        if place.exists() {
            return Err(refused("it is there; choose another version"));
        }
        let making = model.join(format!(".importing-{}-{}", self.version, std::process::id()));
        file(&making, std::fs::create_dir(&making))?;
        let made = self.make(&making, settings, runtime, clock);
        let made = made.and_then(|manifest| {
            file(&place, std::fs::rename(&making, &place).and_then(|()| File::open(&model)?.sync_all()))?;
            Ok(manifest)
        });
        if made.is_err() {
            // What failed is what is told.
            let _ = std::fs::remove_dir_all(&making);
        }
        made
    }

    fn make(
        &self,
        making: &Path,
        settings: &ModelSettings,
        runtime: &Runtime,
        clock: &Arc<dyn Clock>,
    ) -> Result<Manifest, ImportError> {
        let config: Config = self.read("config.json")?;
        let graph = self.graph_file()?;
        headroom::check(&graph, 1 + SESSION_FILES)?;
        let bytes = read(&graph, u64::MAX)?;
        let opset = opset_of(&bytes).map_err(|reason| export(&graph, reason))?;
        let tokenizer = self.from.join("tokenizer.json");
        if !tokenizer.exists() {
            let remedy = "it is missing; save the tokeniser as one file (use_fast=True, save_pretrained)";
            return Err(export(&tokenizer, remedy.to_owned()));
        }
        let tokens = read(&tokenizer, TOKENISER_BYTES_MAX)?;
        let (labels, aliases) = self.labels(&config)?;
        let output = head_of(outputs_of(runtime, &bytes, &graph)?).map_err(|reason| export(&graph, reason))?;

        let precision = precision_of(&graph);
        let name = format!("model.{precision}.onnx");
        write(&making.join(&name), &bytes)?;
        write(&making.join("tokenizer.json"), &tokens)?;
        let devices: &[&str] = if precision == "int8" { &["cpu"] } else { &["cpu", "cuda"] };
        let golden = |text: &&str| Golden { text: (*text).to_owned(), outputs: BTreeMap::new() };
        let mut manifest = Manifest {
            format: 1,
            name: making.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned(),
            version: self.version.clone(),
            parent: None,
            created_at: clock.now(),
            languages: self.languages.clone(),
            max_tokens: self.tokens_max(&config)?,
            tasks: vec![Task {
                name: self.task.clone(),
                output,
                labels,
                temperature: 1.0,
                abstain_below: self.abstain_below,
                aliases,
            }],
            variants: vec![Variant {
                precision: precision.to_owned(),
                file: name,
                devices: devices.iter().map(|&device| device.to_owned()).collect(),
                sha256: sha256_of(&bytes),
                opset,
                golden: GOLDEN.iter().map(golden).collect(),
            }],
            files: BTreeMap::from([("tokenizer.json".to_owned(), sha256_of(&tokens))]),
            training: serde_json::json!({ "imported": { "model_type": config.model_type } }),
            metrics: serde_json::Value::Null,
            parameters: serde_json::Value::Null,
        };
        drop(bytes);
        let load = || Bundle::load_from(making, settings, runtime, Arc::clone(clock));
        describe(&manifest, making)?;
        let answers = self.ask(&load()?)?;
        for (golden, answer) in manifest.variants.iter_mut().flat_map(|variant| &mut variant.golden).zip(answers) {
            golden.outputs.insert(self.task.clone(), answer);
        }
        describe(&manifest, making)?;
        load()?;
        Ok(manifest)
    }

    /// The golden answers, each text by itself.
    fn ask(&self, bundle: &Bundle) -> Result<Vec<GoldenOutput>, ImportError> {
        let failed = |reason: String| export(&self.from, format!("it cannot answer: {reason}"));
        let answer = |text: &&str| {
            let encoded = bundle.encode(text).map_err(|failure| failed(failure.to_string()))?;
            let verdict = bundle.score(&[encoded]).pop().ok_or_else(|| failed("nothing came back".to_owned()))?;
            let verdict = verdict.map_err(|failure| failed(failure.to_string()))?;
            let best = answer_of(&verdict, &self.task).best();
            let (label, probability) = best.ok_or_else(|| failed("it has no classes".to_owned()))?;
            Ok(GoldenOutput { label: label.to_string(), probability })
        };
        GOLDEN.iter().map(answer).collect()
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, ImportError> {
        let path = self.from.join(name);
        let json = read(&path, SETTINGS_BYTES_MAX)?;
        serde_json::from_slice(&json).map_err(|error| export(&path, error.to_string()))
    }

    fn graph_file(&self) -> Result<PathBuf, ImportError> {
        if let Some(graph) = &self.graph {
            return Ok(self.from.join(graph));
        }
        let mut places = GRAPHS.iter().map(|graph| self.from.join(graph));
        places.find(|graph| graph.is_file()).ok_or_else(|| {
            export(&self.from, format!("it has none of {}; name the graph with --graph", GRAPHS.join(", ")))
        })
    }

    /// The classes in the order of the logits by our names, and their own names where those are others.
    fn labels(&self, config: &Config) -> Result<(Vec<String>, BTreeMap<String, String>), ImportError> {
        let path = self.from.join("config.json");
        let wrong = |reason: String| export(&path, reason);
        if let Some(kind) = config.problem_type.as_deref().filter(|kind| *kind != "single_label_classification") {
            return Err(wrong(format!("its `problem_type` is {kind}; only one class a text can be taken")));
        }
        let own: Option<Vec<&String>> =
            (0..config.id2label.len()).map(|place| config.id2label.get(&place.to_string())).collect();
        let own = own.filter(|own| !own.is_empty());
        let own = own.ok_or_else(|| wrong("`id2label` must name the classes 0, 1, 2 and so on".to_owned()))?;
        if let Some(stranger) = self.classes.keys().find(|name| !own.contains(name)) {
            let has = own.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(wrong(format!("it has no class `{stranger}`, which --class names; it has {has}")));
        }
        let (mut labels, mut aliases) = (Vec::new(), BTreeMap::new());
        for name in own {
            let label = self.classes.get(name).cloned().or_else(|| label_of(&self.task, name)).ok_or_else(|| {
                wrong(format!(
                    "which sentiment its class `{name}` is cannot be told; say it: --class {name}=negative (or neutral, positive)"
                ))
            })?;
            if label != *name {
                aliases.insert(name.clone(), label.clone());
            }
            labels.push(label);
        }
        Ok((labels, aliases))
    }

    fn tokens_max(&self, config: &Config) -> Result<usize, ImportError> {
        let mut limit = usize::MAX;
        if let Some(places) = config.max_position_embeddings {
            // RoBERTa and its kin number places from behind the padding's id on.
            let is_roberta = config.model_type.contains("roberta");
            let skipped = if is_roberta { config.pad_token_id.unwrap_or(1).saturating_add(1).max(0) } else { 0 };
            limit = usize::try_from(places.saturating_sub(skipped)).unwrap_or(0);
        }
        if self.from.join("tokenizer_config.json").exists() {
            let told: TokenizerConfig = self.read("tokenizer_config.json")?;
            limit = told.model_max_length.map_or(limit, |most| limit.min(most as usize));
        }
        match self.tokens_max {
            Some(wanted) if wanted > limit => Err(export(
                &self.from.join("config.json"),
                format!("it takes {limit} tokens, fewer than --max-tokens {wanted}"),
            )),
            wanted => Ok(wanted.unwrap_or(limit.min(TOKENS_MAX))),
        }
    }
}

fn export(path: &Path, reason: String) -> ImportError {
    ImportError::Export { path: path.to_owned(), reason }
}

fn file<T>(path: &Path, result: std::io::Result<T>) -> Result<T, ImportError> {
    result.map_err(|source| ImportError::File { path: path.to_owned(), source })
}

/// The bytes of a plain file: what has no end, or is far too large, is not begun.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ImportError> {
    match read_plain(path, bytes_max) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(export(path, error.to_string())),
        read => file(path, read),
    }
}

/// Down to the disk: the version appears under its name only when all of it is there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    file(path, File::create(path).and_then(|mut made| made.write_all(bytes).and_then(|()| made.sync_all())))
}

fn describe(manifest: &Manifest, folder: &Path) -> Result<(), ImportError> {
    let json = serde_json::to_vec_pretty(manifest).map_err(|error| export(folder, error.to_string()))?;
    Manifest::parse(&json)?;
    write(&folder.join("manifest.json"), &json)
}

/// The output that holds the logits: the only one of two dimensions, or the one with that name.
fn head_of(outputs: Vec<String>) -> Result<String, String> {
    match outputs.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err("it has no output of rows of float32; export it for text classification".to_owned()),
        several => several.iter().find(|name| *name == "logits").cloned().ok_or_else(|| {
            format!("which of its outputs holds the logits cannot be told ({}); call it `logits`", several.join(", "))
        }),
    }
}

/// By the names that exporters give.
fn precision_of(graph: &Path) -> &'static str {
    let name = graph.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    if ["int8", "quant", "q8"].iter().any(|part| name.contains(part)) {
        "int8"
    } else if name.contains("fp16") {
        "fp16"
    } else {
        "fp32"
    }
}

/// Our name of a class: a sentiment by what it is called elsewhere, a topic in small letters with hyphens.
fn label_of(task: &str, name: &str) -> Option<String> {
    let small = name.trim().to_lowercase();
    if task == "sentiment" {
        let known = SENTIMENTS.iter().find(|(_, names)| names.contains(&small.as_str()));
        return known.map(|(label, _)| (*label).to_owned());
    }
    let words: Vec<&str> = small.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join("-"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn classes_get_the_names_that_we_use() {
        for (task, name, expected) in [
            ("sentiment", "Bearish", Some("negative")),
            ("sentiment", "POSITIVE", Some("positive")),
            ("sentiment", "LABEL_0", None),
            ("topic", "Fed | Central Banks", Some("fed-central-banks")),
            ("topic", "|", None),
        ] {
            assert_eq!(label_of(task, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        assert!(read(Path::new("/dev/zero"), u64::MAX).is_err());
        assert!(read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), 10).is_err());
    }

    #[test]
    fn the_longest_input_is_what_the_model_takes_and_no_more_than_is_usual() {
        let folder = std::env::temp_dir();
        let import = |tokens_max| Import {
            from: folder.join("there-is-no-such-export"),
            graph: None,
            model: folder.clone(),
            version: "1".to_owned(),
            task: "sentiment".to_owned(),
            classes: BTreeMap::new(),
            tokens_max,
            abstain_below: 0.0,
            languages: Vec::new(),
        };
        let config = |json: &str| serde_json::from_str::<Config>(json).unwrap();
        for (json, wanted, expected) in [
            (r#"{"model_type":"roberta","max_position_embeddings":514,"pad_token_id":1}"#, None, Some(512)),
            (r#"{"model_type":"bert","max_position_embeddings":8192}"#, None, Some(512)),
            (r#"{"model_type":"bert","max_position_embeddings":8192}"#, Some(1_024), Some(1_024)),
            (r#"{"model_type":"bert","max_position_embeddings":128}"#, Some(129), None),
            (r#"{"model_type":"roberta","max_position_embeddings":-1,"pad_token_id":-1}"#, None, Some(0)),
        ] {
            assert_eq!(import(wanted).tokens_max(&config(json)).ok(), expected, "{json}");
        }
    }

    #[test]
    fn the_precision_is_told_by_the_name() {
        let told = |name: &str| precision_of(Path::new(name));
        assert_eq!(
            [told("model.onnx"), told("model_fp16.onnx"), told("model_quantized.onnx"), told("model_int8.onnx")],
            ["fp32", "fp16", "int8", "int8"]
        );
    }
}
