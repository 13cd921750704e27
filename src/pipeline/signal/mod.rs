//! The signal stage: mentions in, index and alerts out.

mod arrivals;
mod core;
mod desk;
mod due;
mod memory;
mod restored;
mod state;

pub use core::{SignalCore, SignalNote};
pub use memory::SignalSettings;
pub use state::{Counts, Finding, PartitionState};

#[cfg(test)]
mod tests;
