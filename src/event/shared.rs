//! Shared texts of our records: serde would make a text and then share a copy of it.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::time::from_text;

/// Reads a text into one piece of memory, for serde's `deserialize_with`.
pub(super) fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    from_text(from, |text| Ok::<_, std::convert::Infallible>(Arc::from(text)))
}

/// The same where there may be none.
pub(super) fn shared_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text(#[serde(deserialize_with = "shared")] Arc<str>);
    Ok(Option::<Text>::deserialize(from)?.map(|text| text.0))
}
