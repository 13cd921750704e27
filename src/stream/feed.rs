//! What a source tells its stage. Sources: `kafka`, and the in-process log in `memory`.

use std::sync::mpsc::SyncSender;

use crate::stream::{Lease, Partition, Position, Record};

/// A partition that begins (or begins again after a reset). Where it was not decided yet where its work begins, it comes
/// a second time under the same lease when it is: `committed` has grown, or not, and `restored` is whole.
#[derive(Debug)]
pub struct Assignment {
    /// The right to work on it.
    pub lease: Lease,
    /// Where the work begins. Records before that may come first: they are replay. Behind it none comes before it is decided.
    pub committed: Position,
    /// Whether that is decided.
    pub is_decided: bool,
    /// What was read back for the state of this partition, oldest first: the last record of each alert of its number.
    pub restored: Vec<Record>,
}

/// An event of the subscription, in the order in which it happened.
#[derive(Debug)]
pub enum Feed {
    /// A partition begins.
    Assigned(Assignment),
    /// Records of one partition in order.
    Records {
        /// The lease that they were read under.
        lease: Lease,
        /// The records.
        records: Vec<Record>,
    },
    /// Partitions go to another member: finish what is begun. The source waits (bounded) for `settled`, then turns
    /// the leases off.
    Revoked {
        /// Which.
        partitions: Vec<Partition>,
        /// To be told when nothing of them is left.
        settled: SyncSender<()>,
    },
    /// Partitions are gone: their leases are off already.
    Lost {
        /// Which.
        partitions: Vec<Partition>,
    },
    /// `--until-end`: everything that was there at the start of this partition was handed over.
    End {
        /// Which.
        partition: Partition,
    },
    /// The log cannot be reached (or can be again, `None`); the source goes on trying.
    Trouble(Option<String>),
    /// The source stopped for good; the stage stops with this reason.
    Failed(String),
}

/// What a stage asks of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Hand over no more records (keep polling).
    Pause,
    /// Go on.
    Resume,
    /// Begin these partitions again at their committed positions under new leases. One command for all of them: a source
    /// that is giving a partition up takes only so many commands until it has.
    Reset(Vec<Partition>),
    /// Leave the group and end.
    Stop,
}
