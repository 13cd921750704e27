//! The witness: turns what was committed into metrics, the board of the page and the tape of the terminal.
//!
//! It sees rows only after their commit was acknowledged, and nothing waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};

use crate::event::{Action, Alert, AlertState, Reason, ScoredPost};
use crate::metrics;
use crate::model::{Drift, Findings, ScoreStats, Seen};
use crate::pipeline::archive::ArchiveNote;
use crate::pipeline::score::{ScoreNote, ScoredNote};
use crate::pipeline::signal::SignalNote;
use crate::stream::Command;
use crate::telemetry::Metrics;
use crate::time::{Clock, Timestamp};
use crate::web::{Board, DeadLetterLine};

/// One line of the tape.
#[derive(Debug, Clone)]
pub enum TapeEvent {
    /// A post was scored.
    Scored(Box<ScoredPost>),
    /// An alert changed.
    Alert {
        /// The alert.
        alert: Box<Alert>,
        /// When the post that tipped it was published; `None` when time did.
        published_at: Option<Timestamp>,
    },
    /// A record became a dead letter.
    Dead {
        /// The stage that gave up.
        stage: &'static str,
        /// The class.
        reason: Reason,
        /// What was wrong.
        message: String,
    },
    /// A segment was published with so many rows.
    Segment {
        /// Rows kept.
        rows: usize,
    },
}

/// Watches commits. Clones share everything.
#[derive(Clone)]
pub struct Witness {
    /// The metrics.
    pub metrics: Metrics,
    /// The page's board.
    pub board: Arc<Board>,
    /// The wall clock that latencies are taken by.
    pub clock: Arc<dyn Clock>,
    /// The tape; lines are dropped when nobody keeps up, never waited for (`None` in `run`).
    pub tape: Option<Sender<TapeEvent>>,
    /// Whether a full tape is waited for (`play` counts from it).
    pub tape_waits: bool,
    /// What posts look like beside those on which the model was judged.
    pub drift: Arc<Mutex<Drift>>,
    /// Stages of this process that take nothing more before some of their work is done.
    pub waiting: Arc<AtomicUsize>,
}

/// How a note is told to a witness.
pub trait Told {
    /// Tells it, committed at `now`.
    fn tell(&self, witness: &Witness, now: Timestamp);

    /// What the page counts it as: records that were read for a reason, or rows that were written.
    fn rows(&self) -> u64 {
        1
    }
}

impl Witness {
    /// One for a test.
    #[cfg(test)]
    pub(in crate::pipeline) fn alone(clock: Arc<dyn Clock>) -> Self {
        Self {
            metrics: Metrics::new().unwrap(),
            board: Arc::new(Board::new("test")),
            clock,
            tape: None,
            tape_waits: false,
            drift: Arc::default(),
            waiting: Arc::default(),
        }
    }

    /// A stage asked its source to pause, or to go on.
    pub(in crate::pipeline) fn paused(&self, command: &Command) {
        match command {
            Command::Pause => drop(self.waiting.fetch_add(1, Ordering::Relaxed)),
            Command::Resume => drop(self.waiting.fetch_sub(1, Ordering::Relaxed)),
            Command::Reset(_) | Command::Stop => {}
        }
    }

    /// Whether a stage of this process has more to do than it can.
    pub(in crate::pipeline) fn is_pressed(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// A stage's commit: its rows and how long it took.
    pub(in crate::pipeline) fn committed<'a, N: Told + 'a>(
        &self,
        stage: &'static str,
        notes: impl Iterator<Item = &'a N>,
        took: Duration,
    ) {
        let now = self.clock.now();
        let (mut records, mut rows) = (0, 0);
        for note in notes {
            note.tell(self, now);
            records += 1;
            rows += note.rows();
        }
        self.metrics.add(&metrics::RECORDS, &[stage], records);
        self.metrics.observe(&metrics::COMMIT, &[stage, "committed"], took.as_secs_f64());
        self.board.committed(stage, rows, now);
    }

    /// A commit that did not happen.
    pub(in crate::pipeline) fn not_committed(&self, stage: &'static str, outcome: &'static str, took: Duration) {
        self.metrics.observe(&metrics::COMMIT, &[stage, outcome], took.as_secs_f64());
    }

    /// A pool went through the model.
    #[expect(clippy::cast_precision_loss, reason = "sizes of batches")]
    pub(in crate::pipeline) fn scoring(&self, posts: usize, stats: &ScoreStats) {
        let metrics = &self.metrics;
        metrics.observe(&metrics::POOL_POSTS, &[], posts as f64);
        metrics.add(&metrics::CACHE, &["hit"], stats.cache_hits);
        metrics.add(&metrics::CACHE, &["miss"], stats.cache_misses);
        for batch in &stats.batches {
            metrics.observe(&metrics::BATCH_ROWS, &[], batch.rows as f64);
            metrics.observe(&metrics::INFERENCE, &[], batch.seconds);
            let padding = batch.padded_tokens.saturating_sub(batch.text_tokens);
            metrics.add(&metrics::TOKENS, &["text"], u64::try_from(batch.text_tokens).unwrap_or(0));
            metrics.add(&metrics::TOKENS, &["padding"], u64::try_from(padding).unwrap_or(0));
        }
    }

    fn tape(&self, event: TapeEvent) {
        let Some(tape) = &self.tape else { return };
        if self.tape_waits {
            drop(tape.send(event));
        } else if let Err(TrySendError::Disconnected(_)) = tape.try_send(event) {
            tracing::debug!("nobody reads the tape any more");
        }
    }

    fn dead(&self, stage: &'static str, reason: Reason, message: &str, now: Timestamp) {
        self.metrics.add(&metrics::DEAD_LETTERS, &[stage, reason.as_str()], 1);
        self.board.dead_letter(DeadLetterLine {
            at: now,
            stage,
            reason: reason.to_string(),
            message: message.to_owned(),
        });
        self.tape(TapeEvent::Dead { stage, reason, message: message.to_owned() });
    }
}

impl Told for ScoreNote {
    fn tell(&self, witness: &Witness, now: Timestamp) {
        match self {
            Self::Scored(note) => {
                witness.metrics.add(&metrics::SUBJECTS_DROPPED, &[], u64::try_from(note.dropped).unwrap_or(0));
                witness.metrics.add(&metrics::TEXTS_TRUNCATED, &[], u64::from(note.scored.truncated));
                scored(witness, &note.scored, now);
                if note.scored.action != Action::Deleted {
                    drift(witness, note);
                }
            }
            Self::Dead(reason, message) => witness.dead("score", *reason, message, now),
            Self::Tick => witness.metrics.add(&metrics::TICKS, &[], 1),
        }
    }

    fn rows(&self) -> u64 {
        u64::from(!matches!(self, Self::Tick))
    }
}

fn scored(witness: &Witness, post: &ScoredPost, now: Timestamp) {
    let metrics = &witness.metrics;
    metrics.add(&metrics::POSTS, &[&post.kind], 1);
    metrics.add(&metrics::SCORED, &[post.sentiment.label.as_deref().unwrap_or("abstained")], 1);
    for (task, reason) in [("sentiment", post.sentiment.reason), ("topic", post.topic.reason)] {
        if let Some(reason) = reason {
            metrics.add(&metrics::ABSTENTIONS, &[task, abstention(reason)], 1);
        }
    }
    for link in &post.subjects {
        let kind = if link.subject.is_market() {
            "market"
        } else if link.subject.is_topic() {
            "topic"
        } else {
            "instrument"
        };
        metrics.add(&metrics::MENTIONS, &[kind], 1);
    }
    metrics.observe(&metrics::PUBLISHED_TO_SCORED, &[], now.since(post.published_at).as_secs_f64());
    metrics.observe(&metrics::APPENDED_TO_SCORED, &[], now.since(post.appended_at).as_secs_f64());
    if post.action != Action::Deleted {
        witness.board.scored(post);
    }
    witness.tape(TapeEvent::Scored(Box::new(post.clone())));
}

/// Whether posts and answers still look as they did where the model was judged.
fn drift(witness: &Witness, ScoredNote { scored, tokens, .. }: &ScoredNote) {
    let seen = Seen {
        tokens: tokens.as_ref(),
        unasked: if tokens.is_some() { None } else { scored.sentiment.reason },
        said: [("sentiment", scored.sentiment.best()), ("topic", scored.topic.best())],
    };
    let mut drift = witness.drift.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Findings { distances, accuracy }) = drift.note(&scored.model.version, &seen) else { return };
    for (feature, distance) in distances {
        witness.metrics.set(&metrics::DRIFT, &[&feature], distance);
    }
    for (task, estimated, judged) in accuracy {
        witness.metrics.set(&metrics::ACCURACY, &[&task, "estimated"], estimated);
        witness.metrics.set(&metrics::ACCURACY, &[&task, "judged"], judged);
    }
}

const fn abstention(reason: crate::event::Abstention) -> &'static str {
    use crate::event::Abstention;
    match reason {
        Abstention::LowConfidence => "low_confidence",
        Abstention::UnknownLanguage => "unknown_language",
        Abstention::EmptyText => "empty_text",
        Abstention::Deleted => "deleted",
        Abstention::NotAnswered => "not_answered",
    }
}

impl Told for SignalNote {
    fn tell(&self, witness: &Witness, now: Timestamp) {
        match self {
            Self::Folded { indices, alerts, published_at } => {
                indices.iter().for_each(|index| witness.board.index(index));
                for alert in alerts {
                    let state = match alert.state {
                        AlertState::Pending => "pending",
                        AlertState::Firing => "firing",
                        AlertState::Resolved => "resolved",
                    };
                    let labels = [&*alert.rule, &alert.severity.to_string(), state];
                    witness.metrics.add(&metrics::ALERTS, &labels, 1);
                    if let (AlertState::Firing, Some(at)) = (alert.state, published_at) {
                        witness.metrics.observe(&metrics::PUBLISHED_TO_ALERT, &[], now.since(*at).as_secs_f64());
                    }
                    witness.board.alert(alert);
                    witness.tape(TapeEvent::Alert { alert: Box::new(alert.clone()), published_at: *published_at });
                }
            }
            Self::Dead(reason, message) => witness.dead("signal", *reason, message, now),
        }
    }
}

impl Told for ArchiveNote {
    fn tell(&self, witness: &Witness, now: Timestamp) {
        match self {
            Self::Segment { dataset, kept, bytes, taken } => {
                let result = if *taken { "taken" } else { "written" };
                witness.metrics.add(&metrics::SEGMENTS, &[dataset, result], 1);
                if *taken {
                    return;
                }
                witness.metrics.add(&metrics::SEGMENT_BYTES, &[dataset], *bytes);
                let mut rows = 0;
                for (reason, count) in kept {
                    rows += count;
                    witness.metrics.add(&metrics::SAMPLES, &[reason], u64::try_from(*count).unwrap_or(0));
                }
                if *dataset == "samples" {
                    witness.tape(TapeEvent::Segment { rows });
                }
            }
            Self::Dead(reason, message) => witness.dead("archive", *reason, message, now),
        }
    }

    fn rows(&self) -> u64 {
        match self {
            Self::Segment { kept, taken: false, .. } => kept.iter().map(|(_, count)| *count as u64).sum(),
            Self::Segment { .. } => 0,
            Self::Dead(..) => 1,
        }
    }
}
