//! A commit that is under way, call by call: the real [`Epoch::commit`] on a stack of its own, whose port leaves it to
//! ask for each call, so that the order of everything is the simulation's to decide.

use std::sync::Arc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::stream::{Delivery, Epoch, Fault, Outcome, Output, Partition, Patience, Position, Row, Transaction};
use crate::time::Clock;

/// A call that waits to be made.
#[derive(Debug)]
pub(super) enum Ask {
    Begin,
    Produce(Output),
    ReadMetadata,
    SendOffsets(Vec<(Partition, Position)>),
    Commit,
    Abort,
    Flush,
    CommitOffsets(Vec<(Partition, Position)>),
}

impl Ask {
    /// Makes it.
    pub(super) fn make(&self, port: &mut dyn Transaction) -> Result<(), Fault> {
        match self {
            Self::Begin => port.begin(),
            Self::Produce(output) => port.produce(output),
            Self::ReadMetadata => port.read_metadata(),
            Self::SendOffsets(offsets) => port.send_offsets(offsets),
            Self::Commit => port.commit(),
            Self::Abort => port.abort(),
            Self::Flush => port.flush(),
            Self::CommitOffsets(offsets) => port.commit_offsets(offsets),
        }
    }
}

type Answer = Result<(), Fault>;

/// The port as the commit sees it.
struct Remote<'a>(&'a Yielder<Answer, Ask>);

impl Remote<'_> {
    fn ask(&self, ask: Ask) -> Answer {
        self.0.suspend(ask)
    }
}

impl Transaction for Remote<'_> {
    fn begin(&mut self) -> Result<(), Fault> {
        self.ask(Ask::Begin)
    }

    fn produce(&mut self, output: &Output) -> Result<(), Fault> {
        self.ask(Ask::Produce(output.clone()))
    }

    fn read_metadata(&mut self) -> Result<(), Fault> {
        self.ask(Ask::ReadMetadata)
    }

    fn send_offsets(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        self.ask(Ask::SendOffsets(offsets.to_vec()))
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.ask(Ask::Commit)
    }

    fn abort(&mut self) -> Result<(), Fault> {
        self.ask(Ask::Abort)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.ask(Ask::Flush)
    }

    fn commit_offsets(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        self.ask(Ask::CommitOffsets(offsets.to_vec()))
    }
}

/// A commit under way.
pub(super) struct Committing {
    commit: Coroutine<Answer, Ask, Outcome>,
    waiting: Result<Ask, Outcome>,
}

impl Committing {
    /// Starts it; it stands before its first call.
    pub(super) fn start<N: 'static>(mut epoch: Epoch<Row<N>>, delivery: Delivery, clock: Arc<dyn Clock>) -> Self {
        let mut commit = Coroutine::new(move |calls: &Yielder<Answer, Ask>, _: Answer| {
            epoch.commit(&mut Remote(calls), delivery, Patience::default(), &*clock)
        });
        let waiting = next(&mut commit, Ok(()));
        Self { commit, waiting }
    }

    /// The call that waits, or how the commit ended.
    pub(super) const fn waiting(&self) -> &Result<Ask, Outcome> {
        &self.waiting
    }

    /// Answers the call that waits.
    pub(super) fn answer(&mut self, answer: Answer) {
        if !self.commit.done() {
            self.waiting = next(&mut self.commit, answer);
        }
    }
}

fn next(commit: &mut Coroutine<Answer, Ask, Outcome>, answer: Answer) -> Result<Ask, Outcome> {
    match commit.resume(answer) {
        CoroutineResult::Yield(ask) => Ok(ask),
        CoroutineResult::Return(outcome) => Err(outcome),
    }
}

impl Drop for Committing {
    /// Whoever is in the middle of a commit and dies makes no more calls.
    fn drop(&mut self) {
        while !self.commit.done() {
            self.answer(Err(Fault::Unknown("the process is gone".to_owned())));
        }
    }
}
