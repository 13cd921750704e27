//! What `config` needs of the pipeline: its settings, and the state of a partition that a file's own tests play.

#[path = "../../src/pipeline/limit.rs"]
mod limit;
#[path = "../../src/pipeline/settings.rs"]
mod settings;
#[path = "signal.rs"]
pub mod signal;

pub use limit::DeadLetterLimit;
pub use settings::{Settings, Topics};
