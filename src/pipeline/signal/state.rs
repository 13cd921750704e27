//! The state of one partition of mentions: every subject's windows and alerts, as of a position in the log.
//!
//! Records are folded in one by one. What comes out depends on the records of the last [`SignalSettings::look_back`]
//! and on the latest alert records alone, so that a state that is rebuilt from the log goes on as the lost one would
//! have. A mention costs work for its own subject and for those with something due, and nothing for the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Alert, Index, Mention, MentionRecord, Origin, Retraction, Severity, Subject};
use crate::pipeline::signal::SignalSettings;
use crate::pipeline::signal::arrivals::Arrivals;
use crate::pipeline::signal::desk::{Desk, Moment};
use crate::pipeline::signal::due::Due;
use crate::time::Timestamp;
use crate::window::{Retractions, Taken};

/// What a record brought about.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// A subject's index, taken at a tick.
    Index(Index),
    /// An alert turned.
    Alert(Box<Alert>),
}

/// What happened since the counts were last taken (live records only), and what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Subjects with mentions in memory, now.
    pub subjects: u64,
    /// Alerts that fire now: info, warning, critical.
    pub firing: [(Severity, u64); 3],
    /// Mentions that were too old when they came.
    pub late: u64,
    /// Mentions (and retractions) that left early for want of room.
    pub overflow: u64,
    /// Mentions that had been taken back before they came.
    pub retracted: u64,
    /// Mentions of which a higher version (or the same) had come before.
    pub stale: u64,
}

/// The state of one partition.
#[derive(Debug)]
pub struct PartitionState {
    pub(super) settings: Arc<SignalSettings>,
    now: Timestamp,
    /// The last record that was folded in; -1 before the first.
    pub(super) last_offset: i64,
    resumed_at: Timestamp,
    is_live: bool,
    pub(super) desks: Vec<Option<Desk>>,
    free: Vec<u32>,
    pub(super) numbers: HashMap<Subject, u32>,
    pub(super) due: Due,
    arrivals: Arrivals,
    /// The room that all books take.
    room: usize,
    /// Desks whose index changed since the last tick.
    changed: Vec<u32>,
    retractions: Retractions,
    /// Alerts that are not over but whose rule is gone.
    pub(super) orphans: Vec<Alert>,
    /// Offsets up to which alerts that are over are known, by rule and subject.
    pub(super) known_until: HashMap<(usize, Subject), i64>,
    counts: Counts,
}

impl PartitionState {
    /// An empty state of one partition of mentions. First [`PartitionState::restore`], then fold the look-back in
    /// (`live` false), then what is new.
    #[must_use]
    pub fn new(settings: Arc<SignalSettings>) -> Self {
        let retractions = Retractions::new(settings.horizon());
        Self {
            settings,
            now: Timestamp::MIN,
            last_offset: -1,
            resumed_at: Timestamp::MIN,
            is_live: false,
            desks: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
            due: Due::default(),
            arrivals: Arrivals::default(),
            room: 0,
            changed: Vec::new(),
            retractions,
            orphans: Vec::new(),
            known_until: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// Folds one record in. `place` is where it stands in the mentions topic, `live` is false while the log is read
    /// back: then the state changes and nothing comes out.
    pub fn fold(&mut self, record: MentionRecord, place: &Origin, appended_at: Timestamp, live: bool) -> Vec<Finding> {
        let horizon = self.settings.horizon();
        let before = self.now;
        let resumed = before != Timestamp::MIN && appended_at.since(before) > horizon;
        self.now = before.max(appended_at);
        self.last_offset = place.offset;
        if resumed {
            self.resumed_at = self.now;
        }
        let trace = match &record {
            MentionRecord::Mention(mention) => {
                mention.traceparent.clone().map(|trace| (mention.subject.clone(), trace))
            }
            MentionRecord::Retraction(_) | MentionRecord::Tick(_) => None,
        };
        let trace = trace.as_ref().map(|(subject, trace)| (subject, trace));
        let moment = Moment { now: self.now, resumed_at: self.resumed_at, place, trace, live };
        let mut findings = Vec::new();
        let mut touched = self.take_due(moment);
        if resumed {
            touched.extend(self.numbers_of(Desk::is_alerted));
        }
        if live && !self.is_live {
            self.is_live = true;
            self.counts = Counts::default();
            self.resolve_orphans(moment, &mut findings);
            touched.extend(self.numbers_of(|_| true));
        }
        let is_tick = matches!(record, MentionRecord::Tick(_)) || self.is_overdue(before, moment);
        match record {
            MentionRecord::Mention(mention) => self.tell(mention, moment, appended_at, &mut touched),
            MentionRecord::Retraction(retraction) => self.retract(&retraction, moment, &mut touched),
            MentionRecord::Tick(_) => {}
        }
        touched.sort_unstable();
        touched.dedup();
        for number in touched {
            self.look_at(number, moment, &mut findings);
        }
        if is_tick {
            self.write_indices(moment, &mut findings);
        }
        findings.sort_by(|one, other| one.order().cmp(&other.order()));
        findings
    }

    /// Where no ticks come, indices are written once a horizon, so that no change waits for longer than is read back. So
    /// they are at the first record: the log begins with it, or it came after a silence longer than is read back.
    fn is_overdue(&self, before: Timestamp, moment: Moment<'_>) -> bool {
        if before == Timestamp::MIN {
            return true;
        }
        let horizon = self.settings.horizon();
        number_of(before, horizon) != number_of(moment.now, horizon)
    }

    /// What happened since the last call, and what is.
    pub fn take_counts(&mut self) -> Counts {
        let mut counts = std::mem::take(&mut self.counts);
        counts.firing = [(Severity::Info, 0), (Severity::Warning, 0), (Severity::Critical, 0)];
        for desk in self.desks.iter().flatten() {
            counts.subjects += u64::from(!desk.book.is_empty());
            for rule in desk.firing(&self.settings) {
                for (severity, firing) in &mut counts.firing {
                    *firing += u64::from(*severity == rule.severity);
                }
            }
        }
        counts
    }

    fn tell(&mut self, mention: Mention, moment: Moment<'_>, appended_at: Timestamp, touched: &mut Vec<u32>) {
        let at = mention.published_at.min(appended_at);
        if at < moment.now.minus(self.settings.lateness_max()) {
            self.counts.late += 1;
            return;
        }
        if self.retractions.cover(&mention.post_id, mention.revision, moment.now) {
            self.counts.retracted += 1;
            return;
        }
        let number = self.desk_of(&mention.subject);
        self.arrivals.push(moment.place.offset, number);
        let told = self.at_desk(number, |desk| {
            desk.last_offset = moment.place.offset;
            desk.book.advance(moment.now);
            (desk.book.tell(mention, at, moment.place.offset, moment.now), desk.book.take_overflowed())
        });
        let Some((taken, overflowed)) = told else { return };
        self.counts.stale += u64::from(taken == Taken::Stale);
        self.counts.overflow += overflowed;
        touched.push(number);
        if self.numbers.len() > self.settings.index.subjects_max {
            self.make_room(number, touched);
        }
        self.forget_the_first(touched);
    }

    /// Does something at a desk whose book may grow or shrink by it.
    fn at_desk<R>(&mut self, number: u32, act: impl FnOnce(&mut Desk) -> R) -> Option<R> {
        let desk = self.desks.get_mut(number as usize)?.as_mut()?;
        let before = desk.book.room();
        let result = act(desk);
        self.room = (self.room + desk.book.room()).saturating_sub(before);
        Some(result)
    }

    /// The mentions with the lowest offsets leave until there are few enough in the partition.
    fn forget_the_first(&mut self, touched: &mut Vec<u32>) {
        while self.room > self.settings.index.partition_mentions_max {
            let desks = &self.desks;
            let Some(number) = self.arrivals.pop(|offset, desk| is_remembered(desks, offset, desk)) else { return };
            let overflowed = self.at_desk(number, |desk| {
                desk.book.forget_first();
                desk.book.take_overflowed()
            });
            self.counts.overflow += overflowed.unwrap_or_default();
            touched.push(number);
        }
        let desks = &self.desks;
        self.arrivals.tidy(self.room, |offset, desk| is_remembered(desks, offset, desk));
    }

    fn retract(&mut self, retraction: &Retraction, moment: Moment<'_>, touched: &mut Vec<u32>) {
        self.counts.overflow += self.retractions.remember(&retraction.post_id, retraction.before, moment.now);
        // Which subjects a post had is remembered in their books alone: a list of its own would have no bound.
        for number in self.numbers_of(|desk| desk.book.knows(&retraction.post_id)) {
            let retracted = self.at_desk(number, |desk| {
                desk.book.advance(moment.now);
                desk.book.retract(&retraction.post_id, retraction.before)
            });
            touched.extend((retracted == Some(true)).then_some(number));
        }
    }

    fn numbers_of(&self, wanted: impl Fn(&Desk) -> bool) -> Vec<u32> {
        let desks = (0..).zip(&self.desks);
        desks.filter(|(_, desk)| desk.as_ref().is_some_and(&wanted)).map(|(number, _)| number).collect()
    }

    /// The desks that something is due for.
    fn take_due(&mut self, moment: Moment<'_>) -> Vec<u32> {
        let mut touched = Vec::new();
        while let Some(number) = self.due.pop(moment.now) {
            let Some(Some(desk)) = self.desks.get_mut(number as usize) else { continue };
            desk.scheduled = None;
            touched.push(number);
        }
        touched
    }

    /// Brings one desk up to now, looks at its rules, and says when to look again.
    fn look_at(&mut self, number: u32, moment: Moment<'_>, findings: &mut Vec<Finding>) {
        self.at_desk(number, |desk| desk.book.advance(moment.now));
        let Some(Some(desk)) = self.desks.get_mut(number as usize) else { return };
        let turned = desk.watch(moment, &self.settings);
        findings.extend(turned.into_iter().map(|alert| Finding::Alert(Box::new(alert))));
        if desk.book.take_changed() && !desk.changed {
            desk.changed = true;
            self.changed.push(number);
        }
        if let Some(next) = desk.sooner_look(moment, &self.settings) {
            self.due.put(number, desk.scheduled.replace(next), next);
            debug_assert!(self.due.len() <= self.desks.len(), "something is due for a subject more than once");
        }
        self.close_if_empty(number);
    }

    fn write_indices(&mut self, moment: Moment<'_>, findings: &mut Vec<Finding>) {
        for number in std::mem::take(&mut self.changed) {
            if let Some(Some(desk)) = self.desks.get_mut(number as usize) {
                desk.changed = false;
                findings.extend(moment.live.then(|| Finding::Index(desk.index(moment))));
            }
            self.close_if_empty(number);
        }
    }

    pub(super) fn desk_of(&mut self, subject: &Subject) -> u32 {
        if let Some(number) = self.numbers.get(subject) {
            return *number;
        }
        let known = |rule| self.known_until.get(&(rule, subject.clone())).copied().unwrap_or(-1);
        let desk = Desk::new(subject.clone(), &self.settings, known);
        let number = self.free.pop().unwrap_or(u32::try_from(self.desks.len()).unwrap_or(u32::MAX));
        match self.desks.get_mut(number as usize) {
            Some(place) => *place = Some(desk),
            None => self.desks.push(Some(desk)),
        }
        self.numbers.insert(subject.clone(), number);
        number
    }

    /// Clears the book that has been silent the longest until there are few enough.
    fn make_room(&mut self, newest: u32, touched: &mut Vec<u32>) {
        let full = |desk: &Option<Desk>| desk.as_ref().is_some_and(|desk| !desk.book.is_empty());
        while self.desks.iter().filter(|desk| full(desk)).count() > self.settings.index.subjects_max {
            let others = (0..).zip(self.desks.iter_mut()).filter(|(number, _)| *number != newest);
            let books = others.filter_map(|(number, desk)| desk.as_mut().map(|desk| (number, desk)));
            let silent = books.filter(|(_, desk)| !desk.book.is_empty()).min_by_key(|(_, desk)| desk.last_offset);
            let Some((number, desk)) = silent else { return };
            self.counts.overflow += desk.book.len() as u64;
            self.at_desk(number, |desk| desk.book.clear());
            touched.push(number);
        }
    }

    fn close_if_empty(&mut self, number: u32) {
        let Some(place) = self.desks.get_mut(number as usize) else { return };
        if let Some(desk) = place.take_if(|desk| desk.is_empty()) {
            self.due.forget(number, desk.scheduled);
            self.numbers.remove(&desk.subject);
            self.free.push(number);
        }
    }
}

/// Whether a mention that came at that offset is still in the book of that desk. A number that another subject has now
/// has higher offsets only.
fn is_remembered(desks: &[Option<Desk>], offset: i64, desk: u32) -> bool {
    let desk = desks.get(desk as usize).and_then(Option::as_ref);
    desk.and_then(|desk| desk.book.first_offset()).is_some_and(|first| first <= offset)
}

/// How many whole spans log time has seen.
fn number_of(at: Timestamp, span: Duration) -> i64 {
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX).max(1);
    at.micros().div_euclid(micros)
}

impl Finding {
    /// Alerts first; each kind by its id. The order of a record's findings must not depend on the state's history.
    fn order(&self) -> (bool, &str) {
        match self {
            Self::Alert(alert) => (false, &alert.id),
            Self::Index(index) => (true, &index.id),
        }
    }
}
