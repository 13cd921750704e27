//! The end of a simulation: nothing goes wrong any more, and everything must be worked off in bounded time.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use super::process::{Mood, STAGES, Site};
use super::world::{ProcessId, Resident, TRANSACTION, World};
use crate::stream::{Partition, Position};

/// Rounds of half a second in which everyone has what is theirs again: the sessions and transactions of those who died
/// end (6 s, 10 s), and revokes that wait for somebody (2 s, one behind the other).
const SETTLED: usize = 60;
/// Rounds in which each stage must be done then: a segment is open for 5 s.
const DONE: usize = 12;
/// Turns after which a stage must have nothing left to do.
const EXHAUSTED: usize = 10_000;

impl World {
    /// Heals, works everything off stage by stage, and lets every process finish.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.note(|_| "HEAL".to_owned());
        self.site.disk.heal();
        self.site.log.hold_markers(false);
        while self.site.log.markers_held() > 0 {
            self.site.log.write_marker(0);
        }
        for resident in self.residents.values_mut() {
            resident.paused = None;
            // What was planned strikes no more.
            resident.process.actors.iter().for_each(|actor| actor.script().clear());
            *resident.process.mood.lock().unwrap_or_else(PoisonError::into_inner) = Mood::Well;
        }
        let living: BTreeSet<String> =
            self.residents.values().flat_map(|it| STAGES.map(|stage| Site::id(stage, &it.process.instance))).collect();
        self.site.log.end_what_was_left_out(|producer| !living.contains(producer));
        self.raise_the_limit();
        while self.append() {}
        (0..SETTLED).for_each(|_| self.round());
        if !self.is_settled() {
            return Err("the groups do not settle".to_owned());
        }
        self.held_by_nobody().map_or(Ok(()), Err)?;
        self.work_off()?;
        self.held_by_nobody().map_or(Ok(()), Err)?;
        // What somebody who died has left open hides what came after it, until its timeout.
        self.pass(TRANSACTION);
        Ok(())
    }

    fn work_off(&mut self) -> Result<(), String> {
        for (stage, name) in STAGES.iter().enumerate() {
            let done = (0..DONE).any(|_| {
                self.round();
                self.is_worked_off(stage)
            });
            if !done {
                return Err(format!("{name} does not get done: {}", self.behind(stage).join(", ")));
            }
            self.finish(stage)?;
        }
        Ok(())
    }

    /// Everyone does everything that there is to do, and half a second passes.
    fn round(&mut self) {
        if self.residents.is_empty() {
            self.start(None);
        }
        self.settle();
        self.deal();
        for id in self.residents.keys().copied().collect::<Vec<ProcessId>>() {
            for stage in 0..3 {
                self.exhaust(id, stage);
                self.look_at_positions();
            }
            self.leave_if_done(id);
        }
        self.pass(Duration::from_millis(500));
    }

    fn exhaust(&mut self, id: ProcessId, stage: usize) {
        if self.residents.get(&id).is_some_and(|resident| resident.unaware[stage]) {
            self.learn(id, stage);
        }
        // Where a part of what somebody needs fills its room, the rest comes behind it.
        let count = if self.site.is_cramped { 3 } else { 64 };
        let Some(resident) = self.residents.get_mut(&id) else { return };
        let actor = &mut resident.process.actors[stage];
        if std::mem::take(&mut resident.must_join[stage]) {
            actor.port().rejoin();
        }
        let mut all = || -> Result<(), String> {
            for _ in 0..EXHAUSTED {
                let polled = actor.fetch(count) | actor.take()?;
                let worked = actor.work(true);
                let handed = actor.hand_in(0)?;
                let committed = actor.commit(usize::MAX)?;
                actor.turn()?;
                if !(polled || worked || handed || committed) {
                    return Ok(());
                }
            }
            Err("it does not come to rest".to_owned())
        };
        if let Err(why) = all() {
            self.halt(id, stage, &why);
        }
    }

    /// Partitions of which records are not committed.
    fn behind(&self, stage: usize) -> Vec<String> {
        let group = Site::group(stage);
        let partitions = self.site.inputs(stage).into_iter().flat_map(|topic| self.site.log.partitions(&topic));
        let last = |at: &Partition| self.site.log.read(at, Position::at(0), usize::MAX).last().map(|it| it.next());
        let behind = partitions.filter_map(|at| {
            if self.site.log.stable_end(&at) < self.site.log.end(&at) {
                return Some(format!("{at} behind an open transaction"));
            }
            let (committed, end) = (self.site.log.committed(&group, &at), last(&at)?);
            let reached = self.reached.get(&(stage, at.clone())).map_or(committed, |reached| committed.max(*reached));
            (reached < end).then(|| format!("{at} at {committed} of {end}"))
        });
        behind.collect()
    }

    fn is_worked_off(&self, stage: usize) -> bool {
        self.behind(stage).is_empty()
    }

    fn finish(&mut self, stage: usize) -> Result<(), String> {
        for id in self.residents.keys().copied().collect::<Vec<ProcessId>>() {
            let Some(resident) = self.residents.get_mut(&id) else { continue };
            if let Err(why) = resident.process.actors[stage].finish() {
                return Err(format!("{} of process {id} could not finish: {why}", STAGES[stage]));
            }
            self.exhaust(id, stage);
            let unfinished = |resident: &Resident| !resident.process.actors[stage].is_finished();
            if self.residents.get(&id).is_some_and(unfinished) {
                return Err(format!("{} of process {id} does not finish", STAGES[stage]));
            }
        }
        Ok(())
    }
}
