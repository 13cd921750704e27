//! Finds ONNX Runtime's library and loads it, once a process.
//!
//! The library is no part of the binary, so that one binary serves the CPU build and the CUDA build of it. This file
//! reads no environment: `config` says where to look.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::ExecutionProvider;
use ort::logging::LogLevel;

/// Where to look for the library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeHints {
    /// `ORT_DYLIB_PATH`, when it is set; nothing else is tried then.
    pub dylib: Option<PathBuf>,
    /// The folder of the running binary.
    pub executable_dir: Option<PathBuf>,
    /// The working directory.
    pub working_dir: Option<PathBuf>,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// The library's file.
    pub path: PathBuf,
    /// Its version, as its file name says it; `unknown` where that says nothing (it is at least 1.24).
    pub version: String,
    /// What it can run on: `cpu`, and `cuda` when it was built with it (a device may still be missing).
    pub providers: Vec<&'static str>,
}

/// The loaded library. Cheap to clone; it stays loaded until the process ends.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    info: Arc<RuntimeInfo>,
}

/// Why there is no ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// It was in none of the places.
    #[error(
        "ONNX Runtime's library was not found in {}; `make demo` fetches it into .ort/, or set ORT_DYLIB_PATH to a libonnxruntime.so",
        list(.0)
    )]
    Missing(Vec<PathBuf>),
    /// `ORT_DYLIB_PATH` names no file.
    #[error("ORT_DYLIB_PATH names {}, which is no file; set it to a libonnxruntime.so, or unset it to search", .0.display())]
    NoFile(PathBuf),
    /// It was found and cannot be used.
    #[error(
        "ONNX Runtime's library {} cannot be used: {reason}; version 1.24 or later is needed (`make demo` fetches one, or set ORT_DYLIB_PATH)",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// Folders above the binary that are searched: `target/release/deps` → the repository.
const ANCESTORS_MAX: usize = 4;

/// Finds and loads the library. The first success holds for the process: later calls give it back, whatever they hint.
///
/// # Errors
/// When no library is found, or the one that was found cannot be loaded or is too old.
pub fn runtime(hints: &RuntimeHints) -> Result<Runtime, RuntimeError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*loaded {
        return Ok(runtime.clone());
    }
    let runtime = load(find(hints)?)?;
    *loaded = Some(runtime.clone());
    Ok(runtime)
}

impl Runtime {
    /// What was loaded.
    #[must_use]
    pub fn info(&self) -> &RuntimeInfo {
        &self.info
    }

    /// Whether the library was built with CUDA.
    #[must_use]
    pub fn has_cuda(&self) -> bool {
        self.info.providers.contains(&"cuda")
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runtime").field(&self.info).finish()
    }
}

fn find(hints: &RuntimeHints) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = &hints.dylib {
        return if path.is_file() { Ok(path.clone()) } else { Err(RuntimeError::NoFile(path.clone())) };
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(hints.executable_dir.clone());
    folders.extend(hints.working_dir.iter().map(|folder| folder.join(".ort")));
    if let Some(folder) = &hints.executable_dir {
        folders.extend(folder.ancestors().take(ANCESTORS_MAX).map(|above| above.join(".ort")));
    }
    match folders.iter().find_map(|folder| library_in(folder)) {
        Some(path) => Ok(path),
        None => Err(RuntimeError::Missing(folders)),
    }
}

/// The library in a folder; among several the one whose name sorts last.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let is_library = |name: &str| {
        name.starts_with("libonnxruntime.so")
            || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
            || name == "onnxruntime.dll"
    };
    let entries = std::fs::read_dir(folder).ok()?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_file());
    paths.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_library)).max()
}

fn load(path: PathBuf) -> Result<Runtime, RuntimeError> {
    // The loader takes a relative path as one beside the binary.
    let path = path.canonicalize().unwrap_or(path);
    let unusable = |reason: String| RuntimeError::Unusable { path: path.clone(), reason };
    let builder = ort::init_from(&path).map_err(|error| unusable(error.to_string()))?;
    let environment = builder
        .with_name("bellwether")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);

    let mut providers = vec!["cpu"];
    if ort::ep::CUDA::is_available().unwrap_or(false) {
        providers.push("cuda");
    }
    let info = RuntimeInfo { version: version_of(&path), path, providers };
    tracing::debug!(path = %info.path.display(), version = %info.version, providers = ?info.providers, "onnx runtime loaded");
    Ok(Runtime { environment, info: Arc::new(info) })
}

/// `libonnxruntime.so.1.32.0` → `1.32.0`.
fn version_of(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let digits = name.trim_start_matches("libonnxruntime").trim_end_matches(".dylib");
    let version = digits.trim_start_matches(".so").trim_start_matches('.');
    let numeric = !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.');
    if numeric { version.to_owned() } else { "unknown".to_owned() }
}

fn log(level: LogLevel, _category: &str, _id: &str, _place: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::debug!(target: "onnxruntime", "{message}"),
        LogLevel::Warning => tracing::warn!(target: "onnxruntime", "{message}"),
        LogLevel::Error | LogLevel::Fatal => tracing::error!(target: "onnxruntime", "{message}"),
    }
}

fn list(folders: &[PathBuf]) -> String {
    let mut shown: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    shown.dedup();
    if shown.is_empty() { "any folder".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_path_that_is_set_and_wrong_is_an_error_and_no_search() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libonnxruntime.so.1.32.0"), "").unwrap();
        let hints = RuntimeHints {
            dylib: Some(folder.path().join("nothing.so")),
            executable_dir: Some(folder.path().to_owned()),
            working_dir: None,
        };
        let message = find(&hints).unwrap_err().to_string();
        assert!(message.contains("nothing.so") && message.contains("ORT_DYLIB_PATH"), "{message}");
    }

    #[test]
    fn beside_the_binary_comes_before_the_working_directory_and_the_highest_version_wins() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("bin");
        let ort = folder.path().join(".ort");
        std::fs::create_dir_all(&binary).unwrap();
        std::fs::create_dir_all(&ort).unwrap();
        for name in ["libonnxruntime.so.1.31.1", "libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so"] {
            std::fs::write(ort.join(name), "").unwrap();
        }
        let hints = RuntimeHints {
            dylib: None,
            executable_dir: Some(binary.clone()),
            working_dir: Some(folder.path().to_owned()),
        };
        assert_eq!(find(&hints).unwrap(), ort.join("libonnxruntime.so.1.32.0"));
        std::fs::write(binary.join("libonnxruntime.so"), "").unwrap();
        assert_eq!(find(&hints).unwrap(), binary.join("libonnxruntime.so"));
    }

    #[test]
    fn a_missing_library_says_where_it_was_sought_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let hints = RuntimeHints { dylib: None, executable_dir: None, working_dir: Some(folder.path().to_owned()) };
        let message = find(&hints).unwrap_err().to_string();
        assert!(message.contains(&folder.path().join(".ort").display().to_string()), "{message}");
        assert!(message.contains("make demo") && message.contains("ORT_DYLIB_PATH"), "{message}");
    }

    #[test]
    fn the_version_is_read_from_the_file_name() {
        assert_eq!(version_of(Path::new("/x/libonnxruntime.so.1.32.0")), "1.32.0");
        assert_eq!(version_of(Path::new("/x/libonnxruntime.1.32.0.dylib")), "1.32.0");
        assert_eq!(version_of(Path::new("/x/libonnxruntime.so")), "unknown");
    }
}
