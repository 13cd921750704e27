//! A row of an evaluation set: a text and the answers that people gave for it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::clean::clean;
use crate::retrain::EvaluateError;

/// A line of a file, printed as `rows.jsonl:12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// From 1.
    pub number: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

/// A text with its answers.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledRow {
    /// Where it stands.
    pub line: Line,
    /// The cleaned text.
    pub text: String,
    /// The sentiment, where somebody gave one.
    pub sentiment: Option<String>,
    /// The topic, where somebody gave one.
    pub topic: Option<String>,
    /// Where the text comes from, where the row says so.
    pub source: Option<String>,
    /// When it was published, as the row has it.
    pub published_at: Option<String>,
    /// How many posts it stands for: one over the probability with which it was kept.
    pub weight: f64,
}

#[derive(Deserialize)]
struct Raw {
    text: String,
    #[serde(default)]
    sentiment: Option<String>,
    #[serde(default)]
    topic: Option<OneOrMany>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    published_at: Option<String>,
    #[serde(default)]
    sample_probability: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl LabelledRow {
    /// From one JSON object: `text`, and `sentiment`, `topic`, `source`, `published_at` and `sample_probability` (1 where
    /// it is missing) where they are known; other fields are ignored. A topic may be a list of one. The text is cleaned as the pipeline cleans it.
    ///
    /// # Errors
    /// [`EvaluateError::Row`] when it is no such object, was kept with no probability that there is, or has several topics:
    /// the model gives one, and which of several it should have given nobody can say.
    pub fn parse(json: &str, line: Line) -> Result<Self, EvaluateError> {
        let raw: Raw = match serde_json::from_str(json) {
            Ok(raw) => raw,
            Err(error) => return Err(EvaluateError::Row { line, problem: error.to_string() }),
        };
        let topic = match raw.topic {
            None => None,
            Some(OneOrMany::One(topic)) => Some(topic),
            Some(OneOrMany::Many(topics)) if topics.len() > 1 => {
                let problem = format!("`topic` lists {} topics; a row must have one", topics.len());
                return Err(EvaluateError::Row { line, problem });
            }
            Some(OneOrMany::Many(topics)) => topics.into_iter().next(),
        };
        let probability = raw.sample_probability.unwrap_or(1.0);
        if !(probability > 0.0 && probability <= 1.0) {
            let problem = format!("`sample_probability` is {probability}; it is above 0 and at most 1");
            return Err(EvaluateError::Row { line, problem });
        }
        let (source, published_at, weight) = (raw.source, raw.published_at, 1.0 / probability);
        Ok(Self { line, text: clean(&raw.text), sentiment: raw.sentiment, topic, source, published_at, weight })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_row_stands_for_as_many_posts_as_its_probability_says() {
        let parse = |rest: &str| {
            let line = Line { file: "rows".into(), number: 1 };
            LabelledRow::parse(&format!("{{\"text\": \"Aurora Mills beats\"{rest}}}"), line)
        };
        for (rest, weight) in [("", 1.0), (", \"sample_probability\": 0.25", 4.0), (", \"sample_probability\": 1", 1.0)]
        {
            assert!((parse(rest).unwrap().weight - weight).abs() < 1e-9, "{rest}");
        }
        for bad in ["0", "-0.5", "1.5"] {
            let error = parse(&format!(", \"sample_probability\": {bad}")).unwrap_err().to_string();
            assert!(error.contains("rows:1") && error.contains("above 0 and at most 1"), "{error}");
        }
    }
}
