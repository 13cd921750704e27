//! Opens a model that a command line names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::Failure;
use crate::cli::serve::runtime_hints;
use crate::model::{Device, Manifest, ModelSettings};
use crate::onnx::{Bundle, BundleError, Import, ImportError, runtime};
use crate::time::{Clock, SystemClock};

/// The folder of a model's versions, or of one version; without one, the shipped model.
///
/// # Errors
/// With 69 when ONNX Runtime or the model is missing, altered or wrong.
pub(crate) fn open(folder: Option<&Path>, device: Device) -> Result<Bundle, Failure> {
    let folder = &folder_of(folder)?;
    let runtime = runtime(&runtime_hints()).map_err(|error| Failure::unavailable(error.to_string(), ""))?;
    let clock = Arc::new(SystemClock::new());
    let settings = settings_of(folder, device);
    let bundle = if folder.join("manifest.json").is_file() {
        Bundle::load_from(folder, &settings, &runtime, clock)
    } else {
        Bundle::load(&settings, &runtime, clock)
    };
    bundle.map_err(|error| told(&error, folder))
}

/// Makes a model directory of an export, and loads it on the processor.
///
/// # Errors
/// What is wrong with the export, or that ONNX Runtime is missing.
pub(crate) fn import(import: &Import) -> Result<Manifest, ImportError> {
    let runtime = runtime(&runtime_hints()).map_err(BundleError::from)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let settings = ModelSettings { sessions: 1, ..settings_of(&import.model, Device::Cpu) };
    import.run(&settings, &runtime, &clock)
}

/// The folder that is meant; without one, the shipped model's.
///
/// # Errors
/// With 69 where the shipped model is not there.
pub(crate) fn folder_of(folder: Option<&Path>) -> Result<PathBuf, Failure> {
    folder.map(Path::to_owned).or_else(|| shipped("models/finance-en")).ok_or_else(|| {
        Failure::unavailable(
            "there is no folder models/finance-en here",
            "run this in the folder of the repository, or name the model (--model DIR, or [model] in a pipeline file)",
        )
    })
}

/// What is wrong with a model, with the remedy of a command line.
fn told(error: &BundleError, folder: &Path) -> Failure {
    let device = "run it with --device cpu or --device auto";
    match error {
        BundleError::NoModel { path, reason } => Failure::unavailable(
            format!("there is no model at {}: {} cannot be read: {reason}", folder.display(), path.display()),
            "name with --model a folder of versions (it has a file champion) or of one version (it has a manifest.json)",
        ),
        BundleError::NoDevice { device: asked, reason } => {
            Failure::unavailable(format!("{asked} cannot be had: {reason}"), device)
        }
        BundleError::NoVariant { path, device: asked, have } => {
            let have = have.join(", ");
            Failure::unavailable(format!("{} has no variant for {asked}, only for {have}", path.display()), device)
        }
        BundleError::Runtime(_)
        | BundleError::Unreadable { .. }
        | BundleError::Manifest { .. }
        | BundleError::Misplaced { .. }
        | BundleError::OtherTasks { .. }
        | BundleError::Altered { .. }
        | BundleError::Unusable { .. }
        | BundleError::NoMemory { .. }
        | BundleError::Golden { .. } => Failure::unavailable(error.to_string(), ""),
    }
}

/// The settings under which the folder of a model's versions is that model.
fn settings_of(folder: &Path, device: Device) -> ModelSettings {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let directory = folder.parent().map(Path::to_owned);
    let is = ModelSettings::default();
    ModelSettings { directory: directory.unwrap_or(is.directory), name: name.unwrap_or(is.name), device, ..is }
}

/// Something that is shipped: below the working directory, else above the running binary (`target/release/…`).
pub(crate) fn shipped(path: &str) -> Option<PathBuf> {
    let binary = std::env::current_exe().ok();
    let above = binary.iter().flat_map(|binary| binary.ancestors().skip(1).take(4).map(|folder| folder.join(path)));
    std::iter::once(PathBuf::from(path)).chain(above).find(|found| found.exists())
}
