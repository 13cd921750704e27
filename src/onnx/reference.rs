//! What a version was judged on: the file `reference.json` beside its manifest.

use std::path::Path;
use std::sync::Arc;

use crate::model::Reference;
use crate::onnx::BundleError;
use crate::onnx::directory::{REFERENCE_BYTES_MAX, read_plain};

/// The file's name.
pub const REFERENCE: &str = "reference.json";

/// The reference of the version in this folder; nothing where there is none.
///
/// # Errors
/// [`BundleError::Unreadable`] where it is there and cannot be read.
pub(super) fn reference_of(folder: &Path) -> Result<Option<Arc<Reference>>, BundleError> {
    let path = folder.join(REFERENCE);
    let json = match read_plain(&path, REFERENCE_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(BundleError::Unreadable { path, source }),
        Ok(json) => json,
    };
    let reference: Reference =
        serde_json::from_slice(&json).map_err(|error| BundleError::Unreadable { path, source: error.into() })?;
    Ok(Some(Arc::new(reference)))
}
