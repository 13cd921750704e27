//! Assembly of the three stages.

mod settings;
pub mod signal;

pub use settings::{Settings, Topics};
