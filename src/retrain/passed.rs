//! What the gate said of a version, as it stands in that version's folder: whoever promotes it later reads it there.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::retrain::Decision;

/// The file.
pub(super) const PASSED: &str = "verdict.json";

/// What the gate said of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Whether it may answer.
    pub passed: bool,
    /// The champion it was held against.
    pub champion: String,
    /// Why not.
    pub reasons: Vec<String>,
    /// Whether the same could pass another time, see [`Decision::may_change`].
    #[serde(default)]
    pub may_change: bool,
}

impl Passed {
    /// What is kept of a decision.
    pub(super) fn of(decision: &Decision, champion: &str) -> Self {
        let (reasons, may_change) = (decision.reasons(), decision.may_change());
        Self { passed: decision.passed, champion: champion.to_owned(), reasons, may_change }
    }
}

/// What the gate said of the version in this folder; `None` where it was never asked.
#[must_use]
pub fn gate_of(version: &Path) -> Option<Passed> {
    serde_json::from_slice(&std::fs::read(version.join(PASSED)).ok()?).ok()
}
