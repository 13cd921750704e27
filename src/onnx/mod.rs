//! ONNX Runtime and the tokeniser: the one real [`Scorer`](crate::model::Scorer).
//!
//! [`runtime`] loads ONNX Runtime's library, once a process. [`Bundle`] is a model directory, loaded and checked as one.
//! Inside it `lanes` spread a pool over sessions, `graph` runs one batch, `cache` remembers the texts scored a moment
//! ago; `bare` measures the sessions with nothing around them. [`Import`] makes a directory of what others exported. What a batch is and what logits mean is `model`'s.
//!
//! A dynamically quantised graph rounds activations by the largest of the whole batch, so a text's probabilities move
//! with its neighbours. The shipped one is quantised with fixed scales: there they do not, as in full precision.

mod bare;
mod bundle;
mod cache;
mod champion;
mod directory;
mod graph;
mod headroom;
mod import;
mod lanes;
mod opset;
mod reference;
mod runtime;
mod tokens;

pub use bare::{BareRun, Combination, cpu_time};
pub use bundle::Bundle;
pub use champion::{Champion, Named};
pub use directory::{BundleError, challenger_of, champion_of, graph_bytes, is_version, manifest, manifest_of};
pub use headroom::SESSION_FILES;
pub use import::{Import, ImportError};
pub use reference::REFERENCE;
pub use runtime::{Runtime, RuntimeError, RuntimeHints, RuntimeInfo, runtime};
