//! The folder of a run: which one is open and may go on, and that nobody else works in it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::retrain::Registry;
use crate::retrain::cycle::{RetrainError, failed, json, write};
use crate::retrain::dataset::{DatasetReport, Side};

/// Held by who retrains.
const LOCK: &str = "lock";
/// What a run was begun with: it goes on under the same alone.
const BEGUN: &str = "run.json";
/// The page that ends a run.
pub(super) const VERDICT: &str = "verdict.md";

/// A run that is open, and nobody else's.
#[derive(Debug)]
pub(super) struct Run {
    /// The number of its candidate.
    pub(super) version: String,
    /// Everything that belongs to it.
    pub(super) folder: PathBuf,
    /// Released when it is dropped, however this process ends.
    _lock: File,
}

impl Run {
    /// The last run again where it has no verdict and was begun with the same, else the next one. What lies in the
    /// next one's folder was begun with something else and is taken away.
    pub(super) fn open(registry: &Registry, directory: &Path, begun: &Value) -> Result<Self, RetrainError> {
        let lock = claim(directory)?;
        let is_same = |number: u64| read(&directory.join(number.to_string())).as_ref() == Some(begun);
        let is_judged = |number: u64| directory.join(number.to_string()).join(VERDICT).is_file();
        let last = registry.versions()?.iter().filter_map(|version| version.name.parse().ok()).max().unwrap_or(0);
        let number = if is_same(last) && !is_judged(last) {
            last
        } else {
            let judged = numbers(directory)?.into_iter().filter(|number| is_judged(*number)).max().unwrap_or(0);
            last.max(judged) + 1
        };
        let folder = directory.join(number.to_string());
        if !is_same(number) {
            if folder.exists() {
                std::fs::remove_dir_all(&folder).map_err(|source| failed(&folder, source))?;
            }
            std::fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
            write(&folder.join(BEGUN), &json(begun))?;
        }
        Ok(Self { version: number.to_string(), folder, _lock: lock })
    }

    /// The runs that were judged, were begun with the same as this one and learnt from these rows; the last one first.
    pub(super) fn twins(&self, rows: &DatasetReport) -> impl Iterator<Item = Twin> {
        let directory = self.folder.parent().unwrap_or(&self.folder);
        let begun = read(&self.folder);
        let mut earlier = numbers(directory).unwrap_or_default();
        earlier.sort_unstable();
        let twins = earlier
            .into_iter()
            .rev()
            .map(|number| Twin { version: number.to_string(), folder: directory.join(number.to_string()) });
        twins.filter(move |twin| {
            let learnt = learnt_by(&twin.folder);
            let is_same = learnt.is_some_and(|learnt| learnt.hashes(&Side::ALL) == rows.hashes(&Side::ALL));
            twin.version != self.version && is_same && begun.is_some() && read(&twin.folder) == begun
        })
    }

    /// Takes away what only training needed, its checkpoints. Curves and log stay.
    pub(super) fn tidy(&self) {
        let training = self.folder.join("training");
        for entry in std::fs::read_dir(training).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "pt") {
                let _it_costs_room_and_nothing_else = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Nothing was begun.
    pub(super) fn remove(&self) {
        let _what_is_left_is_taken_away_by_the_next = std::fs::remove_dir_all(&self.folder);
    }

    /// What it holds is of no use: the next one begins anew. It stays until then, to be looked at.
    pub(super) fn give_up(&self) {
        let _it_fails_again_the_same_way = std::fs::remove_file(self.folder.join(BEGUN));
    }
}

/// A run that would be repeated.
#[derive(Debug)]
pub(super) struct Twin {
    /// Its candidate.
    pub(super) version: String,
    /// Its folder.
    pub(super) folder: PathBuf,
}

/// What a run was begun with.
fn read(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(folder.join(BEGUN)).ok()?).ok()
}

/// What the version of this run learnt from, where the run came to its end.
pub(super) fn learnt_by(folder: &Path) -> Option<DatasetReport> {
    let is_judged = folder.join(VERDICT).is_file();
    let bytes = is_judged.then(|| std::fs::read(folder.join("dataset/dataset.json")).ok())??;
    serde_json::from_slice(&bytes).ok()
}

/// The hash of files, hex; of those that cannot be read nothing counts.
pub(super) fn hash(files: impl IntoIterator<Item = PathBuf>) -> String {
    let mut hash = Sha256::new();
    for bytes in files.into_iter().filter_map(|file| std::fs::read(file).ok()) {
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of the trainer's sources: another trainer makes another candidate.
pub(super) fn sources(trainer: &Path) -> String {
    let entries = std::fs::read_dir(trainer.join("bellwether_trainer")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "py"));
    files.sort();
    hash(files)
}

/// One at a time: two would take the same number.
fn claim(directory: &Path) -> Result<File, RetrainError> {
    std::fs::create_dir_all(directory).map_err(|source| failed(directory, source))?;
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(|source| failed(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RetrainError::UnderWay(path)),
        Err(TryLockError::Error(source)) => Err(failed(&path, source)),
    }
}

/// The runs that there are.
fn numbers(directory: &Path) -> Result<Vec<u64>, RetrainError> {
    let entries = std::fs::read_dir(directory).map_err(|source| failed(directory, source))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn open(folder: &Path, begun: &str) -> Result<Run, RetrainError> {
        Run::open(&Registry::new(folder.join("model")), &folder.join("runs"), &Value::from(begun))
    }

    #[test]
    fn a_run_goes_on_under_the_same_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("model/3")).unwrap();
        let run = open(folder.path(), "one").unwrap();
        assert_eq!(run.version, "4", "the number after the last version");
        std::fs::write(run.folder.join("half"), "").unwrap();
        assert!(matches!(open(folder.path(), "one"), Err(RetrainError::UnderWay(_))), "one at a time");
        drop(run);
        let run = open(folder.path(), "one").unwrap();
        assert!(run.version == "4" && run.folder.join("half").is_file(), "it goes on");
        drop(run);
        let run = open(folder.path(), "other").unwrap();
        assert!(run.version == "4" && !run.folder.join("half").is_file(), "half of another run goes into no other");
        run.give_up();
        std::fs::write(run.folder.join("half"), "").unwrap();
        drop(run);
        let run = open(folder.path(), "other").unwrap();
        assert!(run.version == "4" && !run.folder.join("half").is_file(), "what is of no use is not taken up");
    }

    #[test]
    fn a_candidate_without_a_verdict_is_judged_and_one_with_it_or_of_somebody_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("model/1")).unwrap();
        let run = open(folder.path(), "one").unwrap();
        assert_eq!(run.version, "2");
        std::fs::create_dir(folder.path().join("model/2")).unwrap();
        drop(run);
        let run = open(folder.path(), "one").unwrap();
        assert_eq!(run.version, "2", "its candidate is there, the verdict is not");
        std::fs::write(run.folder.join(VERDICT), "").unwrap();
        drop(run);
        assert_eq!(open(folder.path(), "one").unwrap().version, "3");
        std::fs::remove_dir(folder.path().join("model/2")).unwrap();
        assert_eq!(open(folder.path(), "one").unwrap().version, "3", "no page is written over");
        // Somebody made a version with the number of a run that was begun otherwise.
        std::fs::create_dir(folder.path().join("model/3")).unwrap();
        assert_eq!(open(folder.path(), "other").unwrap().version, "4");
    }
}
