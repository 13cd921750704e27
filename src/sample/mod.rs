//! Which scored posts are kept for training.

mod decide;
mod mix;
mod settings;
mod weigh;

pub use decide::{Choice, Kept, is_drawn};
pub use mix::choose;
pub use settings::{Policy, Quota, Strategy};
