//! A folder of models to change things in.

use std::path::{Path, PathBuf};

/// A folder of models in which the tiny one has versions.
pub struct Models(tempfile::TempDir);

impl Models {
    pub fn with(versions: &[&str]) -> Self {
        let models = Self(tempfile::tempdir().unwrap());
        versions.iter().for_each(|version| models.add(version));
        models.name(versions[0]);
        models
    }

    pub fn tiny(&self) -> PathBuf {
        self.0.path().join("tiny")
    }

    /// The shipped tiny model under another version.
    pub fn add(&self, version: &str) {
        let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny/1"), self.tiny().join(version));
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        self.edit(version, "\"version\": \"1\"", &format!("\"version\": \"{version}\""));
    }

    pub fn edit(&self, version: &str, from: &str, to: &str) {
        let path = self.tiny().join(version).join("manifest.json");
        let manifest = std::fs::read_to_string(&path).unwrap();
        assert!(manifest.contains(from), "{from} in {manifest}");
        std::fs::write(path, manifest.replacen(from, to, 1)).unwrap();
    }

    /// As [`Models::edit`], wherever it stands.
    pub fn edit_all(&self, version: &str, from: &str, to: &str) {
        let path = self.tiny().join(version).join("manifest.json");
        let manifest = std::fs::read_to_string(&path).unwrap();
        assert!(manifest.contains(from), "{from} in {manifest}");
        std::fs::write(path, manifest.replace(from, to)).unwrap();
    }

    /// Names the version that is to answer, as an operator should: with a rename.
    pub fn name(&self, version: &str) {
        self.seat("champion", version);
    }

    pub fn challenge(&self, version: &str) {
        self.seat("challenger", version);
    }

    fn seat(&self, role: &str, version: &str) {
        let aside = self.tiny().join(format!("{role}.new"));
        std::fs::write(&aside, version).unwrap();
        std::fs::rename(aside, self.tiny().join(role)).unwrap();
    }

    pub fn directory(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}
