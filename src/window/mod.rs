//! Windows of mentions, novelty and the index: what one subject's mentions add up to at a moment of log time.
//!
//! A [`Book`] holds the mentions of one subject and keeps a [`Window`] for the index and for each rule up to date; a
//! mention costs a handful of additions, whatever the size of the window. Everything in a book is a function of the
//! records of a bounded stretch of the log: nothing that left has left a trace behind (sums are exact integers). That
//! is why a state that is rebuilt from the log equals the one that was lost.

mod book;
mod copies;
mod near;
mod pairs;
mod retractions;
mod settings;
mod sums;

pub use book::{Book, Limits, MENTION_BYTES, Place, TELLING, Taken, Told};
pub use copies::{Copies, alike};
pub use near::NearCopies;
pub use retractions::{RETRACTION_BYTES, RETRACTIONS_MAX, Retractions};
pub use settings::IndexSettings;
pub use sums::{Reading, Window};
