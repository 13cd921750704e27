//! The signal stage without its core.

#[path = "../../src/pipeline/signal/arrivals.rs"]
mod arrivals;
#[path = "../../src/pipeline/signal/desk.rs"]
mod desk;
#[path = "../../src/pipeline/signal/due.rs"]
mod due;
#[path = "../../src/pipeline/signal/memory.rs"]
mod memory;
#[path = "../../src/pipeline/signal/restored.rs"]
mod restored;
#[path = "../../src/pipeline/signal/state.rs"]
mod state;

pub use memory::SignalSettings;
pub use state::{Counts, Finding, PartitionState};
