//! Alerts that are on the log: read back into a state, known up to their last record, and ended where their rule is gone.

use std::collections::HashMap;

use crate::event::Alert;
use crate::pipeline::signal::desk::Moment;
use crate::pipeline::signal::{Finding, PartitionState, SignalSettings};
use crate::rule::{Life, Rule};
use crate::time::Timestamp;

impl PartitionState {
    /// Puts every alert where its last record left it. Takes all records of the partition's alerts, or the latest of
    /// each fingerprint, in any order. To be called before the first record is folded in; and again when later ones are
    /// known, before a record is folded in that they could come from: what was known already stays as it is.
    pub fn restore(&mut self, alerts: Vec<Alert>) {
        let mut latest: HashMap<String, Alert> = HashMap::new();
        for alert in alerts {
            let known = latest.get(&alert.fingerprint);
            if known.is_none_or(|known| known.origin.offset <= alert.origin.offset) {
                latest.insert(alert.fingerprint.clone(), alert);
            }
        }
        let settings = self.settings.clone();
        // What is over must be known before a desk is made: it may be another rule's desk too.
        let (over, open): (Vec<Alert>, Vec<Alert>) = latest.into_values().partition(|alert| Life::of(alert).is_quiet());
        self.orphans.clear();
        for alert in over {
            if let Some(rule) = rule_of(&settings, &alert) {
                let known = self.known_until.entry((rule, alert.subject.clone())).or_insert(-1);
                *known = alert.origin.offset.max(*known);
                if let Some(number) = self.numbers.get(&alert.subject).copied() {
                    self.put(&alert, number);
                }
            }
        }
        for alert in open {
            if rule_of(&settings, &alert).is_none() {
                self.orphans.push(alert);
                continue;
            }
            let number = self.desk_of(&alert.subject);
            self.put(&alert, number);
        }
        self.orphans.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
    }

    /// Whether one of these alerts is not known though the record that it came from is folded in: what followed was looked
    /// at without it.
    pub fn comes_too_late(&self, alerts: &[Alert]) -> bool {
        let is_missed = |alert: &Alert| {
            let Some(rule) = rule_of(&self.settings, alert) else { return false };
            let desk = self.numbers.get(&alert.subject).and_then(|number| self.desks.get(*number as usize)?.as_ref());
            let known = desk.and_then(|desk| desk.known_until(rule));
            let known = known.max(self.known_until.get(&(rule, alert.subject.clone())).copied());
            known.is_none_or(|known| known < alert.origin.offset)
        };
        alerts.iter().any(|alert| alert.origin.offset <= self.last_offset && is_missed(alert))
    }

    /// Puts an alert where its record left it, and looks at its desk with the next record.
    fn put(&mut self, alert: &Alert, number: u32) {
        if let Some(Some(desk)) = self.desks.get_mut(number as usize) {
            desk.restore(alert, &self.settings);
            self.due.put(number, desk.scheduled.replace(Timestamp::MIN), Timestamp::MIN);
        }
    }

    /// Ends the alerts that no rule watches any more.
    pub(super) fn resolve_orphans(&mut self, moment: Moment<'_>, findings: &mut Vec<Finding>) {
        let settings = self.settings.clone();
        for alert in std::mem::take(&mut self.orphans) {
            let over = Life::of(&alert).abandon(moment.now);
            let resolved = over.map(|turn| Alert {
                id: moment.place.id_for(format_args!("{}+{}", alert.rule, alert.subject)),
                state: turn.state,
                ends_at: turn.ends_at,
                at: moment.now,
                value: None,
                summary: format!("{}: the rule {} no longer watches it", settings.called(&alert.subject), alert.rule),
                evidence: Vec::new(),
                origin: moment.place.clone(),
                ..alert
            });
            findings.extend(resolved.map(|alert| Finding::Alert(Box::new(alert))));
        }
    }
}

/// The rule that an alert is of, and that looks at its subject.
fn rule_of(settings: &SignalSettings, alert: &Alert) -> Option<usize> {
    let meant = |rule: &Rule| rule.name == alert.rule && rule.is_about(&alert.subject);
    settings.rules.iter().position(meant)
}
