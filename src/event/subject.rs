//! What a post is about.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::finite::finite;
use crate::time::from_text;

/// An instrument (`XNAS:AAPL`: ISO 10383 MIC and ticker), a topic (`topic:earnings`) or `market`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

/// A text that is no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no subject: expected MIC:TICKER, topic:NAME or market")]
pub struct InvalidSubject(pub String);

impl Subject {
    /// The subject of every post.
    #[must_use]
    pub fn market() -> Self {
        Self(Arc::from("market"))
    }

    /// The subject of a topic label, `topic:<label>`.
    #[must_use]
    pub fn topic(label: &str) -> Self {
        Self(Arc::from(format!("topic:{label}")))
    }

    /// Parses `MIC:TICKER`, `topic:NAME` or `market`.
    ///
    /// # Errors
    /// When the text has none of these forms, is longer than 64 bytes or holds white space.
    pub fn parse(text: &str) -> Result<Self, InvalidSubject> {
        let valid = match text.split_once(':') {
            Some((scheme, name)) => !scheme.is_empty() && !name.is_empty(),
            None => text == "market",
        };
        let bad = text.len() > 64 || text.chars().any(|c| c.is_whitespace() || c.is_control());
        if valid && !bad { Ok(Self(Arc::from(text))) } else { Err(InvalidSubject(text.chars().take(80).collect())) }
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an instrument.
    #[must_use]
    pub fn is_instrument(&self) -> bool {
        !self.is_topic() && !self.is_market()
    }

    /// Whether this is a topic.
    #[must_use]
    pub fn is_topic(&self) -> bool {
        self.0.starts_with("topic:")
    }

    /// Whether this is `market`.
    #[must_use]
    pub fn is_market(&self) -> bool {
        &*self.0 == "market"
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, Self::parse)
    }
}

/// A subject that was found in a post, and how much the post is about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectLink {
    /// The subject.
    pub subject: Subject,
    /// 0 (in passing) to 1 (the post is about nothing else).
    #[serde(deserialize_with = "finite")]
    pub relevance: f32,
}
