//! What may happen next, and how often. Every step throws its own dice, so that leaving a fault out changes nothing
//! about the throws of the others.

use std::sync::PoisonError;
use std::time::Duration;

use super::Plan;
use super::committing::Ask;
use super::process::{Mood, STAGES};
use super::world::{DRAIN, ProcessId, World};
use crate::archive::Ailment;
use crate::memory::{Call, Scripted};
use crate::pipeline::dice::Dice;
use crate::stream::{Delivery, Fault};
use crate::time::Clock as _;

/// How far a clock is set back, in microseconds: further than a simulation lasts.
const DAY_US: i64 = 86_400_000_000;
/// How far one may be ahead: an hour.
pub(super) const AHEAD_MAX_US: i64 = 3_600_000_000;

/// How many inputs come with a step, about, where they come as often as they may.
pub(super) const INPUTS_A_STEP: f64 = 0.15;

/// The dice of one step.
fn dice(plan: &Plan, step: usize) -> Dice {
    let mut dice = Dice::new(plan.seed.wrapping_mul(0x9e37_79b9) ^ (step as u64) << 20);
    dice.roll();
    dice
}

impl World {
    /// The time in which everything may go wrong.
    pub(super) fn suffer(&mut self, plan: &Plan) {
        let trouble = [0.004, 0.015, 0.05][Dice::new(plan.seed ^ 0xfa17).below(3)];
        let trouble = if plan.is_calm { 0.0 } else { trouble };
        for step in (0..plan.steps).filter(|step| !plan.muted.contains(step)) {
            let mut dice = dice(plan, step);
            if dice.chance(trouble) {
                self.fault(&mut dice);
            } else {
                self.step(&mut dice, plan.pace);
            }
            self.look_at_positions();
            if self.outrage.is_some() {
                return;
            }
        }
    }

    /// An ordinary step.
    fn step(&mut self, dice: &mut Dice, pace: f64) {
        match dice.below(40) {
            0..3 if dice.chance(pace) => (0..=dice.below(4)).for_each(|_| _ = self.append()),
            3..5 => self.pass(Duration::from_millis(1 + dice.below(400) as u64)),
            5 => self.pass(Duration::from_millis(1 + dice.below(4_000) as u64)),
            6..8 => _ = self.settle(),
            8..10 => self.marker(dice),
            10 if dice.chance(0.2) => self.site.log.hold_markers(dice.chance(0.5)),
            11 if dice.chance(0.3) => self.revive(dice),
            12 if dice.chance(0.05) => self.raise_the_limit(),
            _ => self.act(dice),
        }
    }

    /// Somebody who is not stopped does something.
    pub(super) fn act(&mut self, dice: &mut Dice) {
        let awake = self.residents.iter().filter(|(_, resident)| resident.paused.is_none());
        let awake: Vec<ProcessId> = awake.map(|(id, _)| *id).collect();
        if awake.is_empty() {
            return;
        }
        let (id, stage) = (*dice.pick(&awake), dice.below(3));
        let Some(resident) = self.residents.get_mut(&id) else { return };
        let joins = if resident.process.actors[stage].port().is_behind() { 0.5 } else { 0.3 };
        if resident.must_join[stage] && dice.chance(joins) {
            resident.must_join[stage] = false;
            resident.process.actors[stage].port().rejoin();
            self.note(|_| format!("process {id} joins the generation of {}", STAGES[stage]));
            return;
        }
        if resident.unaware[stage] && dice.chance(0.2) {
            return self.learn(id, stage);
        }
        let stalls = resident.process.stalls(stage, self.site.clock.now());
        let actor = &mut resident.process.actors[stage];
        let what = dice.below(9);
        let count = 1 + dice.below(8);
        let done = match what {
            0 | 1 => Ok(actor.fetch(count)),
            2 | 3 => actor.take(),
            4 | 5 => Ok(!stalls && actor.work(count > 4)),
            6 => actor.hand_in(count),
            7 if count > 4 => actor.commit(1 + dice.below(60)),
            7 => actor.commit(count),
            _ => actor.turn().map(|()| true),
        };
        match done {
            Ok(true) => {
                let what =
                    ["polls", "polls", "takes", "takes", "works", "works", "hands in", "commits on", "turns"][what];
                self.note(|_| format!("{} of process {id} {what}", STAGES[stage]));
            }
            Ok(false) => {}
            Err(why) => self.halt(id, stage, &why),
        }
        self.leave_if_done(id);
    }

    fn marker(&mut self, dice: &mut Dice) {
        let held = self.site.log.markers_held();
        if held > 0 {
            self.site.log.write_marker(dice.below(held));
            self.note(|_| format!("one of {held} markers is written"));
        }
    }

    /// Whoever died or was stopped comes back; there is always somebody.
    fn revive(&mut self, dice: &mut Dice) {
        let asleep = self.residents.iter_mut().find(|(_, resident)| resident.paused.is_some());
        if let Some((id, resident)) = asleep {
            let id = *id;
            resident.paused = None;
            self.note(|_| format!("process {id} wakes"));
        } else if self.residents.is_empty() {
            self.start((dice.chance(0.5)).then(|| "i1".to_owned()));
        }
    }

    /// Something goes wrong.
    fn fault(&mut self, dice: &mut Dice) {
        let all: Vec<ProcessId> = self.residents.keys().copied().collect();
        if all.is_empty() {
            self.start(dice.chance(0.5).then(|| "i1".to_owned()));
            return;
        }
        let (id, stage) = (*dice.pick(&all), dice.below(3));
        match dice.below(18) {
            0 | 1 => self.crash(id, dice),
            2 | 3 => {
                let now = self.now();
                self.residents.get_mut(&id).unwrap().paused.get_or_insert(now);
                self.note(|_| format!("FAULT process {id} is stopped by a signal"));
                if dice.chance(0.7) {
                    self.pass(Duration::from_secs(7));
                }
            }
            4 | 5 => {
                self.note(|_| format!("FAULT rebalance of {}", STAGES[stage]));
                self.rebalance(stage, dice);
                if dice.chance(0.5) {
                    self.outlive(stage, dice);
                }
            }
            6 if all.len() < 3 => {
                // Sometimes under an instance that is taken.
                let twin = dice.chance(0.3).then(|| self.residents[&id].process.instance.clone());
                self.start(twin);
            }
            7 if all.len() > 1 => self.stop(id),
            8..12 => self.broken_call(id, stage, dice),
            12 => {
                let mood = match dice.below(12) {
                    0..3 => Mood::Broken,
                    3..6 => Mood::Cramped(1 + dice.below(2)),
                    6..9 => Mood::Faltering,
                    // Past what a revoke, a session or a transaction waits for, or not.
                    _ => Mood::Stalled(self.now().plus(Duration::from_secs(1 + dice.below(20) as u64))),
                };
                let resident = &self.residents[&id];
                *resident.process.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
                self.note(|_| format!("FAULT the model of process {id} is {mood:?}"));
            }
            13 => {
                self.versions += 1;
                let version = self.versions.to_string();
                self.residents[&id].process.swap_model(&version);
                self.note(|_| format!("FAULT process {id} changes to model {version}"));
            }
            14 => {
                let ailment = *dice.pick(&[Ailment::Full, Ailment::Torn, Ailment::Unsaid]);
                let long = dice.chance(0.1);
                (0..=dice.below(if long { 30 } else { 3 })).for_each(|_| self.site.disk.ail(ailment));
                self.note(|_| format!("FAULT the disk is {ailment:?}"));
            }
            15 => self.die_inside(stage, dice),
            16 if self.site.delivery == Delivery::ExactlyOnce => self.lost_commit(id, stage),
            _ => self.jump_or_repeat(id, stage, dice),
        }
    }

    /// Partitions go to somebody else while a commit of theirs is about to make a call; the revoke does not wait for it,
    /// and everyone joins the generation after that.
    fn outlive(&mut self, stage: usize, dice: &mut Dice) {
        if self.residents.len() == 1 {
            self.start(None);
        }
        let calls: [fn(&Ask) -> bool; 3] = [
            |ask| matches!(ask, Ask::ReadMetadata),
            |ask| matches!(ask, Ask::SendOffsets(_) | Ask::CommitOffsets(_)),
            |ask| matches!(ask, Ask::Commit),
        ];
        let call = calls[dice.below(calls.len())];
        let awake = self.residents.iter_mut().filter(|(_, resident)| resident.paused.is_none());
        let standing = awake.filter_map(|(id, it)| it.process.actors[stage].commit_until(call).then_some(*id));
        standing.collect::<Vec<ProcessId>>().into_iter().for_each(|id| self.evict(stage, id, dice));
        self.pass(DRAIN);
        while self.settle() {}
        for resident in self.residents.values_mut().filter(|resident| resident.paused.is_none()) {
            if std::mem::take(&mut resident.must_join[stage]) {
                resident.process.actors[stage].port().rejoin();
            }
        }
    }

    fn crash(&mut self, id: ProcessId, dice: &mut Dice) {
        let instance = self.kill(id, "FAULT SIGKILL");
        if dice.chance(0.6) {
            self.start(instance.filter(|_| dice.chance(0.5)));
        }
    }

    fn stop(&mut self, id: ProcessId) {
        self.note(|_| format!("FAULT process {id} is asked to stop"));
        let Some(resident) = self.residents.get_mut(&id) else { return };
        resident.stopping = true;
        for stage in 0..3 {
            let Some(resident) = self.residents.get_mut(&id) else { return };
            if let Err(why) = resident.process.actors[stage].finish() {
                self.halt(id, stage, &why);
            }
        }
        self.leave_if_done(id);
    }

    /// A call of a stage's next commit fails.
    fn broken_call(&mut self, id: ProcessId, stage: usize, dice: &mut Dice) {
        let exactly = self.site.delivery == Delivery::ExactlyOnce;
        let calls: &[Call] = if exactly {
            // Most can go wrong where it is decided.
            &[
                Call::Begin,
                Call::Produce,
                Call::ReadMetadata,
                Call::SendOffsets,
                Call::Commit,
                Call::Commit,
                Call::Commit,
                Call::Abort,
            ]
        } else {
            &[Call::Produce, Call::Flush, Call::CommitOffsets]
        };
        let call = *dice.pick(calls);
        let can_be_done = matches!(call, Call::SendOffsets | Call::Commit | Call::Abort | Call::CommitOffsets);
        // Nobody may stop for what can be tried again: only a `sim:` excuses that.
        let (passing, why) = (|| "it failed this time".to_owned(), || "sim: it failed".to_owned());
        let (fault, done) = match dice.below(12) {
            // It timed out: it was done, or is when it is asked for again.
            0..4 => (Fault::Retriable(passing()), can_be_done && dice.chance(0.5)),
            // What cannot be aborted is fatal.
            4..7 if !matches!(call, Call::Begin | Call::Abort) => (Fault::Abortable(passing()), false),
            7 if call == Call::SendOffsets => (Fault::FencedMember(passing()), false),
            // Given up without an answer: a new client begins, and it may have been done.
            8 if call == Call::Commit => (Fault::FencedMember(passing()), dice.chance(0.5)),
            // Nobody can know what became of it.
            7 | 8 | 10 | 11 if matches!(call, Call::Commit | Call::CommitOffsets) => {
                (Fault::Unknown(why()), dice.chance(0.5))
            }
            9 => (Fault::Fatal(why()), false),
            _ => (Fault::Retriable(passing()), false),
        };
        self.note(|_| format!("FAULT {call:?} of {} in process {id} will fail: {fault:?} ({done})", STAGES[stage]));
        self.trouble(stage);
        self.residents[&id].process.actors[stage].script().push(Scripted { call, fault, done });
    }

    /// The next commit of a stage is acknowledged, and on no log; the abort of the one behind it finds that, unless
    /// something else comes before.
    fn lost_commit(&mut self, id: ProcessId, stage: usize) {
        let why = || "no marker of it came".to_owned();
        let script = self.residents[&id].process.actors[stage].script();
        for fault in [Fault::Undone { partitions: Vec::new(), why: why() }, Fault::Abortable(why())] {
            script.push(Scripted { call: Call::Commit, fault, done: false });
        }
        self.note(|_| format!("FAULT a commit of {} in process {id} will be left out", STAGES[stage]));
    }

    fn jump_or_repeat(&mut self, id: ProcessId, stage: usize, dice: &mut Dice) {
        if dice.chance(0.5) {
            let span = Duration::from_secs(dice.below(300) as u64);
            self.note(|_| format!("FAULT the clock jumps by {span:?}"));
            // Sometimes the clock of one machine is wrong from then on, or set right, in either direction.
            if dice.chance(0.5) {
                let ahead_us = *dice.pick(&[-DAY_US, AHEAD_MAX_US, AHEAD_MAX_US / 12, 0]);
                self.note(|_| format!("FAULT the clock of process {id} is {} s ahead", ahead_us / 1_000_000));
                self.residents[&id].process.clock.set(ahead_us);
            }
            return self.pass(span);
        }
        let resident = self.residents.get_mut(&id).unwrap();
        let actor = &mut resident.process.actors[stage];
        let (is_live, repeated) = (actor.repeats_live(), actor.repeat());
        self.note(|_| format!("FAULT {} of process {id} gets records twice", STAGES[stage]));
        match repeated {
            // It may refuse these, there and then.
            Err(why) if is_live && why.contains("went back") => {
                _ = self.kill(id, &format!("{} halted: {why}", STAGES[stage]));
            }
            Err(why) => self.halt(id, stage, &why),
            Ok(_) => {}
        }
    }
}
