//! What the page shows: the state of the stages, the latest posts and alerts. Bounded; nothing reads it but the page.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::lines::{AlertLine, DeadLetterLine, FiringLine, PostLine, shown};
use crate::event::{Alert, AlertState, Index, ScoredPost, Subject};
use crate::time::{Clock, Timestamp};

/// Latest posts that are kept.
const POSTS_MAX: usize = 50;
/// Latest alert records that are kept, and alerts that are shown as firing.
const ALERTS_MAX: usize = 100;
/// Latest dead letters that are kept.
const DEAD_LETTERS_MAX: usize = 20;
/// Subjects whose index is kept, and those that are shown.
const INDICES_MAX: (usize, usize) = (2_000, 16);
/// Characters of what a stage says of itself.
const DETAIL_CHARS_MAX: usize = 320;
/// How long a stage that says every second that it is at work may say nothing.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// Seconds over which a rate is taken.
const RATE_SECONDS: i64 = 10;

/// One stage, as last reported.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StageStatus {
    /// Whether it works.
    pub ready: bool,
    /// Why it does not, or what it does.
    pub detail: String,
    /// Partitions assigned.
    pub partitions: usize,
    /// Records between the committed positions and the ends, where it is known.
    pub lag: Option<i64>,
    /// Rows committed since the start.
    pub rows: u64,
    /// Rows committed a second over the last ten seconds.
    pub rows_per_second: f64,
    #[serde(skip)]
    recent: VecDeque<(i64, u64)>,
    /// When its thread was last seen at work, on the monotonic clock; `None` where nobody promised to say so.
    #[serde(skip)]
    seen_at: Option<Duration>,
}

impl StageStatus {
    /// Why it does not work at `now` of the monotonic clock; `None` when it does.
    fn objection(&self, now: Duration) -> Option<String> {
        let silent = self.seen_at.map(|at| now.saturating_sub(at)).filter(|silent| *silent > SILENT_MAX);
        match (silent, self.ready, self.detail.as_str()) {
            (Some(silent), ..) => Some(format!("its thread has stood still for {} s", silent.as_secs())),
            (None, true, _) => None,
            (None, false, "") => Some("not ready yet".to_owned()),
            (None, false, detail) => Some(detail.to_owned()),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    stages: BTreeMap<&'static str, StageStatus>,
    posts: VecDeque<PostLine>,
    alerts: VecDeque<AlertLine>,
    firing: BTreeMap<String, FiringLine>,
    indices: BTreeMap<Subject, Index>,
    dead_letters: VecDeque<DeadLetterLine>,
    model: String,
    finished: bool,
}

impl Inner {
    /// Which stages do not work and why, `None` when all do.
    fn waiting(&self, now: Duration) -> Option<String> {
        if self.stages.is_empty() {
            return Some("no stage has started yet".to_owned());
        }
        let waiting: Vec<String> = self
            .stages
            .iter()
            .filter_map(|(stage, status)| status.objection(now).map(|why| format!("{stage}: {why}")))
            .collect();
        (!waiting.is_empty()).then(|| waiting.join("; "))
    }
}

/// The board. Shared behind an `Arc`; every method holds its lock for moments only, which is why it is a plain mutex.
#[derive(Debug)]
pub struct Board {
    pipeline: String,
    inner: Mutex<Inner>,
}

/// A picture of the board.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// The moment of the picture: the wall clock, or simulated time in `play`.
    pub at: Timestamp,
    /// The pipeline's name.
    pub pipeline: String,
    /// The model that answers.
    pub model: String,
    /// Whether the input is through (`play`).
    pub finished: bool,
    /// Which stages do not work and why; null when all do.
    pub waiting: Option<String>,
    /// By stage.
    pub stages: BTreeMap<&'static str, StageStatus>,
    /// Latest first.
    pub posts: Vec<PostLine>,
    /// Changes of alerts, latest first.
    pub alerts: Vec<AlertLine>,
    /// What is firing now: the worst first, then the youngest.
    pub firing: Vec<FiringLine>,
    /// The index of those who are spoken of most now, as of the last tick.
    pub indices: Vec<Index>,
    /// Latest first.
    pub dead_letters: Vec<DeadLetterLine>,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which model answers.
    pub fn model(&self, model: impl Into<String>) {
        self.inner().model = model.into();
    }

    /// The input is through.
    pub fn finish(&self) {
        self.inner().finished = true;
    }

    /// Whether a stage works, and what there is to say of it.
    pub fn stage(&self, stage: &'static str, ready: bool, detail: impl Into<String>) {
        let mut inner = self.inner();
        let status = inner.stages.entry(stage).or_default();
        status.ready = ready;
        status.detail = shown(&detail.into(), DETAIL_CHARS_MAX);
    }

    /// The thread of a stage is at work at `now` of the monotonic clock, and says so again within seconds; with `None`
    /// it has ended.
    pub fn seen(&self, stage: &'static str, now: Option<Duration>) {
        self.inner().stages.entry(stage).or_default().seen_at = now;
    }

    /// A stage's partitions and lag.
    pub fn progress(&self, stage: &'static str, partitions: usize, lag: Option<i64>) {
        let mut inner = self.inner();
        let status = inner.stages.entry(stage).or_default();
        status.partitions = partitions;
        status.lag = lag;
    }

    /// Rows that a stage committed at `now`.
    pub fn committed(&self, stage: &'static str, rows: u64, now: Timestamp) {
        let mut inner = self.inner();
        let status = inner.stages.entry(stage).or_default();
        status.rows += rows;
        let second = now.millis().div_euclid(1_000);
        // A clock that was set back: what was counted is of another time.
        if status.recent.back().is_some_and(|(at, _)| *at > second) {
            status.recent.clear();
        }
        match status.recent.back_mut() {
            Some((at, count)) if *at == second => *count += rows,
            _ => status.recent.push_back((second, rows)),
        }
        while status.recent.front().is_some_and(|(at, _)| *at <= second - RATE_SECONDS) {
            status.recent.pop_front();
        }
    }

    /// A post was scored.
    pub fn scored(&self, post: &ScoredPost) {
        let line = PostLine::from(post);
        push(&mut self.inner().posts, line, POSTS_MAX);
    }

    /// An alert changed.
    pub fn alert(&self, alert: &Alert) {
        let mut inner = self.inner();
        match alert.state {
            AlertState::Firing => {
                if inner.firing.len() < ALERTS_MAX || inner.firing.contains_key(&alert.fingerprint) {
                    inner.firing.insert(alert.fingerprint.clone(), alert.into());
                }
            }
            AlertState::Pending | AlertState::Resolved => {
                inner.firing.remove(&alert.fingerprint);
            }
        }
        push(&mut inner.alerts, alert.into(), ALERTS_MAX);
    }

    /// A subject has another index.
    pub fn index(&self, index: &Index) {
        let indices = &mut self.inner().indices;
        if index.mentions == 0 {
            indices.remove(&index.subject);
            return;
        }
        if indices.len() >= INDICES_MAX.0 && !indices.contains_key(&index.subject) {
            let oldest = indices.values().min_by_key(|known| known.at).map(|known| known.subject.clone());
            oldest.and_then(|subject| indices.remove(&subject));
        }
        indices.insert(index.subject.clone(), index.clone());
    }

    /// A record became a dead letter.
    pub fn dead_letter(&self, line: DeadLetterLine) {
        push(&mut self.inner().dead_letters, line.cut(), DEAD_LETTERS_MAX);
    }

    /// Whether every stage works; `Err` names those that do not and why.
    ///
    /// # Errors
    /// When a stage is not ready, or none has reported yet.
    pub fn readiness(&self, clock: &dyn Clock) -> Result<(), String> {
        self.inner().waiting(clock.monotonic()).map_or(Ok(()), Err)
    }

    /// A picture of it now.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rows of ten seconds")]
    pub fn snapshot(&self, clock: &dyn Clock) -> Snapshot {
        let (inner, now) = (self.inner(), clock.now());
        let since = now.millis().div_euclid(1_000) - RATE_SECONDS;
        let mut stages = inner.stages.clone();
        for status in stages.values_mut() {
            let rows: u64 = status.recent.iter().filter(|(at, _)| *at > since).map(|(_, count)| count).sum();
            status.rows_per_second = rows as f64 / RATE_SECONDS as f64;
        }
        let mut firing: Vec<FiringLine> = inner.firing.values().cloned().collect();
        firing.sort_by_key(|line| Reverse((line.alert.severity, line.alert.at)));
        let mut indices: Vec<&Index> = inner.indices.values().collect();
        indices.sort_by_key(|index| Reverse(index.mentions));
        Snapshot {
            at: now,
            pipeline: self.pipeline.clone(),
            model: inner.model.clone(),
            finished: inner.finished,
            waiting: inner.waiting(clock.monotonic()),
            stages,
            posts: inner.posts.iter().rev().cloned().collect(),
            alerts: inner.alerts.iter().rev().cloned().collect(),
            firing,
            indices: indices.into_iter().take(INDICES_MAX.1).cloned().collect(),
            dead_letters: inner.dead_letters.iter().rev().cloned().collect(),
        }
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(item);
}
