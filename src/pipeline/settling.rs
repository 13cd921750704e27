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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::stream::{Assignment, Lease, Position};

    /// Partition 0 and 1 are to go; one of them is back, or lost, before the stage is done with it.
    fn after(feed: impl FnOnce(Partition) -> Feed) -> (Settling, std::sync::mpsc::Receiver<()>) {
        let [one, other] = [0, 1].map(|number| Partition::new(&Arc::from("posts"), number));
        let (settled, answer) = sync_channel(1);
        let mut settling = Settling::default();
        settling.note(&Feed::Revoked { partitions: vec![one.clone(), other.clone()], settled });
        settling.note(&feed(one));
        assert!(answer.try_recv().is_err(), "the other one is still waited for");
        settling.settle(&[other]);
        (settling, answer)
    }

    #[test]
    fn nobody_waits_for_a_partition_that_came_back_before_it_was_settled() {
        let (settling, answer) = after(|partition| {
            let (lease, committed) = (Lease::grant(partition), Position::at(0));
            Feed::Assigned(Assignment { lease, committed, is_decided: true, restored: Vec::new() })
        });
        assert_eq!((settling.partitions().count(), answer.try_recv()), (0, Ok(())));
    }

    #[test]
    fn nobody_waits_for_a_partition_that_was_lost_before_it_was_settled() {
        let (settling, answer) = after(|partition| Feed::Lost { partitions: vec![partition] });
        assert_eq!((settling.partitions().count(), answer.try_recv()), (0, Ok(())));
    }
}
