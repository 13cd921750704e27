//! What the signal stage must know, and how far back its memory reaches.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::entity::Instruments;
use crate::event::Subject;
use crate::pipeline::Settings;
use crate::rule::Rule;
use crate::window::IndexSettings;

/// The part of a pipeline's settings that makes indices and alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalSettings {
    /// The pipeline's name, part of every fingerprint.
    pub pipeline: Arc<str>,
    /// The index.
    pub index: IndexSettings,
    /// The rules; names are unique.
    pub rules: Vec<Rule>,
    /// What instruments are called in an alert's sentence; who is missing goes by the id.
    pub names: HashMap<Subject, Arc<str>>,
}

impl SignalSettings {
    /// The signal stage's part of a pipeline's settings; instruments go by their ids.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let (index, rules) = (settings.index.clone(), settings.rules.clone());
        Self { pipeline: settings.name.clone(), index, rules, names: HashMap::new() }
    }

    /// The same, with instruments called by their names.
    #[must_use]
    pub fn naming(self, instruments: &Instruments) -> Self {
        let names = instruments.iter().map(|one| (one.subject.clone(), Arc::from(one.name.as_str()))).collect();
        Self { names, ..self }
    }

    /// A subject as a person reads of it: `Boeing (XNYS:BA)`, or the id alone.
    #[must_use]
    pub fn called(&self, subject: &Subject) -> String {
        self.names.get(subject).map_or_else(|| subject.to_string(), |name| format!("{name} ({subject})"))
    }

    /// The longest window: no mention that was published earlier weighs anything.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        self.rules.iter().map(|rule| rule.over).fold(self.index.horizon, Duration::max)
    }

    /// A mention whose event time is further back than this when it comes is late, and ignored.
    #[must_use]
    pub fn lateness_max(&self) -> Duration {
        self.horizon().saturating_add(self.index.novelty_window)
    }

    /// How long a mention is kept after it came: as long as it can weigh, or tell a copy.
    #[must_use]
    pub fn keep(&self) -> Duration {
        self.horizon().max(self.index.novelty_window)
    }

    /// How much log must be read back before a position, counted from the append time of the record before it (not from
    /// the wall clock), so that everything that comes out after it is as if nothing had been lost:
    ///
    /// * `keep_firing`: since when a firing alert is calm stands in no record, so conditions must be right for so long;
    /// * one horizon, the longest silence that counts as time in which an alert was calm;
    /// * one horizon of mentions that weigh;
    /// * the novelty window before the first of them, for its copies;
    /// * one horizon before the first of those, in which their retractions and higher revisions came.
    #[must_use]
    pub fn look_back(&self) -> Duration {
        let keep_firing = self.rules.iter().map(|rule| rule.keep_firing).max().unwrap_or_default();
        keep_firing.saturating_add(self.horizon().saturating_mul(3)).saturating_add(self.index.novelty_window)
    }
}
