//! Assembly of the three stages.

mod settings;

pub use settings::{Settings, Topics};
