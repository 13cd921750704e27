//! From archived samples to a better model: today, how good a model is, and which one answers.
//!
//! [`evaluate`] asks a model about rows whose answers people gave and says how often it agrees. [`Registry`] names the
//! version that answers and remembers who named it and why. Training itself is the trainer's (`trainer/`, Python).

mod evaluate;
mod measure;
mod registry;
mod row;

pub use evaluate::{EvaluateError, Report, evaluate};
pub use measure::{Class, Confusion, TaskReport};
pub use registry::{Action, Change, Registry, RegistryError, Version, Warrant};
pub use row::{LabelledRow, Line};
