//! A replay: the mark that a dead letter was sent to its topic again, so that no other replay sends it once more.

use serde::{Deserialize, Serialize};

use crate::event::Origin;
use crate::time::Timestamp;

/// The mark, on the dead-letter topic. It is written in one transaction with the record that it stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The letter's origin with `replay` behind it: the same, however often the letter stands on the topic.
    pub id: String,
    /// The record that had become a dead letter.
    pub origin: Origin,
    /// When it was sent again.
    pub at: Timestamp,
}

impl Replay {
    /// The mark of the letter that `origin` became.
    #[must_use]
    pub fn of(origin: Origin, at: Timestamp) -> Self {
        Self { id: origin.id_for("replay"), origin, at }
    }
}
