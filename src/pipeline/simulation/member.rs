//! One stage of one process: the real core, whose work, commits and events wait until the simulation lets them happen.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::committing::{Ask, Committing};
use crate::memory::{Script, Source, Transactions};
use crate::pipeline::settling::Settling;
use crate::pipeline::shell::FEED_QUEUE;
use crate::pipeline::stage::{Effect, Event, Stage, WORK_MAX};
use crate::stream::{Delivery, Feed, Lease, Outcome, Partition, Record};
use crate::time::Clock;

/// What a commit says that ran out of time.
pub(super) const DEADLINE: &str = "commit deadline passed";

/// What the simulation does with a stage, whichever it is. An error is the stage's reason to halt.
pub(super) trait Actor {
    /// Puts what the source has into the queue, at most `count` records; false when it has nothing, or there is no room.
    fn fetch(&mut self, count: usize) -> bool;
    /// Hands over what is first in the queue; false when it is empty.
    fn take(&mut self) -> Result<bool, String>;
    /// Hands the last records over once more, under the lease that they were read under.
    fn repeat(&mut self) -> Result<bool, String>;
    /// Whether the lease of those records is still on.
    fn repeats_live(&self) -> bool;
    /// Lets the commit that is under way go on until it is about to make such a call; whether it is. One whose member
    /// is behind its group stands before the next call.
    fn commit_until(&mut self, call: fn(&Ask) -> bool) -> bool;
    /// Does a half of the oldest job that waits for it, the second one where that is wanted.
    fn work(&mut self, second: bool) -> bool;
    /// Hands in a job that is done, in any order.
    fn hand_in(&mut self, number: usize) -> Result<bool, String>;
    /// Lets the commit that is under way make up to `calls` calls, or ends it; one call where its member is behind its
    /// group: on Kafka that one joins meanwhile.
    fn commit(&mut self, calls: usize) -> Result<bool, String>;
    /// Time passes.
    fn turn(&mut self) -> Result<(), String>;
    /// Take nothing new.
    fn finish(&mut self) -> Result<(), String>;
    fn is_finished(&self) -> bool;
    /// Whether a commit of it is under way that is to commit a position of this partition.
    fn commits_for(&self, partition: &Partition) -> bool;
    /// Whether the commit that is under way writes to this topic.
    fn commits_to(&self, topic: &str) -> bool;
    /// The partitions of which the stage, or a job or commit of it, holds anything.
    fn held(&self) -> BTreeSet<Partition>;
    fn source(&mut self) -> &mut Source;
    fn port(&mut self) -> &mut Transactions;
    fn script(&self) -> &Script;
}

/// Does the first half of a job, and returns the second.
pub(super) type Work<S> = Box<dyn FnMut(<S as Stage>::Job) -> Half<S>>;
type Half<S> = Box<dyn FnOnce() -> <S as Stage>::Done>;

/// The parts of a member.
pub(super) struct Member<S: Stage> {
    pub(super) core: S,
    pub(super) source: Source,
    pub(super) port: Transactions,
    pub(super) script: Script,
    pub(super) work: Work<S>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) delivery: Delivery,
    pub(super) state: State<S>,
}

/// What is under way.
pub(super) struct State<S: Stage> {
    feeds: VecDeque<Feed>,
    jobs: VecDeque<S::Job>,
    halves: VecDeque<Half<S>>,
    done: VecDeque<S::Done>,
    commit: Option<Committing>,
    settling: Settling,
    last: Option<(Lease, Vec<Record>)>,
    finished: bool,
}

impl<S: Stage> Default for State<S> {
    fn default() -> Self {
        Self {
            feeds: VecDeque::new(),
            jobs: VecDeque::new(),
            halves: VecDeque::new(),
            done: VecDeque::new(),
            commit: None,
            settling: Settling::default(),
            last: None,
            finished: false,
        }
    }
}

impl<S: Stage> Member<S> {
    fn event(&mut self, event: Event<S::Done>) -> Result<(), String> {
        if let Event::Feed(feed) = &event {
            self.state.settling.note(feed);
            if let Feed::Records { lease, records } = feed {
                self.state.last = Some((lease.clone(), records.clone()));
            }
        }
        for effect in self.core.on(event, self.clock.now()) {
            match effect {
                Effect::Work(job) => {
                    self.state.jobs.push_back(job);
                    let under_way = self.state.jobs.len() + self.state.halves.len() + self.state.done.len();
                    assert!(under_way <= WORK_MAX, "{under_way} jobs are under way");
                }
                Effect::Commit(epoch) => {
                    assert!(self.state.commit.is_none(), "two commits at a time");
                    self.state.commit = Some(Committing::start(epoch, self.delivery, self.clock.clone()));
                }
                Effect::Source(command) => self.source.command(command),
                Effect::Settled(partitions) => {
                    if self.state.commit.as_ref().is_some_and(|commit| commit.concerns(&partitions)) {
                        return Err(format!("it says that it is done with {partitions:?} and commits for them"));
                    }
                    self.state.settling.settle(&partitions);
                }
                Effect::WasReset(_) => {}
                Effect::Finished => self.state.finished = true,
                Effect::Halt(why) | Effect::BadData(why) => return Err(why),
            }
        }
        Ok(())
    }
}

impl<S: Stage> Actor for Member<S> {
    fn fetch(&mut self, count: usize) -> bool {
        let feed = if self.state.feeds.len() < FEED_QUEUE { self.source.poll(count) } else { None };
        let any = feed.is_some();
        self.state.feeds.extend(feed);
        any
    }

    fn take(&mut self) -> Result<bool, String> {
        match self.state.feeds.pop_front() {
            Some(feed) => self.event(Event::Feed(feed)).map(|()| true),
            None => Ok(false),
        }
    }

    fn repeat(&mut self) -> Result<bool, String> {
        let Some((lease, records)) = self.state.last.clone() else { return Ok(false) };
        self.event(Event::Feed(Feed::Records { lease, records })).map(|()| true)
    }

    fn repeats_live(&self) -> bool {
        self.state.last.as_ref().is_some_and(|(lease, _)| lease.is_live())
    }

    fn commit_until(&mut self, call: fn(&Ask) -> bool) -> bool {
        let Some(commit) = &mut self.state.commit else { return false };
        while let Ok(ask) = commit.waiting() {
            if call(ask) {
                return true;
            }
            let answer = ask.make(&mut self.port);
            commit.answer(answer);
            if self.port.is_behind() {
                return false;
            }
        }
        false
    }

    fn work(&mut self, second: bool) -> bool {
        let State { jobs, halves, done, .. } = &mut self.state;
        match jobs.pop_front() {
            Some(job) if !second || halves.is_empty() => halves.push_back((self.work)(job)),
            other => {
                other.into_iter().for_each(|job| jobs.push_front(job));
                let Some(half) = halves.pop_front() else { return false };
                done.push_back(half());
            }
        }
        true
    }

    fn hand_in(&mut self, number: usize) -> Result<bool, String> {
        let number = number % self.state.done.len().max(1);
        match self.state.done.remove(number) {
            Some(done) => self.event(Event::Done(done)).map(|()| true),
            None => Ok(false),
        }
    }

    fn commit(&mut self, calls: usize) -> Result<bool, String> {
        let Some(commit) = &mut self.state.commit else { return Ok(false) };
        for _ in 0..calls {
            match commit.waiting() {
                Ok(ask) => {
                    let answer = ask.make(&mut self.port);
                    commit.answer(answer);
                    if self.port.is_behind() {
                        return Ok(true);
                    }
                }
                Err(outcome) => {
                    let outcome = outcome.clone();
                    let overdue = commit.is_overdue();
                    self.state.commit = None;
                    if matches!(&outcome, Outcome::Halt(why) if why.contains(DEADLINE)) && !overdue {
                        return Err("it gave up a commit for which there was time".to_owned());
                    }
                    if let Outcome::Fenced(_) = &outcome {
                        self.port.rejoin();
                    }
                    return self.event(Event::Committed(outcome)).map(|()| true);
                }
            }
        }
        Ok(true)
    }

    fn turn(&mut self) -> Result<(), String> {
        self.event(Event::Turn)
    }

    fn finish(&mut self) -> Result<(), String> {
        self.event(Event::Finish)
    }

    fn is_finished(&self) -> bool {
        self.state.finished
    }

    fn commits_for(&self, partition: &Partition) -> bool {
        self.state.commit.as_ref().is_some_and(|commit| commit.concerns(std::slice::from_ref(partition)))
    }

    fn commits_to(&self, topic: &str) -> bool {
        self.state.commit.as_ref().is_some_and(|commit| commit.writes_to(topic))
    }

    fn held(&self) -> BTreeSet<Partition> {
        self.core.held().into_iter().chain(self.state.settling.partitions().cloned()).collect()
    }

    fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    fn port(&mut self) -> &mut Transactions {
        &mut self.port
    }

    fn script(&self) -> &Script {
        &self.script
    }
}
