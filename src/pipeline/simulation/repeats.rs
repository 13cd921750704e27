//! What may come twice, and why: exactly once nothing. At least once a stage may tell again what it had not committed when
//! something befell it, and a commit that outlived its revoke may set a position back.

use super::process::{STAGES, Site};
use super::world::World;
use crate::stream::Delivery;

impl World {
    /// How often more than once a stage may have told the same: each trouble makes it tell again what it had not
    /// committed, where outputs are not tied to positions.
    pub(super) fn again(&self) -> [usize; 3] {
        match self.site.delivery {
            Delivery::ExactlyOnce => [0; 3],
            Delivery::AtLeastOnce => self.troubles,
        }
    }

    /// Something befalls a stage.
    pub(super) const fn trouble(&mut self, stage: usize) {
        self.troubles[stage] += 1;
    }

    /// Committed positions never go back. At least once, they may, once for each commit that was under way when its
    /// partition was given to the next owner, or when its process heard that it was: nothing ties it to the generation in
    /// which its leases were looked at, so that it may land behind that one's. There they stay until the owner commits
    /// again.
    pub(super) fn look_at_positions(&mut self) {
        for (stage, name) in STAGES.iter().enumerate() {
            let group = Site::group(stage);
            for partition in self.site.inputs(stage).iter().flat_map(|topic| self.site.log.partitions(topic)) {
                let committed = self.site.log.committed(&group, &partition);
                let before = self.positions.insert((stage, partition.clone()), committed);
                let Some(before) = before.filter(|before| *before > committed) else { continue };
                let outliving = self.outliving.entry((stage, partition.clone())).or_default();
                if self.site.delivery == Delivery::AtLeastOnce && *outliving > 0 {
                    *outliving -= 1;
                    let reached = self.reached.entry((stage, partition)).or_insert(before);
                    *reached = before.max(*reached);
                } else {
                    let line = format!("{name} went back in {partition} from {before:?} to {committed}");
                    self.outrage.get_or_insert(line);
                }
            }
        }
    }
}
