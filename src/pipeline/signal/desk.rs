//! One subject's desk: its book, the alerts of every rule that looks at it, and what is due when.

use std::sync::Arc;

use crate::event::{Alert, Index, Origin, Subject};
use crate::pipeline::signal::SignalSettings;
use crate::rule::{Life, Rule, Turn, evidence, fingerprint, summary};
use crate::time::Timestamp;
use crate::window::{Book, Copies, Limits, Window};

/// The moment at which a record is folded in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    /// Log time.
    pub now: Timestamp,
    /// The end of the last silence that was longer than every window.
    pub resumed_at: Timestamp,
    /// The record.
    pub place: &'a Origin,
    /// Whom the record speaks of, with its trace, where it has one.
    pub trace: Option<(&'a Subject, &'a Arc<str>)>,
    /// False while the log is read back.
    pub live: bool,
}

/// The alert of one rule.
#[derive(Debug)]
struct Track {
    rule: usize,
    life: Life,
    /// Up to this offset every change of this alert is on the alerts topic already.
    known_until: i64,
    /// The trace of the mention that began this alert.
    trace: Option<Arc<str>>,
}

/// One subject. Window 0 of its book is the index; window `n + 1` belongs to `tracks[n]`.
#[derive(Debug)]
pub(super) struct Desk {
    pub subject: Subject,
    pub book: Book,
    tracks: Vec<Track>,
    /// The earliest entry in the due queue that is meant for this desk.
    pub scheduled: Option<Timestamp>,
    /// Offset of the last mention.
    pub last_offset: i64,
    /// Whether the index changed since it was last written.
    pub changed: bool,
}

impl Desk {
    /// A desk for `subject`; `known_until` says up to which offset a rule's alert is known.
    pub(super) fn new(subject: Subject, settings: &SignalSettings, known_until: impl Fn(usize) -> i64) -> Self {
        let index = &settings.index;
        let rules = settings.rules.iter().enumerate().filter(|(_, rule)| rule.is_about(&subject));
        let tracks: Vec<Track> = rules
            .map(|(rule, _)| Track { rule, life: Life::Quiet, known_until: known_until(rule), trace: None })
            .collect();
        let mut windows = vec![Window::new(index.horizon, index.half_life)];
        let watching = tracks.iter().filter_map(|track| settings.rules.get(track.rule));
        windows.extend(watching.map(|rule| Window::new(rule.over, rule.half_life)));
        let limits = Limits { keep: settings.keep(), memory: settings.horizon(), mentions_max: index.mentions_max };
        // Every post is a mention of the market: what is new there is new everywhere, and was told apart there.
        let copies = (!subject.is_market()).then(|| Copies::new(index.near_copy, index.novelty_window));
        let book = Book::new(limits, windows, copies);
        Self { subject, book, tracks, scheduled: None, last_offset: -1, changed: false }
    }

    /// Puts an alert where its last record left it, unless that is known.
    pub(super) fn restore(&mut self, alert: &Alert, settings: &SignalSettings) {
        let named = |track: &&mut Track| settings.rules.get(track.rule).is_some_and(|rule| rule.name == alert.rule);
        if let Some(track) = self.tracks.iter_mut().find(named)
            && track.known_until < alert.origin.offset
        {
            (track.life, track.known_until) = (Life::of(alert), alert.origin.offset);
            track.trace.clone_from(&alert.traceparent);
        }
    }

    /// Up to which offset the changes of this rule's alert are known; `None` where the rule does not look here.
    pub(super) fn known_until(&self, rule: usize) -> Option<i64> {
        self.tracks.iter().find(|track| track.rule == rule).map(|track| track.known_until)
    }

    /// Looks at every rule. Returns the alerts that changed.
    pub(super) fn watch(&mut self, moment: Moment<'_>, settings: &SignalSettings) -> Vec<Alert> {
        let mut turned = Vec::new();
        for (number, track) in self.tracks.iter_mut().enumerate() {
            let Some(rule) = settings.rules.get(track.rule) else { continue };
            if moment.place.offset <= track.known_until {
                continue;
            }
            let holds = rule.holds(&self.book.reading(number + 1));
            let was_quiet = track.life.is_quiet();
            if !moment.live {
                track.life.watch(holds, moment.now, moment.resumed_at);
            } else if let Some(turn) = track.life.step(rule, holds, moment.now, moment.resumed_at) {
                if was_quiet {
                    // A record that only made time pass, or speaks of another subject, began nothing.
                    let own = moment.trace.filter(|(subject, _)| **subject == self.subject);
                    track.trace = own.map(|(_, trace)| trace.clone());
                }
                let trace = if track.life.is_quiet() { track.trace.take() } else { track.trace.clone() };
                turned.push((number + 1, rule, turn, trace));
            }
        }
        let alerts = turned.into_iter().map(|(window, rule, turn, trace)| Alert {
            traceparent: trace,
            ..self.alert(rule, window, turn, (moment, settings))
        });
        alerts.collect()
    }

    /// The index record of this moment.
    pub(super) fn index(&self, moment: Moment<'_>) -> Index {
        let reading = self.book.reading(0);
        Index {
            id: moment.place.id_for(&self.subject),
            subject: self.subject.clone(),
            value: reading.value,
            mentions: reading.mentions,
            dispersion: reading.dispersion,
            at: moment.now,
        }
    }

    /// When this desk must be looked at again, if that is sooner than what is scheduled; an alert that is known beyond
    /// this record is looked at with each one.
    pub(super) fn sooner_look(&mut self, moment: Moment<'_>, settings: &SignalSettings) -> Option<Timestamp> {
        let new = self.book.take_soonest();
        // What was there before was scheduled for.
        let change = if self.scheduled.is_some() { new } else { self.book.next_change() };
        let alerts = self.tracks.iter().filter(|track| !track.life.is_quiet());
        let dues = alerts.filter_map(|track| {
            let ahead = moment.place.offset <= track.known_until;
            let rule = settings.rules.get(track.rule)?;
            if ahead { Some(moment.now) } else { track.life.due(rule) }
        });
        let next = dues.chain(change).chain(self.scheduled).min();
        debug_assert!(self.book.next_change().is_none_or(|change| next.is_some_and(|next| next <= change)), "{next:?}");
        next.filter(|_| next != self.scheduled)
    }

    /// The rules whose alert is firing.
    pub(super) fn firing<'a>(&'a self, settings: &'a SignalSettings) -> impl Iterator<Item = &'a Rule> {
        let firing = self.tracks.iter().filter(|track| matches!(track.life, Life::Firing { .. }));
        firing.filter_map(|track| settings.rules.get(track.rule))
    }

    /// Whether there is an alert.
    pub(super) fn is_alerted(&self) -> bool {
        self.tracks.iter().any(|track| !track.life.is_quiet())
    }

    /// Whether nothing would be lost with this desk.
    pub(super) fn is_empty(&self) -> bool {
        self.book.is_empty() && !self.changed && !self.is_alerted()
    }

    fn alert(&self, rule: &Rule, window: usize, turn: Turn, at: (Moment<'_>, &SignalSettings)) -> Alert {
        let (moment, settings) = at;
        let reading = self.book.reading(window);
        let evidence = evidence(rule.bound, self.book.inside(window, moment.now), settings.index.near_copy);
        Alert {
            id: moment.place.id_for(format_args!("{}+{}", rule.name, self.subject)),
            fingerprint: fingerprint(&settings.pipeline, &rule.name, &self.subject),
            rule: rule.name.clone(),
            subject: self.subject.clone(),
            state: turn.state,
            severity: rule.severity,
            starts_at: turn.starts_at,
            ends_at: turn.ends_at,
            fired_at: turn.fired_at,
            at: moment.now,
            value: reading.value,
            threshold: rule.bound.threshold(),
            summary: summary(rule, &settings.called(&self.subject), turn.state, (&reading, &evidence)),
            evidence,
            origin: moment.place.clone(),
            traceparent: None,
        }
    }
}
