//! The delivery guarantee, and nothing else. "Is it exactly-once?" is answered in this folder.
//!
//! A post is read under a [`Lease`], becomes a row of a [`Batch`] in the [`Intake`], travels with its progress, comes
//! back to the [`Ledger`], leaves it in an [`Epoch`], and is committed with its outputs through a [`Transaction`].
//!
//! ```text
//!  records ──► Intake ──► Batch ──(any work)──► Ledger ──► Epoch ──► Transaction
//!              mints                             orders     one commit: outputs, metadata,
//!              progress                          the spans  leases, offsets
//! ```
//!
//! Why it holds:
//! * Rows and progress cannot be parted: no public function takes rows out of a batch, and progress is made in one
//!   place (`intake`) and ends in one place (`epoch`).
//! * A batch that is lost leaves a gap, one that comes twice an overlap; the ledger refuses both.
//! * Whatever was read under a lease that has been turned off is dropped wherever it is, and read again by whoever
//!   holds the partition now.
//! * Outputs without positions ([`commit_alone`]) are fenced by the transactional id, not by a group.
//! * A commit whose outcome is unknown ends the stage: the restart reads what is true from the log.

mod alone;
mod batch;
mod epoch;
mod feed;
mod headers;
mod intake;
mod lease;
mod ledger;
mod place;
mod record;
mod transaction;

pub use alone::{Undecided, commit_alone};
pub use batch::{Batch, CountMismatch, Ends, Weigh};
pub use epoch::{Closed, Delivery, Epoch, Outcome, Patience};
pub use feed::{Assignment, Command, Feed};
pub use headers::Headers;
pub use intake::{Intake, Taken, WentBack};
pub use lease::Lease;
pub use ledger::{Disorder, Ledger};
pub use place::{Partition, Position, Span, partition_for};
pub use record::{Output, Record, Row};
pub use transaction::{Fault, Transaction};

#[cfg(test)]
mod epoch_tests;
#[cfg(test)]
mod tests;
