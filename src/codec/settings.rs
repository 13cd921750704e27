//! How the records of one input topic are read.

use std::sync::Arc;

/// Where a field stands in a record: JSON pointers (RFC 6901) tried or joined in order.
pub type Pointers = Vec<String>;

/// One input topic and the shape of its records.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSettings {
    /// The input topic.
    pub topic: Arc<str>,
    /// What kind of source it is: `news`, `social`, …
    pub kind: Arc<str>,
    /// The mapping.
    pub fields: FieldMap,
}

/// Where each field of a post stands. `text` joins all its pointers (that are there) with a blank line; the others take
/// the first that is there. The defaults are our own names: `/id`, `/text`, …
#[derive(Debug, Clone, PartialEq)]
pub struct FieldMap {
    /// The source's id.
    pub id: Pointers,
    /// The text; several are joined. By default `/title` and `/text`.
    pub text: Pointers,
    /// When it was published.
    pub published_at: Pointers,
    /// When it was last changed.
    pub updated_at: Pointers,
    /// The language.
    pub lang: Pointers,
    /// Who delivers it.
    pub source: Pointers,
    /// Who wrote it.
    pub author: Pointers,
    /// A link.
    pub url: Pointers,
    /// An array of symbols (or one text, split at commas).
    pub symbols: Pointers,
    /// `created`, `updated` or `deleted`.
    pub action: Pointers,
}

impl Default for FieldMap {
    fn default() -> Self {
        let one = |name: &str| vec![format!("/{name}")];
        Self {
            id: one("id"),
            text: vec!["/title".to_owned(), "/text".to_owned()],
            published_at: one("published_at"),
            updated_at: one("updated_at"),
            lang: one("lang"),
            source: one("source"),
            author: one("author"),
            url: one("url"),
            symbols: one("symbols"),
            action: one("action"),
        }
    }
}
