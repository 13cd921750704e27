//! A transactional producer on the in-process log, with faults by script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory::Log;
use crate::memory::contents::{Number, Refused};
use crate::stream::{Fault, Output, Partition, Position, Transaction};
use crate::time::Clock;

/// The calls that a script can make fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `begin`.
    Begin,
    /// `produce`.
    Produce,
    /// `read_metadata`.
    ReadMetadata,
    /// `send_offsets`.
    SendOffsets,
    /// `commit`.
    Commit,
    /// `abort`.
    Abort,
    /// `flush`.
    Flush,
    /// `commit_offsets`.
    CommitOffsets,
}

impl Call {
    /// Whether one that timed out is resumed by the same call.
    const fn is_resumed(self) -> bool {
        match self {
            Self::SendOffsets | Self::Commit | Self::Abort => true,
            Self::Begin | Self::Produce | Self::ReadMetadata | Self::Flush | Self::CommitOffsets => false,
        }
    }
}

/// One fault of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripted {
    /// The call that fails next time.
    pub call: Call,
    /// How; [`Fault::Undone`] of a commit says that it is acknowledged and left out, which a later abort finds.
    pub fault: Fault,
    /// Whether the call did its work all the same: an unknown outcome can mean either. Where it is to be made again and
    /// ends or fills a transaction, the same call resumes it and gets its answer, and no other can be made before that.
    pub done: bool,
}

/// Faults, each used once, in order per call. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<VecDeque<Scripted>>>);

impl Script {
    /// Adds a fault.
    pub fn push(&self, scripted: Scripted) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(scripted);
    }

    /// How many faults have not been used.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets what has not been used.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn peek(&self, call: Call) -> Option<Scripted> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().find(|scripted| scripted.call == call).cloned()
    }

    fn next(&self, call: Call) -> Option<Scripted> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = faults.iter().position(|scripted| scripted.call == call)?;
        faults.remove(index)
    }
}

/// Outputs that may wait in a producer without a transaction: what comes after them sends the oldest, as a client does
/// that sends in batches of its own.
const UNSENT_MAX: usize = 3;

/// Which of the members that a consumer has been, one after the other.
type Member = u64;

/// A producer with its group membership.
pub struct Transactions {
    log: Log,
    group: Arc<str>,
    id: Arc<str>,
    epoch: u64,
    member: Member,
    /// None once the group has put it out.
    generation: Option<u64>,
    metadata: Option<(Member, Option<u64>)>,
    /// Whether positions were refused because the group has gone on.
    behind: bool,
    clock: Arc<dyn Clock>,
    script: Script,
    open: Option<Number>,
    /// The last commit, where all its markers were left out, and the partitions whose positions it carries.
    left_out: Option<(Number, Vec<Partition>)>,
    /// The same when that was said.
    undone: Option<Number>,
    /// Outputs of no transaction that wait to be sent.
    unsent: VecDeque<Output>,
    /// What a call that timed out has done meanwhile: the same call again is told.
    untold: Option<(Call, Result<(), Fault>)>,
}

impl Transactions {
    /// A producer with the transactional id `id`, whose consumer joins `group` now. Another one that has this id is
    /// fenced from here on.
    #[must_use]
    pub fn new(log: Log, group: Arc<str>, id: &str, clock: Arc<dyn Clock>, script: Script) -> Self {
        let (id, generation) = (Arc::from(id), Some(log.generation(&group)));
        let epoch = log.init_producer(&id);
        let (metadata, open, left_out, undone, unsent) = (None, None, None, None, VecDeque::new());
        let (untold, member, behind) = (None, 0, false);
        Self {
            log,
            group,
            id,
            epoch,
            member,
            generation,
            metadata,
            behind,
            clock,
            script,
            open,
            left_out,
            undone,
            unsent,
            untold,
        }
    }

    /// The group gives up a member that it hears nothing of: what that one commits is fenced until it joins anew.
    pub fn put_out(&mut self) {
        self.generation = None;
        self.member += 1;
    }

    /// The consumer joins the group's present generation, as a new member if the group had put it out.
    pub fn join(&mut self) {
        self.generation = Some(self.log.generation(&self.group));
        self.behind = false;
    }

    /// Whether positions of it were refused that will be taken once it has joined.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    /// The same after it was fenced, if the group still knows it.
    pub fn rejoin(&mut self) {
        if self.generation.is_some() {
            self.join();
        }
    }

    fn scripted(&mut self, call: Call, work: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.untold.is_some() {
            return self.resume(call);
        }
        match self.script.next(call) {
            None => work(self),
            Some(Scripted { fault: fault @ Fault::Retriable(_), done: true, .. }) if call.is_resumed() => {
                self.untold = Some((call, work(self)));
                Err(fault)
            }
            Some(scripted) => {
                if scripted.done {
                    work(self)?;
                }
                Err(scripted.fault)
            }
        }
    }

    /// A call behind one that timed out and was done.
    fn resume(&mut self, call: Call) -> Result<(), Fault> {
        let Some((timed_out, answer)) = self.untold.take_if(|(timed_out, _)| *timed_out == call) else {
            return Err(Fault::Fatal(format!("{call:?} while the outcome of another call is awaited")));
        };
        match self.script.next(call).map(|scripted| scripted.fault) {
            Some(again @ Fault::Retriable(_)) => {
                self.untold = Some((timed_out, answer));
                Err(again)
            }
            Some(over @ (Fault::FencedMember(_) | Fault::Unknown(_) | Fault::Fatal(_))) => Err(over),
            // What is done can be neither aborted nor left out.
            Some(Fault::Abortable(_) | Fault::Undone { .. }) | None => answer,
        }
    }

    /// Sends the oldest outputs of no transaction until so many are left.
    fn send(&mut self, left: usize) -> Result<(), Fault> {
        while self.unsent.len() > left
            && let Some(output) = self.unsent.pop_front()
        {
            self.log.append(&output, self.clock.now()).map_err(|error| Fault::Fatal(error.to_string()))?;
        }
        Ok(())
    }

    /// What the group says to positions that come with this: who is out is fenced, who is behind may ask again once it
    /// has joined, as on Kafka.
    fn admit(&mut self, member: Member, generation: Option<u64>, behind: fn(String) -> Fault) -> Result<(), Fault> {
        if member != self.member || self.generation.is_none() {
            return Err(Fault::FencedMember("unknown member".to_owned()));
        }
        if generation != Some(self.log.generation(&self.group)) {
            self.behind = true;
            return Err(behind("illegal generation".to_owned()));
        }
        Ok(())
    }

    fn number(&self) -> Result<Number, Fault> {
        self.open.ok_or_else(|| Fault::Fatal("no transaction is open".to_owned()))
    }

    /// The commit is acknowledged, and all its markers are left out. After another such one the first shows.
    fn commit_nowhere(&mut self) -> Result<(), Fault> {
        self.script.next(Call::Commit);
        let number = self.number()?;
        if let Some((before, _)) = self.left_out.take() {
            self.log.decide_left_out(before, true);
        }
        let partitions = self.log.leave_out(number, self.me()).map_err(fault)?;
        self.left_out = Some((number, partitions));
        self.open = None;
        Ok(())
    }

    const fn me(&self) -> (&Arc<str>, u64) {
        (&self.id, self.epoch)
    }
}

/// Who comes after the end of a transaction goes on from what is committed, as on Kafka.
fn fault(refused: Refused) -> Fault {
    let why = refused.to_string();
    match refused {
        Refused::Expired => Fault::FencedMember(why),
        Refused::Fenced | Refused::Missing(_) => Fault::Fatal(why),
    }
}

impl Transaction for Transactions {
    fn begin(&mut self) -> Result<(), Fault> {
        self.scripted(Call::Begin, |this| {
            if this.open.is_some() {
                return Err(Fault::Fatal("a transaction is open already".to_owned()));
            }
            this.open = Some(this.log.begin(this.me(), this.clock.now()).map_err(fault)?);
            Ok(())
        })
    }

    fn produce(&mut self, output: &Output) -> Result<(), Fault> {
        self.scripted(Call::Produce, |this| match this.open {
            Some(number) => this.log.append_in(number, this.me(), output, this.clock.now()).map_err(fault),
            None => {
                this.unsent.push_back(output.clone());
                this.send(UNSENT_MAX)
            }
        })
    }

    fn read_metadata(&mut self) -> Result<(), Fault> {
        self.scripted(Call::ReadMetadata, |this| {
            this.metadata = Some((this.member, this.generation));
            Ok(())
        })
    }

    fn send_offsets(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        self.scripted(Call::SendOffsets, |this| {
            let Some((member, generation)) = this.metadata.take() else {
                return Err(Fault::Abortable("the group's metadata was not read".to_owned()));
            };
            this.admit(member, generation, Fault::Abortable)?;
            this.log.offsets_in(this.number()?, this.me(), &this.group, offsets).map_err(fault)
        })
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let next = self.script.peek(Call::Commit).filter(|_| self.untold.is_none());
        if let Some(Scripted { fault: Fault::Undone { .. }, .. }) = next {
            return self.commit_nowhere();
        }
        self.scripted(Call::Commit, |this| {
            let number = this.number()?;
            if let Some((before, _)) = this.left_out.take() {
                this.log.decide_left_out(before, true);
            }
            this.log.end_transaction(number, this.me(), true).map_err(fault)?;
            this.open = None;
            Ok(())
        })
    }

    fn abort(&mut self) -> Result<(), Fault> {
        self.scripted(Call::Abort, |this| {
            if let Some(number) = this.open.take() {
                this.log.end_transaction(number, this.me(), false).map_err(fault)?;
            }
            if let Some((before, partitions)) = this.left_out.take() {
                this.undone = Some(before);
                return Err(Fault::Undone { partitions, why: "no marker of it came".to_owned() });
            }
            if let Some(before) = this.undone.take() {
                this.log.decide_left_out(before, false);
            }
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let Some(scripted) = self.script.next(Call::Flush) else { return self.send(0) };
        // One that fails has sent a part.
        self.send(if scripted.done { 0 } else { self.unsent.len() / 2 })?;
        Err(scripted.fault)
    }

    fn commit_offsets(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        self.scripted(Call::CommitOffsets, |this| {
            this.admit(this.member, this.generation, Fault::Retriable)?;
            this.log.commit_offsets(&this.group, offsets);
            Ok(())
        })
    }
}
