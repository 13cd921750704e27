//! A commit that is under way, call by call: the real [`Epoch::commit`] on a stack of its own, whose port leaves it to
//! ask for each call, so that the order of everything is the simulation's to decide.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::stream::{Delivery, Epoch, Fault, Outcome, Output, Partition, Patience, Position, Row, Transaction};
use crate::time::{Clock, Timestamp};

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

/// How long a commit may have waited by itself when it gives up at its deadline: what fails some times in a row takes
/// less, so who waited for longer tried what it should not have tried again, and again.
const OWN_WAITING_MAX: Duration = Duration::from_secs(10);

/// The clock as a commit sees it: what it waits by itself is counted.
struct Counting {
    clock: Arc<dyn Clock>,
    waited_ms: Arc<AtomicU64>,
}

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn pause(&self, span: Duration) {
        self.waited_ms.fetch_add(span.as_millis() as u64, Ordering::Relaxed);
        self.clock.pause(span);
    }
}

/// A commit under way.
pub(super) struct Committing {
    commit: Coroutine<Answer, Ask, Outcome>,
    waiting: Result<Ask, Outcome>,
    partitions: Vec<Partition>,
    topics: BTreeSet<Arc<str>>,
    clock: Arc<dyn Clock>,
    began: Duration,
    waited_ms: Arc<AtomicU64>,
}

impl Committing {
    /// Starts it; it stands before its first call.
    pub(super) fn start<N: 'static>(mut epoch: Epoch<Row<N>>, delivery: Delivery, clock: Arc<dyn Clock>) -> Self {
        let partitions = epoch.parts().iter().map(|part| part.partition().clone()).collect();
        let topics = epoch.rows().flat_map(|row| &row.outputs).map(|output| output.topic.clone()).collect();
        let (began, waited_ms) = (clock.monotonic(), Arc::default());
        let counting = Counting { clock: clock.clone(), waited_ms: Arc::clone(&waited_ms) };
        let mut commit = Coroutine::new(move |calls: &Yielder<Answer, Ask>, _: Answer| {
            epoch.commit(&mut Remote(calls), delivery, Patience::default(), &counting)
        });
        let waiting = next(&mut commit, Ok(()));
        Self { commit, waiting, partitions, topics, clock, began, waited_ms }
    }

    /// Whether the world, and not the commit itself, let the time of its deadline pass.
    pub(super) fn is_overdue(&self) -> bool {
        let own = Duration::from_millis(self.waited_ms.load(Ordering::Relaxed));
        self.clock.monotonic().saturating_sub(self.began) >= Patience::default().deadline && own < OWN_WAITING_MAX
    }

    /// Whether it is to commit positions of any of these.
    pub(super) fn concerns(&self, partitions: &[Partition]) -> bool {
        self.partitions.iter().any(|partition| partitions.contains(partition))
    }

    /// Whether it writes to this topic.
    pub(super) fn writes_to(&self, topic: &str) -> bool {
        self.topics.contains(topic)
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
