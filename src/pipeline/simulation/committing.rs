//! A commit that is under way, call by call: the real [`Epoch::commit`] on a thread of its own, whose port asks for
//! each call and waits. One thread runs at a time, so the order of everything is the simulation's to decide.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

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

enum Told {
    Asks(Ask),
    Ended(Outcome),
}

/// The port as the commit sees it.
struct Remote {
    asks: Sender<Told>,
    answers: Receiver<Result<(), Fault>>,
}

impl Remote {
    fn ask(&self, ask: Ask) -> Result<(), Fault> {
        let gone = || Fault::Unknown("the process is gone".to_owned());
        self.asks.send(Told::Asks(ask)).map_err(|_| gone())?;
        self.answers.recv().map_err(|_| gone())?
    }
}

impl Transaction for Remote {
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
    told: Option<Receiver<Told>>,
    answers: Option<Sender<Result<(), Fault>>>,
    thread: Option<JoinHandle<()>>,
    waiting: Result<Ask, Outcome>,
}

impl Committing {
    /// Starts it; it stands before its first call.
    pub(super) fn start<N: Send + 'static>(
        mut epoch: Epoch<Row<N>>,
        delivery: Delivery,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (asks, told) = bounded(1);
        let (answers, answered) = bounded(1);
        let thread = thread::spawn(move || {
            let mut port = Remote { asks: asks.clone(), answers: answered };
            let outcome = epoch.commit(&mut port, delivery, Patience::default(), &*clock);
            drop(asks.send(Told::Ended(outcome)));
        });
        let waiting = next(&told);
        Self { told: Some(told), answers: Some(answers), thread: Some(thread), waiting }
    }

    /// The call that waits, or how the commit ended.
    pub(super) const fn waiting(&self) -> &Result<Ask, Outcome> {
        &self.waiting
    }

    /// Answers the call that waits.
    pub(super) fn answer(&mut self, answer: Result<(), Fault>) {
        if let (Some(answers), Some(told)) = (&self.answers, &self.told) {
            answers.send(answer).unwrap();
            self.waiting = next(told);
        }
    }
}

fn next(told: &Receiver<Told>) -> Result<Ask, Outcome> {
    match told.recv() {
        Ok(Told::Asks(ask)) => Ok(ask),
        Ok(Told::Ended(outcome)) => Err(outcome),
        Err(_) => Err(Outcome::Halt("the commit panicked".to_owned())),
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        (self.told, self.answers) = (None, None);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
