//! The scorer's port, packing, calibration, the manifest and the slot.

mod settings;

pub use settings::{Device, ModelSettings};
