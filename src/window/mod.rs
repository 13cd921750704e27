//! Windows of mentions, novelty and the index.

mod settings;

pub use settings::IndexSettings;
