//! The page, metrics and health: one listener, the adapter to axum.

mod board;
mod settings;

pub use board::{Board, DeadLetterLine, Snapshot, StageStatus};
pub use settings::WebSettings;
