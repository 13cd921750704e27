//! A lease: the right to work on a partition, which belongs to one assignment of it.
//!
//! Whoever owns the subscription grants a lease on assignment and turns it off on revoke, loss or reset; everything
//! that was read under it dies with it, wherever it is by then. A lease never comes back on: a new assignment gets a
//! new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::stream::Partition;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The right to work on one partition during one assignment. Clones share the switch.
#[derive(Debug, Clone)]
pub struct Lease {
    partition: Partition,
    serial: u64,
    live: Arc<AtomicBool>,
}

impl Lease {
    /// A new, live lease. Only who manages the subscription may grant one.
    #[must_use]
    pub fn grant(partition: Partition) -> Self {
        Self { partition, serial: NEXT.fetch_add(1, Ordering::Relaxed), live: Arc::new(AtomicBool::new(true)) }
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Whether work under this lease may still be committed.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::SeqCst)
    }

    /// Ends it, for ever and for every clone.
    pub fn turn_off(&self) {
        self.live.store(false, Ordering::SeqCst);
    }
}

impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Lease {}
