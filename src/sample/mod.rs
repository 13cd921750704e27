//! Which scored posts are kept for training.

mod settings;

pub use settings::Policy;
