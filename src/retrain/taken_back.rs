//! Whether a candidate would bring back what somebody took back: after a rollback the same labels teach the same once more,
//! and a timer would name the twin of what was taken back within the day.

use std::path::Path;

use crate::retrain::cycle::RetrainError;
use crate::retrain::dataset::{DatasetReport, Side};
use crate::retrain::registry::{Action, Change, Registry};
use crate::retrain::run;

/// The files that decide what is learnt.
const LEARNT: [Side; 2] = [Side::Train, Side::Validation];

/// Why a candidate that learnt from this data set may not answer, whatever it gained: the champion was named by a
/// rollback, and the rows to learn from and to choose by are those of the version that was taken back. Where its run is
/// not known, because no label is newer than the rollback.
///
/// # Errors
/// When the registry cannot be read.
pub(super) fn objection(
    registry: &Registry,
    runs: &Path,
    dataset: &DatasetReport,
    candidate: &str,
) -> Result<Option<String>, RetrainError> {
    let naming = registry.naming()?;
    let Some(Change { action: Action::Rollback, before: Some(version), at, by, reason, .. }) = naming else {
        return Ok(None);
    };
    let (is_twin, what) = match run::learnt_by(&runs.join(&version)) {
        Some(before) => (before.hashes(&LEARNT) == dataset.hashes(&LEARNT), "it learnt from the rows of"),
        None => (dataset.labels.newest.is_none_or(|newest| newest <= at), "no label is newer than the end of"),
    };
    let why = || {
        format!(
            "{what} version {version}, which was taken back at {at} by {by}: {reason}; label more, or name it all the \
             same: bellwether model promote {candidate} --force --reason TEXT"
        )
    };
    Ok(is_twin.then(why))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::retrain::Warrant;
    use crate::time::Timestamp;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn because(reason: &str, seconds: i64) -> Warrant {
        Warrant { at: at(seconds), by: "ada".to_owned(), reason: reason.to_owned() }
    }

    /// A data set of these rows to learn from, the newest label of which was given then.
    fn dataset(train: &str, newest: i64) -> DatasetReport {
        let split = |sha256: &str| serde_json::json!({"rows": 9, "from": null, "until": null, "sources": {}, "classes": {}, "sha256": sha256});
        let report = serde_json::json!({
            "format": 1, "pipeline": "market", "made_at": at(100), "seed": 7, "near_copy": 0.6, "samples": 90,
            "model_versions": {}, "unknown_posts": [0, []], "left_out": 0, "agreement": {}, "moved": 0,
            "labels": {"read": 90, "unknown_task": 0, "unknown_class": 0, "superseded": 0, "newest": at(newest)},
            "splits": {"train": split(train), "validation": split("v"), "test": split("t")}, "unlabelled": 0,
        });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn what_was_taken_back_is_not_learnt_again_from_the_same_labels() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().join("model"));
        std::fs::create_dir_all(folder.path().join("model")).unwrap();
        let runs = folder.path().join("runs");
        let why = |train: &str, newest: i64| objection(&registry, &runs, &dataset(train, newest), "3").unwrap();
        registry.promote("1", because("the first", 1)).unwrap();
        registry.promote("2", because("retrained", 2)).unwrap();
        assert_eq!(why("a", 1), None, "nobody took anything back");
        registry.rollback(because("it shouts", 10)).unwrap();
        // Nobody knows what version 2 learnt from: the labels' age decides.
        let said = why("a", 10).unwrap();
        assert!(said.starts_with("no label is newer than the end of version 2, which was taken back at "), "{said}");
        assert!(
            said.contains(" by ada: it shouts; label more") && said.contains("promote 3 --force --reason"),
            "{said}"
        );
        assert_eq!(why("a", 11), None, "somebody labelled after it");
        let run = runs.join("2");
        std::fs::create_dir_all(run.join("dataset")).unwrap();
        std::fs::write(run.join("dataset/dataset.json"), serde_json::to_vec(&dataset("a", 1)).unwrap()).unwrap();
        assert_eq!(why("a", 11), None, "a run without an end made no version");
        std::fs::write(run.join(run::VERDICT), "").unwrap();
        assert!(why("a", 11).unwrap().starts_with("it learnt from the rows of version 2"));
        assert_eq!(why("b", 1), None, "other rows teach something else");
        registry.promote("3", because("all the same", 20)).unwrap();
        assert_eq!(why("a", 1), None, "somebody named it");
    }
}
