//! What `config` needs of the model's adapter: the files of a model directory, without a runtime.

#[path = "../../src/onnx/directory.rs"]
mod directory;
#[path = "../../src/onnx/headroom.rs"]
mod headroom;

pub use directory::{BundleError, manifest};

/// There is no runtime here.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {}
