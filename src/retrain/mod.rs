//! From archived samples to a better model: today, how good a model is.
//!
//! [`evaluate`] asks a model about rows whose answers people gave and says how often it agrees. Training itself is the
//! trainer's (`trainer/`, Python); which model answers is decided by the model directory, read in `onnx`.

mod evaluate;
mod measure;
mod row;

pub use evaluate::{EvaluateError, Report, evaluate};
pub use measure::{Class, Confusion, TaskReport};
pub use row::{LabelledRow, Line};
