//! The life of an alert: a state machine over log time.

use xxhash_rust::xxh3::xxh3_128;

use crate::event::{Alert, AlertState, Subject};
use crate::rule::{Bound, Rule};
use crate::time::Timestamp;
use crate::window::Reading;

/// Where the alert of one rule and subject stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Life {
    /// Nothing is wrong.
    #[default]
    Quiet,
    /// The condition holds, but not yet for long enough.
    Pending {
        /// Since when.
        since: Timestamp,
    },
    /// It held for long enough.
    Firing {
        /// Since when the condition held.
        since: Timestamp,
        /// When it had held for long enough.
        fired_at: Timestamp,
        /// Since when it holds no more, if it does not.
        calm_since: Option<Timestamp>,
    },
}

/// A change of state: what an alert record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The new state.
    pub state: AlertState,
    /// When the condition began to hold.
    pub starts_at: Timestamp,
    /// When it fired, if it did.
    pub fired_at: Option<Timestamp>,
    /// When it was over, if it is.
    pub ends_at: Option<Timestamp>,
}

impl Bound {
    /// The figure to be crossed.
    #[must_use]
    pub const fn threshold(self) -> f32 {
        match self {
            Self::Below(threshold) | Self::Above(threshold) => threshold,
        }
    }

    fn is_crossed(self, value: f32) -> bool {
        match self {
            Self::Below(threshold) => value < threshold,
            Self::Above(threshold) => value > threshold,
        }
    }
}

impl Rule {
    /// Whether the rule looks at this subject.
    #[must_use]
    pub fn is_about(&self, subject: &Subject) -> bool {
        self.subjects.iter().any(|pattern| pattern.matches(subject))
    }

    /// Whether what its window shows breaks the bound, with enough stories.
    #[must_use]
    pub fn holds(&self, reading: &Reading) -> bool {
        reading.tellings >= self.mentions_min && reading.value.is_some_and(|value| self.bound.is_crossed(value))
    }
}

impl Life {
    /// Where the alert stood after that record.
    #[must_use]
    pub fn of(alert: &Alert) -> Self {
        let since = alert.starts_at;
        match alert.state {
            AlertState::Pending => Self::Pending { since },
            AlertState::Firing => {
                Self::Firing { since, fired_at: alert.fired_at.unwrap_or(alert.at), calm_since: None }
            }
            AlertState::Resolved => Self::Quiet,
        }
    }

    /// The condition was looked at, at `now`. Time in which nothing was said at all, up to `resumed_at`, does not count
    /// towards a firing alert's end.
    pub fn step(&mut self, rule: &Rule, holds: bool, now: Timestamp, resumed_at: Timestamp) -> Option<Turn> {
        self.watch(holds, now, resumed_at);
        match *self {
            Self::Quiet if holds && rule.hold.is_zero() => Some(self.fire(now, now)),
            Self::Quiet if holds => {
                *self = Self::Pending { since: now };
                Some(Turn { state: AlertState::Pending, starts_at: now, fired_at: None, ends_at: None })
            }
            Self::Pending { since } if !holds => Some(self.end(since, None, now)),
            Self::Pending { since } if now.since(since) >= rule.hold => Some(self.fire(since, now)),
            Self::Firing { since, fired_at, calm_since: Some(calm) } if now.since(calm) >= rule.keep_firing => {
                Some(self.end(since, Some(fired_at), now))
            }
            Self::Quiet | Self::Pending { .. } | Self::Firing { .. } => None,
        }
    }

    /// The condition was looked at while the log was read back: only what no record tells is noted, which is since when
    /// a firing alert is calm.
    pub fn watch(&mut self, holds: bool, now: Timestamp, resumed_at: Timestamp) {
        if let Self::Firing { calm_since, .. } = self {
            *calm_since = if holds { None } else { Some(calm_since.unwrap_or(now).max(resumed_at)) };
        }
    }

    /// The rule is gone, or no longer meant for the subject: the alert ends now, if there is one.
    pub fn abandon(&mut self, now: Timestamp) -> Option<Turn> {
        match *self {
            Self::Quiet => None,
            Self::Pending { since } => Some(self.end(since, None, now)),
            Self::Firing { since, fired_at, .. } => Some(self.end(since, Some(fired_at), now)),
        }
    }

    /// When time alone changes the state next, if the condition stays as it is.
    #[must_use]
    pub fn due(&self, rule: &Rule) -> Option<Timestamp> {
        match self {
            Self::Pending { since } => Some(since.plus(rule.hold)),
            Self::Firing { calm_since: Some(calm), .. } => Some(calm.plus(rule.keep_firing)),
            Self::Quiet | Self::Firing { calm_since: None, .. } => None,
        }
    }

    /// Whether there is no alert.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        *self == Self::Quiet
    }

    fn fire(&mut self, since: Timestamp, now: Timestamp) -> Turn {
        *self = Self::Firing { since, fired_at: now, calm_since: None };
        Turn { state: AlertState::Firing, starts_at: since, fired_at: Some(now), ends_at: None }
    }

    fn end(&mut self, since: Timestamp, fired_at: Option<Timestamp>, now: Timestamp) -> Turn {
        *self = Self::Quiet;
        Turn { state: AlertState::Resolved, starts_at: since, fired_at, ends_at: Some(now) }
    }
}

/// The fingerprint of all alerts of a rule about a subject: 32 hexadecimal digits.
#[must_use]
pub fn fingerprint(pipeline: &str, rule: &str, subject: &Subject) -> String {
    // The zero byte keeps the parts apart: none of them can hold one.
    format!("{:032x}", xxh3_128(format!("{pipeline}\0{rule}\0{subject}").as_bytes()))
}
