//! The port through which an epoch is committed. Two implementations: `kafka` and `memory`.

use crate::stream::{Output, Partition, Position};

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The same call may succeed if made again.
    #[error("{0}")]
    Retriable(String),
    /// The transaction must be aborted; the same epoch may be tried again.
    #[error("{0}")]
    Abortable(String),
    /// The consumer was put out of its group: abort, reset its partitions, join again.
    #[error("fenced: {0}")]
    FencedMember(String),
    /// The commit before this transaction was acknowledged and did not happen: its partitions begin again at what is
    /// committed, like those of the epoch that is aborted.
    #[error("undone: {why}")]
    Undone {
        /// Those whose positions it carried.
        partitions: Vec<Partition>,
        /// How that is known.
        why: String,
    },
    /// Nobody knows whether it happened: neither abort nor repeat.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The producer is unusable (fenced by another with its id, a fatal client error).
    #[error("{0}")]
    Fatal(String),
}

/// One producer with one transaction at a time. All calls block; none is made from an async task.
pub trait Transaction {
    /// Begins a transaction.
    ///
    /// # Errors
    /// A [`Fault`], as with every call below.
    fn begin(&mut self) -> Result<(), Fault>;

    /// Hands one output over; inside a transaction when one was begun. It may still be on its way on return.
    ///
    /// # Errors
    /// `Retriable` when the client's queue is full.
    fn produce(&mut self, output: &Output) -> Result<(), Fault>;

    /// Reads the group's metadata now, for the next [`Self::send_offsets`]. Never cached over two transactions.
    ///
    /// # Errors
    /// `FencedMember` when this consumer is in no group.
    fn read_metadata(&mut self) -> Result<(), Fault>;

    /// Adds the positions to the transaction, under the metadata that was read last.
    ///
    /// # Errors
    /// `FencedMember` when the group has moved on.
    fn send_offsets(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault>;

    /// Commits: all outputs and offsets become visible, or none.
    ///
    /// # Errors
    /// `Unknown` when no answer came in time.
    fn commit(&mut self) -> Result<(), Fault>;

    /// Aborts what was begun.
    ///
    /// # Errors
    /// `FencedMember` when the transaction was ended by somebody else: called once more, it makes the port ready for the
    /// next one. So it does after `Undone`, which no other call gives. `Fatal` when aborting is impossible.
    fn abort(&mut self) -> Result<(), Fault>;

    /// Without a transaction: waits until every output since the last flush was acknowledged.
    ///
    /// # Errors
    /// `Abortable` when one delivery report was bad.
    fn flush(&mut self) -> Result<(), Fault>;

    /// Without a transaction: commits the positions for the group.
    ///
    /// # Errors
    /// `FencedMember` when the group has moved on.
    fn commit_offsets(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault>;
}
