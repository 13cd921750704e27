//! Where a record came from: the root of every deterministic id.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::shared::shared;

/// The place of one record on a log. Its `Display`, `topic+partition+offset`, is the id of what was made from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Topic name.
    #[serde(deserialize_with = "shared")]
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
}

impl Origin {
    /// The id of what this record caused for `part` (a subject, a rule and subject): `topic+partition+offset+part`.
    #[must_use]
    pub fn id_for(&self, part: impl fmt::Display) -> String {
        format!("{self}+{part}")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.topic, self.partition, self.offset)
    }
}
