//! A model, loaded and checked as one: graph, tokeniser, labels, calibration and version.
//!
//! Loading verifies every hash, takes the variant that fits the device and runs the golden inputs; a bundle that exists
//! answers as it did when it was made. It is swapped whole (see [`Slot`](crate::model::Slot)) and never changed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Answer, ModelId, Verdict};
use crate::model::{
    Device, Encoded, ModelSettings, PackLimits, Readout, Reference, ScoreFailure, ScoreStats, Scorer, Task, Variant,
};
use crate::onnx::cache::Cache;
use crate::onnx::directory::{locate, manifest_of, read_verified};
use crate::onnx::graph::{Graph, GraphPlan, Place};
use crate::onnx::headroom::{self, SESSION_FILES};
use crate::onnx::lanes::Lanes;
use crate::onnx::opset::opset_of;
use crate::onnx::reference::reference_of;
use crate::onnx::tokens::Tokens;
use crate::onnx::{BundleError, Runtime};
use crate::time::Clock;

/// How far a golden input's probability may be from the one in the manifest: processors with and without VNNI round
/// int8 products differently.
const GOLDEN_TOLERANCE: f32 = 0.02;

/// A loaded model.
pub struct Bundle {
    id: ModelId,
    device: String,
    languages: Vec<String>,
    tasks: Vec<Task>,
    directory: PathBuf,
    tokens: Tokens,
    lanes: Lanes,
    limits: PackLimits,
    cache: Cache,
    stats: Mutex<ScoreStats>,
    reference: Option<Arc<Reference>>,
    pub(super) runtime: Runtime,
    pub(super) plan: GraphPlan,
    pub(super) sha256: String,
    pub(super) clock: Arc<dyn Clock>,
}

impl Bundle {
    /// Loads the version that the settings or the file `champion` name. `clock` measures the batches.
    ///
    /// # Errors
    /// When a file is missing, altered or wrong, the device cannot be had, or a golden input has another answer; the
    /// message says which and what to do.
    pub fn load(settings: &ModelSettings, runtime: &Runtime, clock: Arc<dyn Clock>) -> Result<Self, BundleError> {
        Self::load_from(&locate(settings)?, settings, runtime, clock)
    }

    /// Loads the model in this folder, whatever its name and version.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn load_from(
        folder: &Path,
        settings: &ModelSettings,
        runtime: &Runtime,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BundleError> {
        let manifest = manifest_of(folder)?;
        for (file, sha256) in manifest.files.iter().filter(|(file, _)| *file != "tokenizer.json") {
            read_verified(&folder.join(file), sha256)?;
        }
        let tokenizer = folder.join("tokenizer.json");
        let sha256 = manifest.files.get("tokenizer.json").map(String::as_str).unwrap_or_default();
        let tokens = Tokens::new(&read_verified(&tokenizer, sha256)?, manifest.max_tokens, tokenizer)?;

        let heads: Vec<_> = manifest.tasks.iter().map(|task| (task.output.clone(), task.labels.len())).collect();
        let choice = Choice { folder, settings, runtime, heads, padding: tokens.padding() };
        let (variant, plan, graphs) = choice.open(&manifest.variants)?;

        let first = variant.golden.first().map(|golden| golden.text.as_str()).unwrap_or_default();
        let unusable =
            |failure: ScoreFailure| BundleError::Unusable { path: plan.path.clone(), reason: failure.to_string() };
        let probe = tokens.encode(first).map_err(unusable)?;
        let bundle = Self {
            id: ModelId {
                name: manifest.name.as_str().into(),
                version: manifest.version.as_str().into(),
                variant: variant.precision.as_str().into(),
            },
            device: plan.place.to_string(),
            languages: manifest.languages,
            lanes: Lanes::new(graphs, Readout::new(&manifest.tasks), probe, Arc::clone(&clock)),
            tasks: manifest.tasks,
            directory: folder.to_owned(),
            tokens,
            limits: PackLimits {
                tokens_max: settings.batch_tokens_max,
                rows_max: settings.batch_rows_max,
                run_tokens: plan.place.run_tokens(settings.batch_tokens_max),
            },
            cache: Cache::new(settings.cache_texts),
            stats: Mutex::default(),
            reference: reference_of(folder)?,
            runtime: runtime.clone(),
            sha256: variant.sha256.clone(),
            plan,
            clock,
        };
        bundle.check_golden(&variant)?;
        Ok(bundle)
    }

    /// What it answers, with the aliases under which data sets know its labels.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The folder that it was loaded from.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The golden inputs one by one, past the cache, so that a lone text is compared with a lone text.
    fn check_golden(&self, variant: &Variant) -> Result<(), BundleError> {
        for (index, golden) in variant.golden.iter().enumerate() {
            let text = self.encode(&golden.text);
            let verdict = text.and_then(|text| {
                let (mut rows, _) = self.lanes.score(&[&text], self.limits);
                rows.pop().map_or_else(|| Err(lost()), |(_, result)| result)
            });
            for (task, expected) in &golden.outputs {
                let found = verdict.as_ref().map(|verdict| answer_of(verdict, task));
                let same = |answer: &Answer| {
                    answer.best().is_some_and(|(label, probability)| {
                        **label == *expected.label && (probability - expected.probability).abs() <= GOLDEN_TOLERANCE
                    })
                };
                if found.is_ok_and(same) {
                    continue;
                }
                return Err(BundleError::Golden {
                    path: self.plan.path.clone(),
                    number: index + 1,
                    task: task.clone(),
                    expected: format!("{} {:.3}", expected.label, expected.probability),
                    found: match found {
                        Ok(answer) => {
                            answer.best().map_or_else(|| "nothing".to_owned(), |(l, p)| format!("{l} {p:.3}"))
                        }
                        Err(failure) => failure.to_string(),
                    },
                });
            }
        }
        Ok(())
    }
}

impl Scorer for Bundle {
    fn reference(&self) -> Option<Arc<Reference>> {
        self.reference.clone()
    }

    fn unknown_token(&self) -> Option<u32> {
        self.tokens.unknown()
    }

    fn id(&self) -> &ModelId {
        &self.id
    }

    fn device(&self) -> &str {
        &self.device
    }

    fn languages(&self) -> &[String] {
        &self.languages
    }

    fn encode(&self, cleaned: &str) -> Result<Encoded, ScoreFailure> {
        self.tokens.encode(cleaned)
    }

    fn score(&self, pool: &[Encoded]) -> Vec<Result<Verdict, ScoreFailure>> {
        let mut results: Vec<Option<Result<Verdict, ScoreFailure>>> =
            self.cache.look_up(pool).into_iter().map(|known| known.map(Ok)).collect();
        // Equal texts are asked once: `asked` has each, `twins` where its copies stand.
        let mut asked: Vec<&Encoded> = Vec::new();
        let mut twins: Vec<Vec<usize>> = Vec::new();
        let mut places: std::collections::HashMap<&[u32], usize> = std::collections::HashMap::new();
        for (index, (text, known)) in pool.iter().zip(&results).enumerate() {
            if known.is_some() {
                continue;
            }
            let place = *places.entry(&text.ids).or_insert_with(|| {
                asked.push(text);
                twins.push(Vec::new());
                asked.len() - 1
            });
            if let Some(copies) = twins.get_mut(place) {
                copies.push(index);
            }
        }
        let (scored, batches) = self.lanes.score(&asked, self.limits);
        self.cache.keep(scored.iter().filter_map(|(row, result)| Some((*asked.get(*row)?, result.as_ref().ok()?))));
        self.note(pool.len(), asked.len(), batches);
        for (row, result) in scored {
            for &index in twins.get(row).into_iter().flatten() {
                if let Some(place) = results.get_mut(index) {
                    *place = Some(result.clone());
                }
            }
        }
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(lost()))).collect()
    }

    fn take_stats(&self) -> ScoreStats {
        std::mem::take(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bundle {
    fn note(&self, texts: usize, asked: usize, batches: Vec<crate::model::BatchStats>) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.cache_misses += asked as u64;
        stats.cache_hits += (texts - asked) as u64;
        batches.into_iter().for_each(|batch| stats.note(batch));
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("id", &self.id).field("device", &self.device).finish_non_exhaustive()
    }
}

/// A row that no lane gave back: its thread died.
fn lost() -> ScoreFailure {
    ScoreFailure::Broken("a thread that ran the model died".to_owned())
}

/// A task's part of a verdict.
pub(super) fn answer_of<'a>(verdict: &'a Verdict, task: &str) -> &'a Answer {
    if task == "topic" { &verdict.topic } else { &verdict.sentiment }
}

/// What is needed to choose a variant and to open its sessions.
struct Choice<'a> {
    folder: &'a Path,
    settings: &'a ModelSettings,
    runtime: &'a Runtime,
    heads: Vec<(String, usize)>,
    padding: u32,
}

type Opened = (Variant, GraphPlan, Vec<Graph>);

impl Choice<'_> {
    /// Opens the sessions on the device that the settings ask for. Only `auto` falls back, and says so.
    fn open(&self, variants: &[Variant]) -> Result<Opened, BundleError> {
        match self.settings.device {
            Device::Cpu => self.open_at(Place::Cpu, variants),
            Device::Cuda(device) => self.open_at(Place::Cuda(device), variants),
            Device::Auto => match self.open_at(Place::Cuda(0), variants) {
                Ok(opened) => {
                    tracing::info!("device = auto: cuda:0");
                    Ok(opened)
                }
                Err(reason) => {
                    tracing::info!("device = auto: the processor");
                    tracing::debug!(%reason, "no CUDA device");
                    self.open_at(Place::Cpu, variants)
                }
            },
        }
    }

    fn open_at(&self, place: Place, variants: &[Variant]) -> Result<Opened, BundleError> {
        let kind = match place {
            Place::Cpu => "cpu",
            Place::Cuda(_) => "cuda",
        };
        if kind == "cuda" && !self.runtime.has_cuda() {
            let library = self.runtime.info().path.display();
            let reason = format!("{library} was built without CUDA (onnxruntime-gpu has it)");
            return Err(BundleError::NoDevice { device: place.to_string(), reason });
        }
        let fits = |variant: &&Variant| variant.devices.iter().any(|device| device == kind);
        let Some(variant) = variants.iter().find(fits) else {
            let have = variants.iter().flat_map(|variant| variant.devices.iter().cloned()).collect();
            return Err(BundleError::NoVariant { path: self.folder.to_owned(), device: place.to_string(), have });
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (sessions, threads) = match place {
            Place::Cpu => (or(self.settings.sessions, cores), or(self.settings.threads, 1)),
            Place::Cuda(_) => (or(self.settings.sessions, 1), self.settings.threads),
        };
        let path = self.folder.join(&variant.file);
        headroom::check(&path, 1 + SESSION_FILES * sessions as u64)?;
        let bytes = read_verified(&path, &variant.sha256)?;
        let unusable = |reason| BundleError::Unusable { path: path.clone(), reason };
        let opset = opset_of(&bytes).map_err(unusable)?;
        if opset != variant.opset {
            let named = variant.opset;
            return Err(unusable(format!("it is made of operator set {opset}, the manifest says {named}")));
        }
        let cuda_memory_max = self.settings.cuda_memory_max;
        let plan =
            GraphPlan { path, place, threads, cuda_memory_max, heads: self.heads.clone(), padding: self.padding };
        let graphs: Result<Vec<Graph>, BundleError> =
            (0..sessions).map(|_| Graph::open(self.runtime, &bytes, &plan)).collect();
        Ok((variant.clone(), plan, graphs?))
    }
}

/// The setting, or what 0 stands for.
const fn or(setting: usize, default: usize) -> usize {
    if setting == 0 { default } else { setting }
}
