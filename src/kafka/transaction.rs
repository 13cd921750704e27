//! The port through which an epoch is committed on Kafka. Every call has a deadline of our own, because
//! `send_offsets_to_transaction` can ignore the one that it is given (librdkafka#5456).
//!
//! A commit that timed out goes on in the background, and librdkafka documents that calling it again resumes that same
//! commit: it is [`Fault::Retriable`]. Only when the broker's own limit has passed twice without an answer is the
//! outcome [`Fault::Unknown`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError as Theirs, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{Producer as _, ThreadedProducer};

use crate::kafka::client;
use crate::kafka::membership::Membership;
use crate::kafka::reports::Reports;
use crate::kafka::scout::Deadline;
use crate::kafka::{KafkaError, KafkaSettings, wire};
use crate::stream::{Fault, Output, Partition, Position, Transaction};
use crate::time::Clock;

/// How long `produce` waits for room before it says that there is none.
const ROOM: Duration = Duration::from_secs(1);

type Sender = ThreadedProducer<Reports>;
/// The answer to positions that were sent, and the metadata that went with them.
type Sent = (KafkaResult<()>, ConsumerGroupMetadata);

/// Makes the writers of a stage.
#[derive(Debug)]
pub struct Producer;

impl Producer {
    /// A writer of transactions. Ends what an earlier producer with this id left open, and fences it.
    ///
    /// # Errors
    /// [`KafkaError::Unavailable`] when that was not done within `start_timeout`; [`KafkaError::Settings`].
    pub fn exactly_once(
        settings: &KafkaSettings,
        transactional_id: &str,
        membership: Membership,
        clock: Arc<dyn Clock>,
    ) -> Result<KafkaTransaction, KafkaError> {
        let sender = Self::transactional(settings, transactional_id, &clock)?;
        Ok(KafkaTransaction::new(settings, Some(sender), membership, clock))
    }

    /// A writer of transactions that carry no positions, for who reads in no group: its id alone fences it. What an
    /// earlier producer with this id had begun is decided when this returns.
    ///
    /// # Errors
    /// As [`Producer::exactly_once`].
    pub fn alone(
        settings: &KafkaSettings,
        transactional_id: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<KafkaTransaction, KafkaError> {
        let sender = Self::transactional(settings, transactional_id, &clock)?;
        Ok(KafkaTransaction::new(settings, Some(sender), Membership::nowhere(), clock))
    }

    fn transactional(
        settings: &KafkaSettings,
        transactional_id: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Sender, KafkaError> {
        let config = client::producer(settings, transactional_id, Some(transactional_id));
        let sender: Sender = config.create_with_context(Reports::default())?;
        let deadline = Deadline::after(clock, settings.start_timeout);
        loop {
            let error = match sender.init_transactions(deadline.left().min(client::ASK)) {
                Ok(()) => return Ok(sender),
                Err(error) => error,
            };
            let again = matches!(&error, Theirs::Transaction(inner) if inner.is_retriable());
            if !again {
                return Err(KafkaError::refused("beginning transactions", error));
            }
            if deadline.left().is_zero() {
                let (servers, waited) = (settings.bootstrap_servers.clone(), settings.start_timeout);
                return Err(KafkaError::Unavailable { servers, waited, last: error.to_string() });
            }
            clock.pause(Duration::from_millis(100));
        }
    }

    /// A writer without transactions: every record acknowledged, then the positions.
    ///
    /// # Errors
    /// [`KafkaError::Settings`].
    pub fn at_least_once(
        settings: &KafkaSettings,
        client_id: &str,
        membership: Membership,
        clock: Arc<dyn Clock>,
    ) -> Result<KafkaTransaction, KafkaError> {
        let sender = client::producer(settings, client_id, None).create_with_context(Reports::default())?;
        Ok(KafkaTransaction::new(settings, Some(sender), membership, clock))
    }

    /// Commits positions and writes nothing: for a stage that publishes elsewhere. Use it at least once.
    #[must_use]
    pub fn offsets_only(settings: &KafkaSettings, membership: Membership, clock: Arc<dyn Clock>) -> KafkaTransaction {
        KafkaTransaction::new(settings, None, membership, clock)
    }
}

/// One producer with one transaction at a time.
pub struct KafkaTransaction {
    sender: Option<Sender>,
    membership: Membership,
    metadata: Option<ConsumerGroupMetadata>,
    offsets: Vec<(Partition, Position)>,
    /// A call of `send_offsets` that has not answered yet.
    sending: Option<Receiver<Sent>>,
    /// Since when the present commit is asked for.
    commit_began: Option<Duration>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// A call ended, or its deadline passed and it may still be going on.
enum Called {
    Done(KafkaResult<()>),
    Stuck,
}

/// Where a group sees this member.
enum Standing {
    Member,
    Rebalancing,
    Out,
}

impl KafkaTransaction {
    fn new(settings: &KafkaSettings, sender: Option<Sender>, membership: Membership, clock: Arc<dyn Clock>) -> Self {
        let timeout = settings.transaction_timeout;
        Self {
            sender,
            membership,
            metadata: None,
            offsets: Vec::new(),
            sending: None,
            commit_began: None,
            timeout,
            clock,
        }
    }

    fn sender(&self) -> Result<&Sender, Fault> {
        self.sender.as_ref().ok_or_else(|| Fault::Fatal("this writer commits positions only".to_owned()))
    }

    /// What librdkafka is told to take at most: less than the broker's limit for the whole transaction.
    fn limit(&self) -> Duration {
        self.timeout / 2
    }

    /// Begins to send positions. The call may be deaf to its own limit while no broker can be reached: whoever asks
    /// again waits for the same call.
    fn send(&mut self, offsets: &[(Partition, Position)]) -> Result<Receiver<Sent>, Fault> {
        let Some(metadata) = self.metadata.take() else {
            return Err(Fault::Abortable("the group's metadata was not read".to_owned()));
        };
        let list = list(offsets)?;
        self.offsets = offsets.to_vec();
        let (sender, limit) = (self.sender()?.clone(), self.limit());
        aside(move || (sender.send_offsets_to_transaction(&list, &metadata, limit), metadata))
    }

    /// What an error says about this member. A generation that has moved on while the member holds an assignment is a
    /// rebalance that is under way, and no reason to begin partitions again that stay: those that go have leases that
    /// go off.
    fn standing(&self, error: &Theirs) -> Standing {
        match error.rdkafka_error_code() {
            Some(Code::UnknownMemberId | Code::FencedInstanceId) => Standing::Out,
            Some(Code::IllegalGeneration | Code::RebalanceInProgress) => {
                if self.membership.metadata().is_ok() {
                    Standing::Rebalancing
                } else {
                    Standing::Out
                }
            }
            _ => Standing::Member,
        }
    }

    /// Waits until all reports are in, and librdkafka has put the last one away: its own flush sleeps 100 ms at a time.
    fn drain(&self, sender: &Sender, limit: Duration) -> bool {
        let deadline = Deadline::after(&self.clock, limit);
        if !sender.context().wait(0, limit) {
            return false;
        }
        while sender.in_flight_count() > 0 && !deadline.left().is_zero() {
            self.clock.pause(Duration::from_micros(20));
        }
        true
    }
}

impl Transaction for KafkaTransaction {
    fn begin(&mut self) -> Result<(), Fault> {
        self.metadata = None;
        self.sending = None;
        self.commit_began = None;
        let sender = self.sender()?;
        sender.context().forgive();
        sender.begin_transaction().map_err(|error| fault(&error))
    }

    fn produce(&mut self, output: &Output) -> Result<(), Fault> {
        let sender = self.sender()?;
        let reports = sender.context();
        loop {
            reports.sent();
            let Err((error, _)) = sender.send(wire::outgoing(output, ())) else { return Ok(()) };
            reports.unsent();
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                return Err(refused_output(output, &error));
            }
            let half = reports.counts().open / 2;
            if !reports.wait(half, ROOM) {
                return Err(Fault::Retriable("the producer's queue is full".to_owned()));
            }
        }
    }

    fn read_metadata(&mut self) -> Result<(), Fault> {
        self.metadata = None;
        self.metadata = Some(self.membership.metadata()?);
        Ok(())
    }

    fn send_offsets(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        let answered = match self.sending.take() {
            Some(answered) => answered,
            None => self.send(offsets)?,
        };
        let result = match answered.recv_timeout(self.timeout) {
            Ok((result, metadata)) => {
                // A retry within one transaction must bring the same metadata.
                self.metadata = Some(metadata);
                result
            }
            Err(RecvTimeoutError::Timeout) => {
                self.sending = Some(answered);
                return Err(Fault::Retriable("no answer to the positions of the transaction yet".to_owned()));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Fault::Fatal("sending positions broke off".to_owned())),
        };
        result.map_err(|error| match self.standing(&error) {
            Standing::Member => fault(&error),
            // The next attempt reads metadata anew, and checks the leases after that.
            Standing::Rebalancing => Fault::Abortable(error.to_string()),
            Standing::Out => Fault::FencedMember(error.to_string()),
        })
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let sender = self.sender()?.clone();
        let began = *self.commit_began.get_or_insert(self.clock.monotonic());
        let limit = self.limit();
        let flushed = self.drain(&sender, limit);
        let called = if flushed {
            match within(self.timeout, move || sender.commit_transaction(limit))? {
                Some(result) => Called::Done(result),
                None => Called::Stuck,
            }
        } else {
            Called::Done(Err(Theirs::Flush(Code::OperationTimedOut)))
        };
        match called {
            Called::Done(Ok(())) => {
                self.commit_began = None;
                self.membership.committed(&self.offsets);
                Ok(())
            }
            Called::Stuck => Err(Fault::Unknown("the commit hangs".to_owned())),
            // Not asked for yet, so it can be given up.
            Called::Done(Err(Theirs::Flush(code))) => Err(Fault::Abortable(format!("not delivered in time: {code}"))),
            Called::Done(Err(error)) => {
                let waited = self.clock.monotonic().saturating_sub(began);
                match fault(&error) {
                    Fault::Retriable(why) if waited >= self.timeout * 2 => Err(Fault::Unknown(why)),
                    other => Err(other),
                }
            }
        }
    }

    fn abort(&mut self) -> Result<(), Fault> {
        self.metadata = None;
        self.commit_began = None;
        let (sender, limit) = (self.sender()?.clone(), self.limit());
        match within(self.timeout, move || sender.abort_transaction(limit))? {
            Some(result) => result.map_err(|error| fault(&error)),
            None => Err(Fault::Fatal("aborting hangs".to_owned())),
        }
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let Some(sender) = &self.sender else { return Ok(()) };
        // The reports come, good or bad, within the client's own limit for a record, which is `timeout`.
        if !self.drain(sender, self.timeout * 2) {
            return Err(Fault::Fatal("delivery reports do not come".to_owned()));
        }
        let bad = sender.context().counts().bad;
        sender.context().forgive();
        bad.map_or(Ok(()), |why| Err(Fault::Abortable(format!("a record was not delivered: {why}"))))
    }

    fn commit_offsets(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        let list = list(offsets)?;
        let commit = self.membership.committer()?;
        // Committing the same positions again changes nothing, so a missing answer is asked for again.
        let Some(result) = within(self.timeout, move || commit(list))? else {
            return Err(Fault::Retriable("committing the positions takes too long".to_owned()));
        };
        match result {
            Ok(()) => {
                self.membership.committed(offsets);
                Ok(())
            }
            Err(error) => match self.standing(&error) {
                Standing::Member | Standing::Rebalancing => Err(Fault::Retriable(error.to_string())),
                Standing::Out => Err(Fault::FencedMember(error.to_string())),
            },
        }
    }
}

impl fmt::Debug for KafkaTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTransaction").field("membership", &self.membership).finish_non_exhaustive()
    }
}

/// Runs a call on a thread of its own.
fn aside<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<Receiver<T>, Fault> {
    let (answer, answered) = bounded(1);
    let spawned = std::thread::Builder::new().name("kafka-call".to_owned()).spawn(move || {
        let _nobody_waits = answer.send(call());
    });
    spawned.map_err(|error| Fault::Retriable(format!("starting a thread: {error}")))?;
    Ok(answered)
}

/// Runs a call on a thread of its own; `None` when it has not ended after `limit`, and then nobody waits for it.
fn within<T: Send + 'static>(limit: Duration, call: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>, Fault> {
    Ok(aside(call)?.recv_timeout(limit).ok())
}

fn list(offsets: &[(Partition, Position)]) -> Result<rdkafka::TopicPartitionList, Fault> {
    wire::list(offsets.iter().map(|(at, position)| (at, *position))).map_err(|error| Fault::Fatal(error.to_string()))
}

/// What librdkafka says about the error: it knows what may follow.
fn fault(error: &Theirs) -> Fault {
    let why = error.to_string();
    match error {
        Theirs::Transaction(inner) if inner.is_fatal() => Fault::Fatal(why),
        Theirs::Transaction(inner) if inner.txn_requires_abort() => Fault::Abortable(why),
        Theirs::Transaction(inner) if inner.is_retriable() => Fault::Retriable(why),
        _ => Fault::Fatal(why),
    }
}

fn refused_output(output: &Output, error: &Theirs) -> Fault {
    let size = output.size();
    let why = format!("a record of {size} bytes for {}/{} was refused: {error}", output.topic, output.partition);
    match error.rdkafka_error_code() {
        // Inside a transaction that has failed already: abort says why.
        Some(Code::State | Code::PurgeQueue) => Fault::Abortable(why),
        _ => Fault::Fatal(why),
    }
}
