//! Which version of a model answers, who said so and why.
//!
//! A model is a folder of versions, a file `champion` that names the one which answers, and `history.jsonl`: a line for
//! each change, the newest last. A change is written into the history first and becomes true with one rename of
//! `champion`, so that a crash leaves the old champion or the new one and never half a name.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::Manifest;
use crate::onnx::{BundleError, challenger_of, champion_of, is_version, manifest_of};
use crate::time::Timestamp;

const CHAMPION: &str = "champion";
const CHALLENGER: &str = "challenger";
const HISTORY: &str = "history.jsonl";
/// Versions that are listed, and changes that are read: the newest.
const SHOWN_MAX: usize = 1_000;
/// A history that is longer is not read.
const HISTORY_BYTES_MAX: u64 = 16 << 20;

/// What is done to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A version was named.
    Promote,
    /// The one before was named again.
    Rollback,
    /// A version is tried beside the champion, or none any more.
    Challenge,
}

/// One change, a line of `history.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub action: Action,
    /// Who answers from then on.
    pub champion: String,
    /// Who answered before; `None` where nobody did.
    pub before: Option<String>,
    /// Who is tried from then on, where that is what was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenger: Option<String>,
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Who changes the champion, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warrant {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A version that is there.
#[derive(Debug)]
pub struct Version {
    /// Its folder's name.
    pub name: String,
    /// What it is, or why that cannot be told.
    pub manifest: Result<Manifest, BundleError>,
}

/// Why a champion could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such model or version, or it cannot be used.
    #[error(transparent)]
    Model(#[from] BundleError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line of the history is no change.
    #[error("{}:{line}: {reason}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// It answers already.
    #[error("version {0} is the champion already")]
    Already(String),
    /// Another one answers than the one that a version was judged against.
    #[error("version {version} was judged against version {judged}, and version {champion} answers now")]
    Overtaken {
        /// Who was judged.
        version: String,
        /// Against whom.
        judged: String,
        /// Who answers.
        champion: String,
    },
    /// Nobody knows who answered before.
    #[error("{} does not say who answered before version {champion}", path.display())]
    NoEarlier {
        /// The history.
        path: PathBuf,
        /// Who answers.
        champion: String,
    },
}

/// The folder of a model's versions.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// The registry of the model in this folder. Nothing is read yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Who answers.
    ///
    /// # Errors
    /// [`BundleError::NoModel`] when `champion` cannot be read or names no version.
    pub fn champion(&self) -> Result<String, RegistryError> {
        Ok(champion_of(&self.folder)?)
    }

    /// Every version, by when it was made, those that cannot be read last;
    /// a thousand at most.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn versions(&self) -> Result<Vec<Version>, RegistryError> {
        let unreadable = |source| RegistryError::File { path: self.folder.clone(), source };
        let mut versions = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(unreadable)?.take(SHOWN_MAX) {
            let entry = entry.map_err(unreadable)?;
            // What is still being made begins with a dot.
            if entry.path().is_dir() && is_version(&entry.file_name().to_string_lossy()) {
                let manifest = manifest_of(&entry.path());
                versions.push(Version { name: entry.file_name().to_string_lossy().into_owned(), manifest });
            }
        }
        versions.sort_by_cached_key(|Version { name, manifest }| {
            let made = manifest.as_ref().ok().map(|manifest| manifest.created_at);
            (made.is_none(), made, name.clone())
        });
        Ok(versions)
    }

    /// The changes of champion, the oldest first; the newest thousand.
    ///
    /// # Errors
    /// When the history cannot be read, or a line of it is no change; a last line that was never finished is none, and is
    /// passed over with a warning.
    pub fn history(&self) -> Result<Vec<Change>, RegistryError> {
        let path = self.folder.join(HISTORY);
        let failed = |source| RegistryError::File { path: path.clone(), source };
        let text = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
            Ok(file) if file.len() > HISTORY_BYTES_MAX => {
                return Err(failed(io::Error::other("it is longer than 16 MiB: move it away, and begin another")));
            }
            Ok(_) => std::fs::read(&path).map_err(failed)?,
        };
        let whole = text.get(..whole_lines(&text)).unwrap_or_default();
        if whole.len() < text.len() {
            tracing::warn!(path = %path.display(), "the last line was never finished, and is passed over");
        }
        let text = std::str::from_utf8(whole).map_err(|error| failed(io::Error::other(error)))?;
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        let read = |(text, line)| {
            serde_json::from_str(text).map_err(|error| RegistryError::History {
                path: path.clone(),
                line,
                reason: error.to_string(),
            })
        };
        let mut changes = lines.map(read).collect::<Result<Vec<Change>, _>>()?;
        changes.drain(..changes.len().saturating_sub(SHOWN_MAX));
        Ok(changes)
    }

    /// Names a version champion. Whether it can be used is the caller's to find out: a running pipeline refuses one that
    /// cannot, and says so.
    ///
    /// # Errors
    /// [`RegistryError::Already`], and what cannot be written; the champion is the old one then.
    pub fn promote(&self, version: &str, warrant: Warrant) -> Result<Change, RegistryError> {
        self.change(Action::Promote, version.to_owned(), warrant)
    }

    /// As [`Registry::promote`], where the champion is still the one that the version was `judged` against.
    ///
    /// # Errors
    /// [`RegistryError::Overtaken`] where it is not, and as [`Registry::promote`].
    pub fn promote_over(&self, judged: &str, version: &str, warrant: Warrant) -> Result<Change, RegistryError> {
        let champion = self.champion()?;
        if champion != judged && champion != version {
            let (version, judged) = (version.to_owned(), judged.to_owned());
            return Err(RegistryError::Overtaken { version, judged, champion });
        }
        self.promote(version, warrant)
    }

    /// Who answered before the champion: whom a rollback names.
    ///
    /// # Errors
    /// [`RegistryError::NoEarlier`] where the history does not tell, and what cannot be read.
    pub fn before(&self) -> Result<String, RegistryError> {
        let made = self.naming()?;
        made.and_then(|change| change.before)
            .ok_or(RegistryError::NoEarlier { path: self.folder.join(HISTORY), champion: self.champion()? })
    }

    /// The change that named the champion; `None` where it was named by hand.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn naming(&self) -> Result<Option<Change>, RegistryError> {
        let champion = self.champion()?;
        let named = |change: &Change| change.action != Action::Challenge && change.champion == champion;
        Ok(self.history()?.into_iter().rev().find(named))
    }

    /// The change that took this version back, where nobody named it since.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn taken_back(&self, version: &str) -> Result<Option<Change>, RegistryError> {
        let is_end = |change: &Change| change.action == Action::Rollback && change.before.as_deref() == Some(version);
        let is_naming = |change: &Change| change.action != Action::Challenge && change.champion == version;
        let last = self.history()?.into_iter().rev().find(|change| is_end(change) || is_naming(change));
        Ok(last.filter(is_end))
    }

    /// Names the version before champion again; done twice, it is undone.
    ///
    /// # Errors
    /// As [`Registry::before`] and [`Registry::promote`].
    pub fn rollback(&self, warrant: Warrant) -> Result<Change, RegistryError> {
        self.change(Action::Rollback, self.before()?, warrant)
    }

    fn change(&self, action: Action, champion: String, warrant: Warrant) -> Result<Change, RegistryError> {
        let before = self.champion().ok();
        if before.as_ref() == Some(&champion) {
            return Err(RegistryError::Already(champion));
        }
        let Warrant { at, by, reason } = warrant;
        let change = Change { at, action, champion, before, challenger: None, by, reason };
        self.remember(&change)?;
        self.name(&change.champion)?;
        Ok(change)
    }

    /// Who is tried beside the champion.
    #[must_use]
    pub fn challenger(&self) -> Option<String> {
        challenger_of(&self.folder)
    }

    /// Has a version tried beside the champion, or none any more. Whether it can be used is the caller's to find out.
    ///
    /// # Errors
    /// [`RegistryError::Already`] when it answers already; and what cannot be written.
    pub fn challenge(&self, version: Option<String>, warrant: Warrant) -> Result<Change, RegistryError> {
        let champion = self.champion()?;
        if let Some(version) = version.as_ref().filter(|version| **version == champion) {
            return Err(RegistryError::Already(version.clone()));
        }
        let Warrant { at, by, reason } = warrant;
        let action = Action::Challenge;
        let change = Change { at, action, champion, before: None, challenger: version, by, reason };
        self.remember(&change)?;
        let path = self.folder.join(CHALLENGER);
        let done = match &change.challenger {
            Some(version) => replace(&path, version),
            None => std::fs::remove_file(&path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        done.map_err(|source| RegistryError::File { path, source })?;
        Ok(change)
    }

    fn remember(&self, change: &Change) -> Result<(), RegistryError> {
        let path = self.folder.join(HISTORY);
        let write = || {
            let mut line = serde_json::to_string(change)?;
            line.push('\n');
            let mut file = File::options().read(true).append(true).create(true).open(&path)?;
            mend(&mut file)?;
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| RegistryError::File { path: path.clone(), source })
    }

    fn name(&self, version: &str) -> Result<(), RegistryError> {
        let path = self.folder.join(CHAMPION);
        replace(&path, version).map_err(|source| RegistryError::File { path, source })
    }
}

/// Bytes up to the end of the last line that is whole: one that ends, or is a change though its end is missing.
fn whole_lines(text: &[u8]) -> usize {
    let ended = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    let rest = text.get(ended..).unwrap_or_default();
    let is_whole = serde_json::from_slice::<Change>(rest).is_ok() || rest.trim_ascii().is_empty();
    if is_whole { text.len() } else { ended }
}

/// Takes away a last line that was never finished (its change was never made), and ends one that is whole, so that the next
/// begins a line of its own.
fn mend(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length > HISTORY_BYTES_MAX {
        return Ok(());
    }
    let mut text = Vec::new();
    file.take(HISTORY_BYTES_MAX).read_to_end(&mut text)?;
    let whole = whole_lines(&text);
    if whole < text.len() {
        file.set_len(whole as u64)?;
        text.truncate(whole);
    }
    if text.last().is_some_and(|last| *last != b'\n') {
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// Puts a file in another's place by a rename, whole and synced.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = File::create(&aside)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn because(reason: &str, at: i64) -> Warrant {
        Warrant { at: Timestamp::from_millis(at), by: "ada".to_owned(), reason: reason.to_owned() }
    }

    #[test]
    fn a_champion_is_named_and_taken_back_with_who_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        assert!(registry.champion().is_err() && registry.history().unwrap().is_empty());
        registry.promote("1", because("the first", 1)).unwrap();
        assert!(matches!(registry.before(), Err(RegistryError::NoEarlier { .. })), "nobody answered before");
        registry.promote("2", because("better", 2)).unwrap();
        assert_eq!(registry.champion().unwrap(), "2");
        assert!(matches!(registry.promote("2", because("again", 3)), Err(RegistryError::Already(_))));
        let back = registry.rollback(because("it shouts", 4)).unwrap();
        assert_eq!((back.champion.as_str(), back.before.as_deref()), ("1", Some("2")));
        assert_eq!(registry.champion().unwrap(), "1");
        registry.rollback(because("it did not", 5)).unwrap();
        assert_eq!(registry.champion().unwrap(), "2", "twice is undone");
        let told: Vec<(Action, String, String)> = registry
            .history()
            .unwrap()
            .into_iter()
            .map(|change| (change.action, change.champion, change.reason))
            .collect();
        assert_eq!(told.len(), 4);
        assert_eq!(told.last().unwrap(), &(Action::Rollback, "2".to_owned(), "it did not".to_owned()));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "nothing is left aside: {left:?}");
    }

    #[test]
    fn who_was_judged_against_another_than_the_champion_is_not_named() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        registry.promote("1", because("the first", 1)).unwrap();
        registry.promote_over("1", "2", because("better", 2)).unwrap();
        let said = registry.promote_over("1", "3", because("better", 3)).unwrap_err().to_string();
        assert_eq!(said, "version 3 was judged against version 1, and version 2 answers now");
        assert_eq!((registry.champion().unwrap().as_str(), registry.history().unwrap().len()), ("2", 2));
    }

    #[test]
    fn who_was_named_by_hand_has_no_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        registry.promote("1", because("the first", 1)).unwrap();
        std::fs::write(folder.path().join(CHAMPION), "7\n").unwrap();
        assert!(registry.rollback(because("no", 2)).unwrap_err().to_string().contains("before version 7"));
    }

    #[test]
    fn who_was_taken_back_is_known_until_somebody_names_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        let is_taken_back = |version: &str| registry.taken_back(version).unwrap().is_some();
        registry.promote("1", because("the first", 1)).unwrap();
        registry.promote("2", because("better", 2)).unwrap();
        assert!(!is_taken_back("1") && !is_taken_back("2"), "another in its place is no judgement of it");
        registry.rollback(because("it shouts", 3)).unwrap();
        assert!(is_taken_back("2") && !is_taken_back("1"));
        registry.promote("3", because("better still", 4)).unwrap();
        registry.challenge(Some("2".to_owned()), because("curious", 5)).unwrap();
        assert!(is_taken_back("2"), "a trial names nobody");
        registry.promote("2", because("all the same", 6)).unwrap();
        assert!(!is_taken_back("2"));
    }

    #[test]
    fn a_last_line_that_was_never_finished_does_not_stand_in_the_way_of_a_rollback() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        registry.promote("1", because("the first", 1)).unwrap();
        registry.promote("2", because("better", 2)).unwrap();
        let path = folder.path().join(HISTORY);
        let text = std::fs::read(&path).unwrap();
        // Half a line, a letter cut in two, and a whole change whose end alone is missing.
        for (torn, lines) in
            [(&b"{\"at\": \"2026-"[..], 2), (b"{\"by\": \"\xc3", 2), (b"", 2), (text.trim_ascii_end(), 4)]
        {
            std::fs::write(&path, [&text, torn].concat()).unwrap();
            std::fs::write(folder.path().join(CHAMPION), "2\n").unwrap();
            assert_eq!(registry.history().unwrap().len(), lines);
            registry.rollback(because("it shouts", 3)).unwrap();
            let told = registry.history().unwrap();
            assert_eq!((told.len(), registry.champion().unwrap().as_str()), (lines + 1, "1"), "{told:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), lines + 1, "each on its own line");
        }
    }

    #[test]
    fn a_spoilt_history_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        registry.promote("1", because("the first", 1)).unwrap();
        registry.promote("2", because("better", 2)).unwrap();
        let path = folder.path().join(HISTORY);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"at\":\n")).unwrap();
        let said = registry.history().unwrap_err().to_string();
        assert!(said.contains("history.jsonl:3: "), "{said}");
    }
}
