//! A model directory on disk: which version answers, and whether its files are those that its manifest names.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::model::{Manifest, ManifestError, ModelSettings};
use crate::onnx::{RuntimeError, headroom};

/// Bytes of a manifest, of a reference, and of a file that names a version; what is larger is none.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
pub(super) const REFERENCE_BYTES_MAX: u64 = 64 << 20;
const NAME_BYTES_MAX: u64 = 4 << 10;

/// Why a model cannot be loaded. Every message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// ONNX Runtime is missing.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// There is no such model or version.
    #[error("there is no model at {}: {reason}; check `model.directory` and `model.name`", path.display())]
    NoModel {
        /// The file that is missing.
        path: PathBuf,
        /// What reading it gave.
        reason: String,
    },
    /// A file is missing or cannot be read.
    #[error("{} cannot be read: {source}; copy the model directory again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The manifest is wrong.
    #[error("{}: {source}; export the model again, or use the version of bellwether that made it", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The manifest belongs to another folder.
    #[error("{} says that it is {found}, not {expected}; put the model under its own name and version", path.display())]
    Misplaced {
        /// The manifest.
        path: PathBuf,
        /// Name and version by its place.
        expected: String,
        /// Name and version by its content.
        found: String,
    },
    /// A file is not the one that the manifest names.
    #[error("{} was altered: its SHA-256 is {found}, the manifest says {expected}; copy the model directory again", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// By the manifest.
        expected: String,
        /// By its bytes.
        found: String,
    },
    /// The tokeniser or the graph cannot be used.
    #[error("{} cannot be used: {reason}; export the model again", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It answers other tasks, or with other labels, than the one that it is to replace.
    #[error("{} has other tasks or labels than the model that runs, and records and rules are made of them; stop the pipeline and start it with this model", path.display())]
    OtherTasks {
        /// The manifest.
        path: PathBuf,
    },
    /// It is larger than what is free.
    #[error("{} needs about {needed} MiB of memory and {available} MiB are free; free some, set `model.sessions` lower, or use a smaller model", path.display())]
    NoMemory {
        /// The file.
        path: PathBuf,
        /// What it takes, in MiB.
        needed: u64,
        /// What is free, in MiB.
        available: u64,
    },
    /// No variant fits the device.
    #[error("{} has no variant for {device}, only for {}; set `model.device` to one of these or export such a variant", path.display(), have.join(", "))]
    NoVariant {
        /// The model directory.
        path: PathBuf,
        /// The device asked for.
        device: String,
        /// The devices that there are variants for.
        have: Vec<String>,
    },
    /// The device cannot be had.
    #[error("`model.device` is {device}, which cannot be had: {reason}; set `model.device` to \"cpu\" or \"auto\"")]
    NoDevice {
        /// The device asked for.
        device: String,
        /// Why not.
        reason: String,
    },
    /// A golden input has another answer than when the model was made.
    #[error("{} answers golden input {number} differently ({task}: {found}, expected {expected}); it would answer everything differently: export the model again, or use another device", path.display())]
    Golden {
        /// The graph.
        path: PathBuf,
        /// Which golden input, from 1.
        number: usize,
        /// The task.
        task: String,
        /// What the manifest says.
        expected: String,
        /// What the model says.
        found: String,
    },
}

/// The folder of the version that answers: `<directory>/<name>/<version>`, the version from the settings or else from
/// the file `champion`.
///
/// # Errors
/// [`BundleError::NoModel`] when there is no such file or it holds no version.
pub(super) fn locate(settings: &ModelSettings) -> Result<PathBuf, BundleError> {
    let model = settings.directory.join(&settings.name);
    let version = match &settings.version {
        Some(version) => version.clone(),
        None => champion_of(&model)?,
    };
    let folder = model.join(&version);
    let manifest = manifest_of(&folder)?;
    if manifest.name != settings.name || manifest.version != version {
        return Err(BundleError::Misplaced {
            path: folder.join("manifest.json"),
            expected: format!("{} {version}", settings.name),
            found: format!("{} {}", manifest.name, manifest.version),
        });
    }
    Ok(folder)
}

/// The manifest of the model that would be loaded. Its files are not looked at.
///
/// # Errors
/// [`BundleError::NoModel`] where there is none, or what is wrong with its place or its manifest.
pub fn manifest(settings: &ModelSettings) -> Result<Manifest, BundleError> {
    manifest_of(&locate(settings)?)
}

/// Bytes of the largest graph of the model that would be loaded; 0 when there is none.
#[must_use]
pub fn graph_bytes(settings: &ModelSettings) -> u64 {
    let Ok(folder) = locate(settings) else { return 0 };
    let Ok(manifest) = manifest_of(&folder) else { return 0 };
    let sizes = manifest.variants.iter().filter_map(|variant| folder.join(&variant.file).metadata().ok());
    sizes.map(|file| file.len()).max().unwrap_or(0)
}

/// The version that the file `champion` of a model names.
///
/// # Errors
/// [`BundleError::NoModel`] when it cannot be read or holds no version.
pub fn champion_of(model: &Path) -> Result<String, BundleError> {
    version_in(&model.join("champion"))
}

/// The version that the file `challenger` of a model names; nothing where it cannot be read or holds none.
#[must_use]
pub fn challenger_of(model: &Path) -> Option<String> {
    version_in(&model.join("challenger")).ok()
}

/// The version that a file names.
///
/// # Errors
/// [`BundleError::NoModel`] when it cannot be read or holds no version.
pub(in crate::onnx) fn version_in(path: &Path) -> Result<String, BundleError> {
    let path = path.to_owned();
    let missing = |reason: String| BundleError::NoModel { path: path.clone(), reason };
    let text = read_plain(&path, NAME_BYTES_MAX).map_err(|error| missing(error.to_string()))?;
    let text = String::from_utf8_lossy(&text);
    let version = text.trim();
    if is_version(version) { Ok(version.to_owned()) } else { Err(missing("it holds no version".to_owned())) }
}

/// Whether this can be a version: letters, digits, `-` and `_`, so that it is the name of one folder.
#[must_use]
pub fn is_version(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// The manifest of the version in this folder.
///
/// # Errors
/// [`BundleError::NoModel`] where there is none, [`BundleError::Manifest`] where it is wrong.
pub fn manifest_of(folder: &Path) -> Result<Manifest, BundleError> {
    let path = folder.join("manifest.json");
    let json = match read_plain(&path, MANIFEST_BYTES_MAX) {
        Ok(json) => json,
        Err(error) => return Err(BundleError::NoModel { path, reason: error.to_string() }),
    };
    Manifest::parse(&json).map_err(|source| BundleError::Manifest { path, source })
}

/// The bytes of a plain file, of at most so many; a device or a pipe would be read for good.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for what is no such file, and what the system says.
pub(super) fn read_plain(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let about = path.metadata()?;
    if !about.is_file() || about.len() > bytes_max {
        let reason =
            if about.is_file() { format!("it has more than {bytes_max} bytes") } else { "it is no file".into() };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    // No more than it was looked at for, whatever is written to it meanwhile.
    File::open(path)?.take(about.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of a file whose hash the manifest names. What is used is what was hashed: the file is read once, where there
/// is memory for it.
pub(super) fn read_verified(path: &Path, sha256: &str) -> Result<Vec<u8>, BundleError> {
    headroom::check(path, 1)?;
    let bytes =
        read_plain(path, u64::MAX).map_err(|source| BundleError::Unreadable { path: path.to_owned(), source })?;
    let found = sha256_of(&bytes);
    if found == sha256 {
        return Ok(bytes);
    }
    Err(BundleError::Altered { path: path.to_owned(), expected: sha256.to_owned(), found })
}

/// SHA-256 in hexadecimal, as manifests have it.
pub(super) fn sha256_of(bytes: &[u8]) -> String {
    let mut found = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(found, "{byte:02x}");
    }
    found
}
