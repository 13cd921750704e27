//! The model that is to answer, looked at again and again while another one answers.

use std::sync::Arc;
use std::time::SystemTime;

use crate::model::{ModelSettings, Task};
use crate::onnx::directory::{champion_of, locate, version_in};
use crate::onnx::{Bundle, BundleError, Runtime};
use crate::time::Clock;

/// Loads the version that the file `champion` names beside the one that runs.
pub struct Champion {
    settings: ModelSettings,
    runtime: Runtime,
    tasks: Vec<Task>,
    clock: Arc<dyn Clock>,
}

/// What the file `champion` says, and since when: who writes the same again wants it looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The version.
    pub version: String,
    /// When the file was written; `None` where the system does not tell.
    pub written: Option<SystemTime>,
}

impl Champion {
    /// For a pipeline in which `running` answers; nothing where the settings pin a version.
    #[must_use]
    pub fn after(running: &Bundle, settings: &ModelSettings, clock: Arc<dyn Clock>) -> Option<Self> {
        let (tasks, runtime) = (running.tasks().to_vec(), running.runtime.clone());
        settings.version.is_none().then(|| Self { settings: settings.clone(), runtime, tasks, clock })
    }

    /// The version that is to answer.
    ///
    /// # Errors
    /// [`BundleError::NoModel`] when the file cannot be read or holds no version.
    pub fn named(&self) -> Result<Named, BundleError> {
        let model = self.settings.directory.join(&self.settings.name);
        let version = champion_of(&model)?;
        let written = std::fs::metadata(model.join("champion")).and_then(|file| file.modified()).ok();
        Ok(Named { version, written })
    }

    /// The version that is to be tried beside it, by the file `challenger`; nobody where there is none.
    ///
    /// # Errors
    /// [`BundleError::NoModel`] when the file is there and holds no version.
    pub fn challenger(&self) -> Result<Option<Named>, BundleError> {
        let path = self.settings.directory.join(&self.settings.name).join("challenger");
        let Ok(file) = std::fs::metadata(&path) else { return Ok(None) };
        Ok(Some(Named { version: version_in(&path)?, written: file.modified().ok() }))
    }

    /// Loads a challenger as [`Champion::load`] does, in one session and without a memory: it is asked seldom.
    ///
    /// # Errors
    /// As [`Champion::load`].
    pub fn load_challenger(&self, version: &str) -> Result<Bundle, BundleError> {
        let settings = ModelSettings { sessions: 1, cache_texts: 0, ..self.settings.clone() };
        Self { settings, runtime: self.runtime.clone(), tasks: self.tasks.clone(), clock: self.clock.clone() }
            .load(version)
    }

    /// Loads a version: hashes, device and golden inputs are checked as at a start, and its tasks must be those of the
    /// model that the pipeline began with, for rules, topics and records are made of their labels.
    ///
    /// # Errors
    /// As [`Bundle::load`], and [`BundleError::OtherTasks`].
    pub fn load(&self, version: &str) -> Result<Bundle, BundleError> {
        let settings = ModelSettings { version: Some(version.to_owned()), ..self.settings.clone() };
        let folder = locate(&settings)?;
        let bundle = Bundle::load_from(&folder, &settings, &self.runtime, self.clock.clone())?;
        let labels =
            |tasks: &[Task]| -> Vec<_> { tasks.iter().map(|task| (task.name.clone(), task.labels.clone())).collect() };
        if labels(&self.tasks) != labels(bundle.tasks()) {
            return Err(BundleError::OtherTasks { path: folder.join("manifest.json") });
        }
        Ok(bundle)
    }
}

impl std::fmt::Debug for Champion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Champion").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
