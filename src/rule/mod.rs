//! Rules and the life of an alert.

mod settings;

pub use settings::{Bound, Rule, SubjectPattern};
