//! Who waits until a stage is done with partitions that are to go.

use std::collections::BTreeSet;
use std::sync::mpsc::SyncSender;

use crate::stream::{Feed, Partition};

/// The revokes that are not settled, each with the partitions that it still waits for.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Settling(Vec<(BTreeSet<Partition>, SyncSender<()>)>);

impl Settling {
    /// Remembers who waits for a revoke. Who waits for one of a partition that comes back or is lost has given up.
    pub(in crate::pipeline) fn note(&mut self, feed: &Feed) {
        match feed {
            Feed::Revoked { partitions, settled } => {
                self.0.push((partitions.iter().cloned().collect(), settled.clone()));
            }
            Feed::Assigned(assignment) => self.settle(std::slice::from_ref(assignment.lease.partition())),
            Feed::Lost { partitions } => self.settle(partitions),
            Feed::Records { .. } | Feed::End { .. } | Feed::Trouble(_) | Feed::Failed(_) => {}
        }
    }

    /// The stage is done with these; who waits for no other is told.
    pub(in crate::pipeline) fn settle(&mut self, partitions: &[Partition]) {
        for (waiting, _) in &mut self.0 {
            waiting.retain(|partition| !partitions.contains(partition));
        }
        self.0.retain(|(waiting, settled)| {
            if waiting.is_empty() {
                let _gone = settled.try_send(());
            }
            !waiting.is_empty()
        });
    }

    /// Nobody is waited for any more.
    pub(in crate::pipeline) fn clear(&mut self) {
        self.0.clear();
    }

    /// The partitions that somebody waits for.
    #[cfg(test)]
    pub(in crate::pipeline) fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.0.iter().flat_map(|(partitions, _)| partitions)
    }
}
