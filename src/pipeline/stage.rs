//! What every stage's core is: a synchronous state machine that decides everything and waits for nothing.
//!
//! A shell (threads and a real log, `play`'s simulated time, or a test) feeds it events and carries out its effects.

use crate::pipeline::witness::Witness;
use crate::stream::{Command, Epoch, Feed, Outcome, Partition, Row};
use crate::time::Timestamp;

/// What happens to a stage. `D` is what comes back from its work.
#[derive(Debug)]
pub enum Event<D> {
    /// From its source. `Revoked`'s answer is given by the shell on [`Effect::Settled`].
    Feed(Feed),
    /// Work is done.
    Done(D),
    /// A commit ended.
    Committed(Outcome),
    /// Time passes: at least every 20 ms.
    Turn,
    /// Take nothing new, finish what is begun.
    Finish,
}

/// What a stage wants done. `J` is its work, `N` the note on each committed row.
#[derive(Debug)]
pub enum Effect<J, N> {
    /// Work for its workers; in order, at most [`WORK_MAX`] at a time.
    Work(J),
    /// Commit this; at most one at a time.
    Commit(Epoch<Row<N>>),
    /// For its source.
    Source(Command),
    /// Nothing of these revoked partitions is left.
    Settled(Vec<Partition>),
    /// A partition began again at its committed position.
    WasReset(Partition),
    /// All is done that was to be done.
    Finished,
    /// The process must stop: the restart reads from the log what is true.
    Halt(String),
    /// The process must stop: too much of what comes in cannot be used.
    BadData(String),
}

/// Why a stage stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Something failed, inside or outside.
    Fault(String),
    /// The input is not what the pipeline file says.
    BadData(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Fault(why)
    }
}

/// Jobs that a stage hands out before the first comes back: one at work, one prefetched.
pub const WORK_MAX: usize = 2;

/// A stage's core.
pub trait Stage {
    /// Its work, done outside.
    type Job: Send + 'static;
    /// What comes back.
    type Done: Send + 'static;
    /// What is said about each committed row.
    type Note: Send + 'static;

    /// Takes an event at a moment and says what is to be done.
    fn on(&mut self, event: Event<Self::Done>, now: Timestamp) -> Vec<Effect<Self::Job, Self::Note>>;

    /// The partitions of which anything is held: state, rows, work.
    #[cfg(test)]
    fn held(&self) -> std::collections::BTreeSet<Partition>;

    /// Tells the state that no commit shows (sizes, counts of what was ignored); asked about once a second.
    fn tell(&mut self, _witness: &Witness) {}
}
