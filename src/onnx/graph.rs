//! One session over one graph: builds it for a device and runs one batch through it.
//!
//! Inputs are discovered: of `input_ids`, `attention_mask` and `token_type_ids` the graph gets those that it has. One
//! pass answers all tasks; each task's logits are an output of the graph.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ort::session::{Session, SessionInputValue};
use ort::value::{TensorElementType, TensorRef, ValueType};

use crate::model::Encoded;
use crate::onnx::{BundleError, Runtime};

/// Where a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Cpu,
    Cuda(u32),
}

/// What one run on the processor costs beside its tokens, in tokens. With the shipped model `bellwether bench` gives
/// 3.2 ms for a text alone and 2.5 ms for one of a pool of 1,024 (a session of one thread, 27 tokens on average).
const RUN_TOKENS_CPU: usize = 8;

impl Place {
    /// What one run costs beside its tokens. CUDA's start of a run costs as much as a batch of many tokens.
    pub(super) const fn run_tokens(self, tokens_max: usize) -> usize {
        match self {
            Self::Cpu => RUN_TOKENS_CPU,
            Self::Cuda(_) => tokens_max,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(device) => write!(f, "cuda:{device}"),
        }
    }
}

/// What a session needs to know of its graph.
#[derive(Debug, Clone)]
pub(super) struct GraphPlan {
    /// The graph's file, for errors.
    pub(super) path: PathBuf,
    /// Where it runs.
    pub(super) place: Place,
    /// Threads inside an operator; 0: as many as ONNX Runtime likes.
    pub(super) threads: usize,
    /// Bytes of a GPU's memory that its arena may take.
    pub(super) cuda_memory_max: usize,
    /// Output name and number of classes of each task.
    pub(super) heads: Vec<(String, usize)>,
    /// The id that fills rows up.
    pub(super) padding: u32,
}

/// A session with its buffers.
#[derive(Debug)]
pub(super) struct Graph {
    session: Session,
    inputs: Vec<Input>,
    heads: Vec<(String, usize)>,
    padding: i64,
    ids: Vec<i64>,
    mask: Vec<i64>,
    kinds: Vec<i64>,
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Ids,
    Mask,
    Kinds,
}

impl Input {
    const fn name(self) -> &'static str {
        match self {
            Self::Ids => "input_ids",
            Self::Mask => "attention_mask",
            Self::Kinds => "token_type_ids",
        }
    }
}

impl Graph {
    /// A session over `bytes`.
    ///
    /// # Errors
    /// When the device cannot be had, or the graph does not have the inputs and outputs that the manifest promises.
    pub(super) fn open(runtime: &Runtime, bytes: &[u8], plan: &GraphPlan) -> Result<Self, BundleError> {
        let session = open_session(runtime, bytes, plan)?;
        let unusable = |reason: String| BundleError::Unusable { path: plan.path.clone(), reason };
        let inputs = discover_inputs(&session).map_err(unusable)?;
        for (output, classes) in &plan.heads {
            check_head(&session, output, *classes).map_err(unusable)?;
        }
        Ok(Self {
            session,
            inputs,
            heads: plan.heads.clone(),
            padding: i64::from(plan.padding),
            ids: Vec::new(),
            mask: Vec::new(),
            kinds: Vec::new(),
        })
    }

    /// Runs one batch: for each task the logits of all rows, row after row.
    ///
    /// # Errors
    /// What ONNX Runtime says, or that an output has another shape than it promised.
    pub(super) fn run(&mut self, rows: &[&Encoded]) -> Result<Vec<Vec<f32>>, String> {
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0).max(1);
        self.fill(rows, longest);
        let shape = [rows.len(), longest];
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let data = match input {
                Input::Ids => &self.ids,
                Input::Mask => &self.mask,
                Input::Kinds => &self.kinds,
            };
            let tensor = TensorRef::from_array_view((shape, data.as_slice())).map_err(|error| error.to_string())?;
            values.push((Cow::Borrowed(input.name()), tensor.into()));
        }
        let outputs = self.session.run(values).map_err(|error| error.to_string())?;
        let mut logits = Vec::with_capacity(self.heads.len());
        for (name, classes) in &self.heads {
            let output = outputs.get(name).ok_or_else(|| format!("it gave no output `{name}`"))?;
            let (_, data) = output.try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
            if data.len() != rows.len() * classes {
                return Err(format!("its output `{name}` has {} values for {} rows", data.len(), rows.len()));
            }
            logits.push(data.to_vec());
        }
        Ok(logits)
    }

    fn fill(&mut self, rows: &[&Encoded], longest: usize) {
        self.ids.clear();
        self.mask.clear();
        for row in rows {
            let padding = longest - row.ids.len();
            self.ids.extend(row.ids.iter().map(|&id| i64::from(id)));
            self.ids.extend(std::iter::repeat_n(self.padding, padding));
            self.mask.extend(std::iter::repeat_n(1, row.ids.len()));
            self.mask.extend(std::iter::repeat_n(0, padding));
        }
        self.kinds.clear();
        self.kinds.resize(rows.len() * longest, 0);
    }
}

fn open_session(runtime: &Runtime, bytes: &[u8], plan: &GraphPlan) -> Result<Session, BundleError> {
    let unusable = |reason: String| BundleError::Unusable { path: plan.path.clone(), reason };
    let builder = Session::builder(runtime.environment()).map_err(|error| unusable(error.to_string()))?;
    // A lane without work waits without burning a core; lanes run side by side, so the graph itself runs in order.
    let builder = builder.with_intra_op_spinning(false).map_err(|error| unusable(error.to_string()))?;
    let builder = builder.with_intra_threads(plan.threads).map_err(|error| unusable(error.to_string()))?;
    let mut builder = match plan.place {
        Place::Cpu => builder,
        Place::Cuda(device) => {
            preload_cuda(&runtime.info().path);
            let id = i32::try_from(device).unwrap_or(i32::MAX);
            let provider = ort::ep::CUDA::default().with_device_id(id);
            // Without a bound, and grown by doubling, its arena takes what others on that GPU need.
            let provider = provider.with_memory_limit(plan.cuda_memory_max);
            let provider = provider.with_arena_extend_strategy(ort::ep::ArenaExtendStrategy::SameAsRequested);
            let provider = provider.build().error_on_failure();
            let missing = |reason: String| BundleError::NoDevice { device: plan.place.to_string(), reason };
            builder.with_execution_providers([provider]).map_err(|error| missing(error.to_string()))?
        }
    };
    builder.commit_from_memory(bytes).map_err(|error| unusable(error.to_string()))
}

/// The outputs of a graph that can hold logits: rows of float32.
///
/// # Errors
/// [`BundleError::Unusable`] when it cannot be opened on the processor, or has inputs that we do not have.
pub(super) fn outputs_of(runtime: &Runtime, bytes: &[u8], path: &Path) -> Result<Vec<String>, BundleError> {
    let plan = GraphPlan {
        path: path.to_owned(),
        place: Place::Cpu,
        threads: 1,
        cuda_memory_max: 0,
        heads: Vec::new(),
        padding: 0,
    };
    let session = open_session(runtime, bytes, &plan)?;
    discover_inputs(&session).map_err(|reason| BundleError::Unusable { path: path.to_owned(), reason })?;
    let has_rows = |kind: &ValueType| match kind {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => shape.len() == 2,
        _ => false,
    };
    let rows = session.outputs().iter().filter(|outlet| has_rows(outlet.dtype()));
    Ok(rows.map(|outlet| outlet.name().to_owned()).collect())
}

/// CUDA's and cuDNN's libraries may lie beside ONNX Runtime's; else the system's loader finds them, or the provider
/// says what it misses.
fn preload_cuda(library: &Path) {
    let Some(folder) = library.parent() else { return };
    let has = |name: &str| folder.join(name).exists().then_some(folder);
    if let Err(error) = ort::ep::cuda::preload_dylibs(has("libcudart.so.13"), has("libcudnn.so.9")) {
        tracing::warn!(%error, "cuda's libraries beside onnx runtime cannot be loaded");
    }
}

fn discover_inputs(session: &Session) -> Result<Vec<Input>, String> {
    let mut inputs = Vec::new();
    for outlet in session.inputs() {
        let input = match outlet.name() {
            "input_ids" => Input::Ids,
            "attention_mask" => Input::Mask,
            "token_type_ids" => Input::Kinds,
            other => return Err(format!("its input `{other}` is unknown")),
        };
        if !matches!(outlet.dtype(), ValueType::Tensor { ty: TensorElementType::Int64, .. }) {
            return Err(format!("its input `{}` is no tensor of int64", outlet.name()));
        }
        inputs.push(input);
    }
    let has_ids = inputs.iter().any(|input| matches!(input, Input::Ids));
    if has_ids { Ok(inputs) } else { Err("it has no input `input_ids`".to_owned()) }
}

fn check_head(session: &Session, output: &str, classes: usize) -> Result<(), String> {
    let Some(outlet) = session.outputs().iter().find(|outlet| outlet.name() == output) else {
        return Err(format!("it has no output `{output}`"));
    };
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = outlet.dtype() else {
        return Err(format!("its output `{output}` is no tensor of float32"));
    };
    match shape.last() {
        Some(&width) if width >= 0 && usize::try_from(width) != Ok(classes) => {
            Err(format!("its output `{output}` has {width} classes, the manifest names {classes} labels"))
        }
        _ => Ok(()),
    }
}
