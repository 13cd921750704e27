//! A rule as a pipeline file states it.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Severity, Subject};

/// On which side of its bound an index breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Breaks when the index is lower.
    Below(f32),
    /// Breaks when the index is higher.
    Above(f32),
}

/// Which subjects a rule looks at: `XNAS:*`, `topic:*`, `market`, `XNYS:IBM`. A star stands only at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPattern(pub String);

impl SubjectPattern {
    /// Whether a subject is meant.
    #[must_use]
    pub fn matches(&self, subject: &Subject) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => subject.as_str().starts_with(start),
            None => subject.as_str() == self.0,
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, unique in the pipeline.
    pub name: Arc<str>,
    /// Whom it is about: any of these.
    pub subjects: Vec<SubjectPattern>,
    /// The bound on the index.
    pub bound: Bound,
    /// The hard window over which the index is taken.
    pub over: Duration,
    /// Age at which a mention weighs half; `over`/2 unless set.
    pub half_life: Duration,
    /// With fewer mentions in the window the rule is silent. Those with a label count, copies of a story less each time
    /// (a half, a third, …): nobody makes an alert by saying one thing often. `market` knows no copies.
    pub mentions_min: u32,
    /// How long the condition must hold before the alert fires.
    pub hold: Duration,
    /// How long it must not hold before the alert is resolved.
    pub keep_firing: Duration,
    /// How bad it is.
    pub severity: Severity,
}
