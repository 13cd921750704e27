//! What a stage keeps of its source: a way to command it, and what is known about it.

use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::kafka::membership::{Lag, Membership, Rebalances};
use crate::stream::Command;

/// What can be asked beside the stage's own commands.
#[derive(Debug)]
pub(super) enum Order {
    Command(Command),
    MarkEnd,
}

/// A running source.
pub struct SourceHandle {
    pub(super) orders: Sender<Order>,
    pub(super) membership: Membership,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl SourceHandle {
    /// Hands a command over; one to a source that has ended does nothing.
    pub fn command(&self, command: Command) {
        let _ended = self.orders.send(Order::Command(command));
    }

    /// Asks for a [`Feed::End`] of each assigned partition, for the end that it has now. Who has much to do is not asked
    /// again: it was asked before.
    pub fn mark_end(&self) {
        let _full_or_ended = self.orders.try_send(Order::MarkEnd);
    }

    /// The place in the group, for commits.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.membership.clone()
    }

    /// How far each assigned partition is behind. A partition written in transactions has 1 or 2 at rest.
    #[must_use]
    pub fn lags(&self) -> Vec<Lag> {
        self.membership.board.lags()
    }

    /// When the thread polled last, in the clock's monotonic time: when this is long ago, the source hangs.
    #[must_use]
    pub fn polled_at(&self) -> Duration {
        self.membership.board.polled_at()
    }

    /// How often partitions came and went.
    #[must_use]
    pub fn rebalances(&self) -> Rebalances {
        self.membership.board.rebalances()
    }

    /// Waits until the source has ended and everything was handed over; ask it to [`Command::Stop`] before.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a source's thread panicked");
            }
        }
    }
}

impl fmt::Debug for SourceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceHandle").field("membership", &self.membership).finish_non_exhaustive()
    }
}
