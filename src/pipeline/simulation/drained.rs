//! The limit on dead letters, where a seed sets one that its inputs pass: a stage stops because of it only where the log
//! gives reason, and until somebody raises it no restart drains a topic past it, letter by letter.

use std::sync::Arc;

use super::PIPELINE;
use super::posts::POISON;
use super::process::{STAGES, Site};
use super::world::World;
use crate::codec::{decode_label, decode_post};
use crate::pipeline::{DeadLetterLimit, Settings, Topics};
use crate::stream::{Partition, Position, Record};

impl World {
    /// Whether a stage that stopped with these words had to: some window of the log has more dead letters than it may.
    pub(super) fn is_over_the_limit(&self, stage: usize, why: &str) -> bool {
        let partitions = self.site.inputs(stage).into_iter().flat_map(|topic| self.site.log.partitions(&topic));
        let mut stopped_at = partitions.filter(|at| why.contains(&format!("records of {at} are dead letters")));
        stopped_at.any(|at| {
            let records = self.site.log.read(&at, Position::at(0), usize::MAX);
            self.site.is_over(records.iter().map(|record| self.site.is_dead(record, true)))
        })
    }

    /// An operator raises the limit for whoever starts from now on. Before that, nobody may have got past it.
    pub(super) fn raise_the_limit(&mut self) {
        if self.site.settings.dead_letters != self.site.limit {
            return;
        }
        if let Some(at) = self.drained() {
            self.outrage.get_or_insert(format!("{at} was drained into dead letters past the limit"));
        }
        self.note(|_| "the limit on dead letters is raised".to_owned());
        let unlimited = DeadLetterLimit { share_max: 1.0, ..self.site.limit };
        self.site.settings = Arc::new(Settings { dead_letters: unlimited, ..(*self.site.settings).clone() });
    }

    /// A partition of which more was committed than the limit lets through. A text that broke the model is known to
    /// whoever saw it alone: after a restart it counts as good.
    fn drained(&self) -> Option<Partition> {
        let stages = (0..STAGES.len()).flat_map(|stage| self.site.inputs(stage).into_iter().map(move |at| (stage, at)));
        let all =
            stages.flat_map(|(stage, topic)| self.site.log.partitions(&topic).into_iter().map(move |at| (stage, at)));
        let mut passed = all.filter(|(stage, at)| {
            let committed = self.site.log.committed(&Site::group(*stage), at);
            let records = self.site.log.read(at, Position::at(0), usize::MAX);
            let done = records.iter().filter(|record| Position::at(record.offset) < committed);
            self.site.is_over(done.map(|record| self.site.is_dead(record, false)))
        });
        passed.next().map(|(_, at)| at)
    }
}

impl Site {
    /// Whether a window of these fates has more dead letters than the limit allowed before it was raised.
    fn is_over(&self, fates: impl Iterator<Item = bool>) -> bool {
        let limit = self.limit;
        let fates: Vec<bool> = fates.collect();
        let over = |window: &[bool]| window.iter().filter(|dead| **dead).count() > limit.allowed();
        if fates.len() <= limit.window_records { over(&fates) } else { fates.windows(limit.window_records).any(over) }
    }

    /// Whether a record becomes a dead letter; one whose text breaks the model only if that is asked for.
    fn is_dead(&self, record: &Record, with_poison: bool) -> bool {
        let topic = &record.partition.topic;
        if *topic == Topics::of(PIPELINE).labels {
            return decode_label(record).is_err();
        }
        let source = self.settings.sources.iter().find(|source| source.topic == *topic);
        source.is_some_and(|source| match decode_post(record, source) {
            Ok(post) => with_poison && post.text == POISON,
            Err(_) => true,
        })
    }
}
