//! The page, metrics and health: one listener, the adapter to axum.
//!
//! | route | answer |
//! | --- | --- |
//! | `/` | the page: stages, firing alerts, the index, latest posts and dead letters; its script asks `/live` every second |
//! | `/live` | the [`Snapshot`] of the [`Board`] as JSON |
//! | `/metrics` | Prometheus' text format |
//! | `/livez` | 200 while the process serves |
//! | `/readyz` | 200, or 503 with which stage does not work and why |
//!
//! What posts say is untrusted: the page inserts it as text only, and its Content-Security-Policy allows nothing but
//! its own script and style. There is no login, so the default is to listen on this machine alone. Connections are
//! counted, and none stays open without asking (`door`).

mod answer;
mod board;
mod door;
mod lines;
mod server;
mod settings;

pub use board::{Board, Snapshot, StageStatus};
pub use lines::{AlertLine, Answered, DeadLetterLine, FiringLine, Lean, PostLine};
pub use server::{Parts, Running, Server, WebError};
pub use settings::WebSettings;
