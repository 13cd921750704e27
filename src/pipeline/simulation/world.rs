//! The world: processes, groups, the log and the disk, moved step by step. One seed decides the order of everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use super::feeding::Feeder;
use super::member::DEADLINE;
use super::posts::inputs;
use super::process::{Process, STAGES, Site, TIGHT};
use super::{Plan, START};
use crate::pipeline::DeadLetterLimit;
use crate::pipeline::dice::Dice;
use crate::sample::{Policy, Quota, Strategy};
use crate::stream::{Delivery, Output, Partition, Position};
use crate::time::{Clock as _, ManualClock, Timestamp};

/// How long a silent member stays in its group.
pub(super) const SESSION: Duration = Duration::from_secs(6);
/// How long a revoke waits for its stage.
pub(super) const DRAIN: Duration = Duration::from_secs(2);
/// How long a transaction may be open.
pub(super) const TRANSACTION: Duration = Duration::from_secs(10);

pub(super) type ProcessId = usize;

/// How a process is, as the world sees it.
pub(super) struct Resident {
    pub(super) process: Process,
    /// Stopped by a signal since then.
    pub(super) paused: Option<Timestamp>,
    /// Stages whose member was put out of its group and does not know it yet.
    pub(super) unaware: [bool; 3],
    /// Stages that must join the present generation.
    pub(super) must_join: [bool; 3],
    /// Asked to stop.
    pub(super) stopping: bool,
    /// Another process was started under its instance: the older one is fenced, and halts.
    outdone: bool,
}

/// A partition on its way to another member.
pub(super) struct Moving {
    pub(super) partition: Partition,
    from: ProcessId,
    to: ProcessId,
    settled: Receiver<()>,
    deadline: Timestamp,
}

/// One stage's consumer group.
#[derive(Default)]
pub(super) struct Group {
    pub(super) owner: BTreeMap<Partition, ProcessId>,
    pub(super) moving: Vec<Moving>,
}

/// The world.
pub(super) struct World {
    pub(super) site: Site,
    pub(super) residents: BTreeMap<ProcessId, Resident>,
    pub(super) groups: [Group; 3],
    /// Processes that died, and when: their members stay until the session is over.
    ghosts: BTreeMap<ProcessId, Timestamp>,
    pub(super) waiting: Vec<Output>,
    pub(super) feeder: Feeder,
    next_process: ProcessId,
    next_instance: usize,
    pub(super) versions: usize,
    pub(super) positions: BTreeMap<(usize, Partition), Position>,
    /// Commits that were under way for a partition when it was given to somebody.
    pub(super) outliving: BTreeMap<(usize, Partition), usize>,
    /// How far a position had come that such a commit set back.
    pub(super) reached: BTreeMap<(usize, Partition), Position>,
    /// What befell each stage so far: who died, who had to join anew, calls that broke.
    pub(super) troubles: [usize; 3],
    pub(super) trace: Option<Vec<String>>,
    /// What must never happen, and did.
    pub(super) outrage: Option<String>,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START)));
        let at_least_once = Dice::new(plan.seed ^ 0xa110).chance(0.2);
        let delivery = if at_least_once { Delivery::AtLeastOnce } else { Delivery::ExactlyOnce };
        let is_limited = !plan.is_calm && Dice::new(plan.seed ^ 0xdead).chance(0.25);
        // Mostly everything, so that the archive must hold each record; decided one by one, or by segments.
        let mixed = |share| Policy::Mixed([Quota { strategy: Strategy::Random, share }].into());
        let sample = match Dice::new(plan.seed ^ 0x5a3e).below(6) {
            0 | 1 => Policy::All,
            2 | 3 => mixed(1.0),
            4 => Policy::Hash(0.5),
            _ => mixed(0.5),
        };
        let limit = if is_limited { TIGHT } else { DeadLetterLimit::default() };
        let mut waiting = inputs(plan.seed, plan.posts, is_limited);
        waiting.reverse();
        let mut site = Site::new(delivery, clock.clone(), limit, sample);
        site.is_cramped = Dice::new(plan.seed ^ 0x5e6b).chance(0.3);
        let mut world = Self {
            feeder: Feeder::new(&site.log, clock, plan.seed),
            site,
            residents: BTreeMap::new(),
            groups: Default::default(),
            ghosts: BTreeMap::new(),
            waiting,
            next_process: 0,
            next_instance: 0,
            versions: 1,
            positions: BTreeMap::new(),
            outliving: BTreeMap::new(),
            reached: BTreeMap::new(),
            troubles: [0; 3],
            trace: None,
            outrage: None,
        };
        let first = world.start(None);
        if let Some(resident) = world.residents.get_mut(&first) {
            resident.must_join = [false; 3];
            resident.process.actors.iter_mut().for_each(|actor| actor.port().rejoin());
        }
        world.troubles = [0; 3];
        world
    }

    pub(super) fn now(&self) -> Timestamp {
        self.site.clock.now()
    }

    pub(super) fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let since = self.now().since(Timestamp::from_millis(START));
            let line = format!("{:>9.3} s  {}", since.as_secs_f64(), line(self));
            self.trace.iter_mut().for_each(|trace| trace.push(line.clone()));
        }
    }

    /// Starts a process, under the instance of one that died or a new one.
    pub(super) fn start(&mut self, instance: Option<String>) -> ProcessId {
        let id = self.next_process;
        self.next_process += 1;
        let instance = instance.unwrap_or_else(|| {
            self.next_instance += 1;
            format!("i{}", self.next_instance)
        });
        let process = self.site.start(&instance);
        let older = self.residents.values_mut().filter(|resident| resident.process.instance == instance);
        older.for_each(|resident| resident.outdone = true);
        let resident = Resident {
            process,
            paused: None,
            unaware: [false; 3],
            must_join: [false; 3],
            stopping: false,
            outdone: false,
        };
        self.residents.insert(id, resident);
        self.note(|_| format!("start process {id} as {instance}"));
        (0..3).for_each(|stage| self.rebalance(stage, &mut Dice::new(id as u64)));
        id
    }

    /// The process is gone, with everything that it had in memory.
    pub(super) fn kill(&mut self, id: ProcessId, why: &str) -> Option<String> {
        let resident = self.residents.remove(&id)?;
        let now = self.now();
        self.ghosts.insert(id, now);
        (0..3).for_each(|stage| self.trouble(stage));
        self.note(|_| format!("process {id} dies: {why}"));
        Some(resident.process.instance.clone())
    }

    /// A stage halted: the process stops with that reason, which must be a good one.
    pub(super) fn halt(&mut self, id: ProcessId, stage: usize, why: &str) {
        let is = |state: fn(&Resident) -> bool| self.residents.get(&id).is_some_and(state);
        let good = ["sim:", DEADLINE];
        let is_over = self.is_over_the_limit(stage, why);
        let excused = good.iter().any(|reason| why.contains(reason))
            || is_over
            || (is(|resident| resident.outdone) && why.contains("another producer has this transactional id"));
        if !excused {
            let line = format!("{} of process {id} halted without a reason that the world gave: {why}", STAGES[stage]);
            self.outrage.get_or_insert(line);
        }
        // Names in the making are numbered over all simulations of this test.
        let told = why.split("_tmp/").next().unwrap_or(why);
        let instance = self.kill(id, &format!("{} halted: {told}", STAGES[stage]));
        if is_over {
            // As an orchestrator does, again and again: nothing is drained by that.
            self.start(instance);
        }
    }

    /// Everyone joins the next generation; partitions are dealt anew, those that move are revoked first.
    pub(super) fn rebalance(&mut self, stage: usize, dice: &mut Dice) {
        self.next_generation(stage);
        let members: Vec<ProcessId> = self.members(stage);
        if members.is_empty() {
            return;
        }
        let topics = self.site.inputs(stage);
        let partitions: Vec<Partition> = topics.iter().flat_map(|topic| self.site.log.partitions(topic)).collect();
        for partition in partitions {
            if self.groups[stage].moving.iter().any(|moving| moving.partition == partition) {
                continue;
            }
            match self.groups[stage].owner.get(&partition).copied() {
                None => {
                    let to = *dice.pick(&members);
                    self.give(stage, partition, to);
                }
                Some(owner) if members.contains(&owner) && dice.chance(0.5) => {
                    let to = *dice.pick(&members);
                    if to != owner {
                        self.revoke(stage, partition, owner, to);
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Everything that a member has is to go to others.
    pub(super) fn evict(&mut self, stage: usize, id: ProcessId, dice: &mut Dice) {
        let others: Vec<ProcessId> = self.members(stage).into_iter().filter(|other| *other != id).collect();
        let group = &self.groups[stage];
        let leaving = |at: &Partition| group.moving.iter().any(|moving| moving.partition == *at);
        let owned = group.owner.iter().filter(|(at, owner)| **owner == id && !leaving(at));
        for partition in owned.map(|(at, _)| at.clone()).collect::<Vec<_>>() {
            if !others.is_empty() {
                self.revoke(stage, partition, id, *dice.pick(&others));
            }
        }
    }

    fn next_generation(&mut self, stage: usize) {
        self.site.log.next_generation(&Site::group(stage));
        self.trouble(stage);
        for resident in self.residents.values_mut().filter(|resident| !resident.unaware[stage]) {
            resident.must_join[stage] = true;
        }
    }

    /// Processes whose member of this stage is alive, known to the group and there to answer.
    fn members(&self, stage: usize) -> Vec<ProcessId> {
        let there = self
            .residents
            .iter()
            .filter(|(_, resident)| resident.paused.is_none() && !resident.unaware[stage] && !resident.stopping);
        there.map(|(id, _)| *id).collect()
    }

    fn give(&mut self, stage: usize, partition: Partition, to: ProcessId) {
        // Of what happened until now others are the cause.
        self.look_at_positions();
        let commits = self.residents.values().filter(|it| it.process.actors[stage].commits_for(&partition)).count();
        self.outliving.insert((stage, partition.clone()), commits);
        if let Some(resident) = self.residents.get_mut(&to) {
            resident.process.actors[stage].source().assign(partition.clone());
            self.groups[stage].owner.insert(partition.clone(), to);
            self.note(|_| format!("{partition} to process {to}"));
        }
    }

    fn revoke(&mut self, stage: usize, partition: Partition, from: ProcessId, to: ProcessId) {
        let Some(resident) = self.residents.get_mut(&from) else { return };
        let settled = resident.process.actors[stage].source().revoke(vec![partition.clone()]);
        let deadline = self.now().plus(DRAIN);
        self.note(|_| format!("{partition} is to go from process {from} to {to}"));
        self.groups[stage].moving.push(Moving { partition, from, to, settled, deadline });
    }

    /// Revokes that are settled, or have waited long enough, end: lease off, next generation, next owner.
    pub(super) fn settle(&mut self) -> bool {
        let mut any = false;
        for stage in 0..3 {
            let now = self.now();
            let over = |residents: &BTreeMap<ProcessId, Resident>, moving: &Moving| {
                let paused = residents.get(&moving.from).is_some_and(|resident| resident.paused.is_some());
                let gone = !residents.contains_key(&moving.from);
                let settled = !matches!(moving.settled.try_recv(), Err(TryRecvError::Empty));
                !paused && (gone || settled || now >= moving.deadline)
            };
            let Some(index) = self.groups[stage].moving.iter().position(|moving| over(&self.residents, moving)) else {
                continue;
            };
            let moving = self.groups[stage].moving.swap_remove(index);
            any = true;
            if let Some(from) = self.residents.get_mut(&moving.from) {
                from.process.actors[stage].source().give_up(std::slice::from_ref(&moving.partition));
            }
            self.groups[stage].owner.remove(&moving.partition);
            self.next_generation(stage);
            if self.members(stage).contains(&moving.to) {
                self.give(stage, moving.partition, moving.to);
            }
        }
        any
    }

    /// Time passes: sessions and transactions of those who are silent end.
    pub(super) fn pass(&mut self, span: Duration) {
        self.site.clock.pause(span);
        let now = self.now();
        self.site.log.expire_transactions(now, TRANSACTION);
        let died = self.ghosts.iter().filter(|(_, since)| now.since(**since) >= SESSION).map(|(id, _)| *id);
        let gone: Vec<ProcessId> = died.collect();
        let silent = |resident: &Resident| resident.paused.is_some_and(|since| now.since(since) >= SESSION);
        let asleep = self.residents.iter().filter(|(_, resident)| silent(resident) && resident.unaware != [true; 3]);
        let asleep: Vec<ProcessId> = asleep.map(|(id, _)| *id).collect();
        for id in gone.iter().chain(&asleep) {
            self.ghosts.remove(id);
            self.put_out(*id);
        }
    }

    fn put_out(&mut self, id: ProcessId) {
        self.note(|_| format!("the groups put process {id} out"));
        if let Some(resident) = self.residents.get_mut(&id) {
            (resident.unaware, resident.must_join) = ([true; 3], [false; 3]);
            resident.process.actors.iter_mut().for_each(|actor| actor.port().put_out());
        }
        for stage in 0..3 {
            let group = &mut self.groups[stage];
            group.owner.retain(|_, owner| *owner != id);
            group.moving.retain(|moving| moving.from != id);
            self.rebalance(stage, &mut Dice::new(id as u64));
        }
    }

    /// A member that was put out hears of it and joins again.
    pub(super) fn learn(&mut self, id: ProcessId, stage: usize) {
        // Of what happened until now others are the cause.
        self.look_at_positions();
        let Some(resident) = self.residents.get_mut(&id) else { return };
        let actor = &mut resident.process.actors[stage];
        for partition in actor.source().partitions() {
            if actor.commits_for(&partition) {
                *self.outliving.entry((stage, partition.clone())).or_default() += 1;
            }
            actor.source().lose(&partition);
        }
        resident.unaware[stage] = false;
        resident.process.actors[stage].port().join();
        self.note(|_| format!("process {id} hears that {} lost its partitions", STAGES[stage]));
        self.rebalance(stage, &mut Dice::new(id as u64));
    }

    /// A process that was asked to stop and has finished leaves.
    pub(super) fn leave_if_done(&mut self, id: ProcessId) {
        let done =
            |resident: &Resident| resident.stopping && resident.process.actors.iter().all(|actor| actor.is_finished());
        if self.residents.get(&id).is_some_and(done) {
            self.residents.remove(&id);
            self.note(|_| format!("process {id} leaves"));
            self.put_out(id);
        }
    }

    /// Partitions that nobody has are dealt.
    pub(super) fn deal(&mut self) {
        for stage in 0..3 {
            let members = self.members(stage);
            let Some(to) = members.first().copied() else { continue };
            let topics = self.site.inputs(stage);
            let all: Vec<Partition> = topics.iter().flat_map(|topic| self.site.log.partitions(topic)).collect();
            let group = &self.groups[stage];
            let taken: BTreeSet<Partition> =
                group.owner.keys().chain(group.moving.iter().map(|moving| &moving.partition)).cloned().collect();
            all.into_iter().filter(|at| !taken.contains(at)).for_each(|at| self.give(stage, at, to));
        }
    }

    /// What a process holds, and nobody gave it.
    pub(super) fn held_by_nobody(&self) -> Option<String> {
        let stages =
            self.residents.iter().flat_map(|(id, resident)| resident.process.actors.iter().map(move |it| (id, it)));
        let mut held = stages
            .zip((0..3).cycle())
            .flat_map(|((id, actor), stage)| actor.held().into_iter().map(move |partition| (*id, stage, partition)));
        let owns = |id: ProcessId, stage: usize, at: &Partition| self.groups[stage].owner.get(at) == Some(&id);
        let (id, stage, partition) = held.find(|(id, stage, at)| !owns(*id, *stage, at))?;
        Some(format!("{} of process {id} holds {partition}, which is not its own", STAGES[stage]))
    }

    /// Whether a member is on its way out, or a partition.
    pub(super) fn is_settled(&self) -> bool {
        self.ghosts.is_empty() && self.groups.iter().all(|group| group.moving.is_empty())
    }
}
