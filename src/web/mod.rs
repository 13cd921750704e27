//! The page, metrics and health.

mod settings;

pub use settings::WebSettings;
