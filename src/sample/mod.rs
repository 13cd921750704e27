//! Which scored posts are kept for training.

mod decide;
mod settings;

pub use decide::Kept;
pub use settings::Policy;
