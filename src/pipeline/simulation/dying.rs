//! Processes that die in a commit, and those that take over while it hides what is committed.

use std::time::Duration;

use super::PIPELINE;
use super::committing::Ask;
use super::world::{ProcessId, SESSION, World};
use crate::pipeline::Topics;
use crate::pipeline::dice::Dice;

/// What is done before somebody dies in a commit, so that there is one.
const BUSY: usize = 20;
/// Seconds for which an alert is waited: as long as the longest rule looks back.
const WAITING: usize = 40;

impl World {
    /// Whoever commits for a stage dies in it, or when it is decided and markers are missing, and others take over while
    /// it hides what is committed.
    pub(super) fn die_inside(&mut self, stage: usize, dice: &mut Dice) {
        let calls: [fn(&Ask) -> bool; 3] =
            [|ask| matches!(ask, Ask::SendOffsets(_)), |ask| matches!(ask, Ask::Commit), |_| false];
        let call = *dice.pick(&calls);
        // The stage that reads its state back has most to get wrong.
        let stage = if dice.chance(0.5) { 1 } else { stage };
        (0..BUSY).for_each(|_| self.act(dice));
        if stage == 1 && dice.chance(0.7) {
            self.wait_for_an_alert();
        } else {
            for id in self.residents.keys().copied().collect::<Vec<ProcessId>>() {
                self.be_busy(id, stage, dice.below(8));
            }
            self.pass(self.site.settings.kafka.commit_interval);
        }
        self.site.log.hold_markers(dice.chance(0.7));
        for id in self.residents.keys().copied().collect::<Vec<ProcessId>>() {
            self.be_busy(id, stage, 0);
            let Some(resident) = self.residents.get_mut(&id) else { continue };
            let is_there = resident.paused.is_none() && !resident.unaware[stage];
            let actor = &mut resident.process.actors[stage];
            if is_there && actor.commit_until(|_| true) {
                actor.commit_until(call);
                self.kill(id, "FAULT SIGKILL in a commit");
            }
        }
        self.start(None);
        self.pass(SESSION);
        // While it is not decided what the dead have committed.
        for id in self.residents.keys().copied().collect::<Vec<ProcessId>>() {
            self.be_busy(id, stage, dice.below(8));
            if let Some(resident) = self.residents.get_mut(&id).filter(|it| it.paused.is_none() && dice.chance(0.5))
                && let Err(why) = resident.process.actors[stage].commit(1 + dice.below(60))
            {
                self.halt(id, stage, &why);
            }
        }
    }

    /// Score and signal stage go on until a commit is about to write an alert, which seldom comes.
    fn wait_for_an_alert(&mut self) {
        let alerts = Topics::of(PIPELINE).alerts;
        for _ in 0..WAITING {
            _ = self.append();
            self.pass(Duration::from_secs(1));
            for id in self.residents.keys().copied().collect::<Vec<ProcessId>>() {
                for stage in 0..2 {
                    self.be_busy(id, stage, 2);
                    let Some(resident) = self.residents.get_mut(&id).filter(|it| it.paused.is_none()) else { continue };
                    let actor = &mut resident.process.actors[stage];
                    if actor.commits_to(&alerts) {
                        return;
                    }
                    if let Err(why) = actor.commit(usize::MAX) {
                        self.halt(id, stage, &why);
                    }
                }
            }
        }
    }

    /// A stage of somebody who is there does as much at once.
    fn be_busy(&mut self, id: ProcessId, stage: usize, rounds: usize) {
        let Some(resident) = self.residents.get_mut(&id) else { return };
        if resident.paused.is_some() || resident.unaware[stage] {
            return;
        }
        let actor = &mut resident.process.actors[stage];
        if std::mem::take(&mut resident.must_join[stage]) {
            actor.port().rejoin();
        }
        let mut busy = || {
            for _ in 0..rounds {
                actor.fetch(8);
                actor.take()?;
                actor.work(true);
                actor.hand_in(0)?;
            }
            actor.turn()
        };
        if let Err(why) = busy() {
            self.halt(id, stage, &why);
        }
    }
}
