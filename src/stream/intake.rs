//! The intake: where records become batches, and where progress is minted.

use std::collections::BTreeMap;

use crate::stream::batch::{Part, Progress};
use crate::stream::{Batch, Lease, Partition, Position, Record, Span};

/// Where one partition stands.
#[derive(Debug)]
struct Place {
    lease: Lease,
    committed: Position,
    /// Behind the last record that came, replay included; `None` before the first.
    read: Option<Position>,
    next: Position,
}

/// Follows every assigned partition and turns what is read into batches whose spans touch.
#[derive(Debug, Default)]
pub struct Intake {
    places: BTreeMap<Partition, Place>,
}

/// What came of a handful of records.
#[derive(Debug)]
#[must_use]
pub struct Taken {
    /// Records before the committed position: state yes, output no.
    pub replay: Vec<Record>,
    /// Records to work on.
    pub live: Batch<Record>,
}

/// A record that was seen before came again without a reset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{partition} went back to offset {offset} while {next} was expected")]
pub struct WentBack {
    /// Where.
    pub partition: Partition,
    /// The offset that came.
    pub offset: i64,
    /// The position that was expected.
    pub next: Position,
}

impl Intake {
    /// Begins a partition at its committed position, under a new lease; or moves that position, under the lease that it has.
    pub fn assign(&mut self, lease: Lease, committed: Position) {
        let before = self.places.get(lease.partition()).filter(|before| before.lease == lease);
        let place = Place { committed, read: before.and_then(|before| before.read), next: committed, lease };
        self.places.insert(place.lease.partition().clone(), place);
    }

    /// Ends a partition: records that still come for it are nobody's.
    pub fn release(&mut self, partition: &Partition) -> Option<Lease> {
        self.places.remove(partition).map(|place| place.lease)
    }

    /// The lease of a partition and the position up to which it was read.
    #[must_use]
    pub fn lease(&self, partition: &Partition) -> Option<(&Lease, Position)> {
        self.places.get(partition).map(|place| (&place.lease, place.next))
    }

    /// The partitions that are assigned.
    #[cfg(test)]
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.places.keys()
    }

    /// Takes records that were read, in order, under `lease`. What was read under another lease than the present one
    /// is dropped: it will be read again under the present one. Offsets may be missing (transaction markers, compacted
    /// records): they lie inside the span.
    ///
    /// # Errors
    /// [`WentBack`] when an offset comes a second time.
    pub fn take(&mut self, lease: &Lease, records: Vec<Record>) -> Result<Taken, WentBack> {
        let nothing = Taken { replay: Vec::new(), live: Batch::default() };
        let Some(place) = self.places.get_mut(lease.partition()) else { return Ok(nothing) };
        if place.lease != *lease || !lease.is_live() {
            return Ok(nothing);
        }
        let from = place.next;
        let mut replay = Vec::new();
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            if let Some(next) = place.read.filter(|next| Position::at(record.offset) < *next) {
                let partition = lease.partition().clone();
                return Err(WentBack { partition, offset: record.offset, next });
            }
            place.read = Some(record.next());
            if Position::at(record.offset) < place.committed {
                replay.push(record);
                continue;
            }
            place.next = record.next();
            rows.push(record);
        }
        let mut live = Batch::default();
        if place.next > from {
            let progress = Progress { lease: lease.clone(), span: Span { from, until: place.next } };
            live.parts.push(Part { progress, rows });
        }
        Ok(Taken { replay, live })
    }
}
