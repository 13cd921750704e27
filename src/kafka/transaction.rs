//! The port through which an epoch is committed on Kafka. Every call has a deadline of our own, because
//! `send_offsets_to_transaction` can ignore the one that it is given (librdkafka#5456).
//!
//! A commit that timed out goes on in the background; calling it again resumes it, as librdkafka documents: it is
//! [`Fault::Retriable`]. A transaction that is older than the broker lets any be was given up by the broker, or will be:
//! nobody waits for it any longer, whatever was asked. A new client begins, which decides what became of it, and the log
//! says what is true.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError as Theirs, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;

use crate::kafka::aside::{Call, within};
use crate::kafka::client;
use crate::kafka::deadline::Deadline;
use crate::kafka::fault::{fault, refused_output};
use crate::kafka::markers::{Markers, Reach, Unmarked};
use crate::kafka::membership::Membership;
use crate::kafka::producer::{Mint, Sender, is_retriable};
use crate::kafka::{KafkaSettings, wire};
use crate::stream::{Fault, Output, Partition, Position, Transaction};
use crate::time::Clock;

/// How long `produce` waits for room before it says that there is none.
const ROOM: Duration = Duration::from_secs(1);

/// The answer to positions that were sent, and the metadata that went with them.
type Sent = (KafkaResult<()>, ConsumerGroupMetadata);

/// One producer with one transaction at a time.
pub struct KafkaTransaction {
    sender: Option<Sender>,
    /// Makes another client in place of one that the broker gave up; none without transactions.
    mint: Option<Mint>,
    /// A client in the place of `sender` that has not begun yet.
    successor: Option<Sender>,
    /// How the successor begins.
    beginning: Call<KafkaResult<()>>,
    /// When the present transaction began.
    begun_at: Duration,
    stands: Stands,
    markers: Markers,
    membership: Membership,
    metadata: Option<ConsumerGroupMetadata>,
    offsets: Vec<(Partition, Position)>,
    sending: Call<Sent>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// How the present transaction stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Begun,
    /// It was given up, by the broker or by us.
    Lapsed,
    /// There is none; what the last one has no marker for may not be marked yet.
    Ended,
}

/// Where a group sees this member.
enum Standing {
    Member,
    Rebalancing,
    Out,
}

impl KafkaTransaction {
    pub(super) fn new(
        settings: &KafkaSettings,
        sender: Option<Sender>,
        membership: Membership,
        reach: &Reach,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let timeout = settings.transaction_timeout;
        let markers = Markers::new(settings, &membership.group, reach, &clock);
        Self {
            sender,
            mint: None,
            successor: None,
            beginning: Call::default(),
            begun_at: Duration::ZERO,
            stands: Stands::Ended,
            markers,
            membership,
            metadata: None,
            offsets: Vec::new(),
            sending: Call::default(),
            timeout,
            clock,
        }
    }

    pub(super) fn with_mint(mut self, mint: Mint) -> Self {
        self.mint = Some(mint);
        self
    }

    fn sender(&self) -> Result<&Sender, Fault> {
        self.sender.as_ref().ok_or_else(|| Fault::Fatal("this writer commits positions only".to_owned()))
    }

    /// What librdkafka is told to take at most: less than the broker's limit for the whole transaction.
    fn limit(&self) -> Duration {
        self.timeout / 2
    }

    /// Begins to send positions.
    fn send(&mut self, offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        let Some(metadata) = self.metadata.take() else {
            return Err(Fault::Abortable("the group's metadata was not read".to_owned()));
        };
        let list = list(offsets)?;
        self.offsets = offsets.to_vec();
        let (sender, limit) = (self.sender()?.clone(), self.limit());
        self.sending.begin(move || (sender.send_offsets_to_transaction(&list, &metadata, limit), metadata))
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

    /// What an error means for the transaction. Who is fenced in one that is older than the broker lets any be was not
    /// fenced by a twin: the broker has given the transaction up. So it has, or never heard of it, where it says that
    /// this is no state to end it in. What was committed stands on the log.
    fn judge(&mut self, error: &Theirs) -> Fault {
        let given_up = match error.rdkafka_error_code() {
            Some(Code::InvalidTransactionalState) => true,
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => self.is_overdue(),
            _ => false,
        };
        match fault(error) {
            Fault::Fatal(_) if given_up && self.mint.is_some() => self.give_up(&error.to_string()),
            fault => self.unless_overdue(fault),
        }
    }

    /// The present transaction is older than the broker lets any be.
    fn is_overdue(&self) -> bool {
        self.clock.monotonic().saturating_sub(self.begun_at) >= self.timeout
    }

    /// Who waits for an answer waits no longer than the broker for the end of the transaction: it is begun anew after
    /// that, with a client that does not hang on what the old one waits for.
    fn unless_overdue(&mut self, fault: Fault) -> Fault {
        match fault {
            Fault::Retriable(why) | Fault::Unknown(why) if self.is_overdue() && self.mint.is_some() => {
                self.give_up(&why)
            }
            fault => fault,
        }
    }

    /// The next abort begins with a new client.
    fn give_up(&mut self, why: &str) -> Fault {
        self.stands = Stands::Lapsed;
        let lasted = self.clock.monotonic().saturating_sub(self.begun_at);
        Fault::FencedMember(format!("a transaction of {} s is given up: {why}", lasted.as_secs()))
    }

    /// Begins with a new client under the same id; that ends what the old one may have left open.
    fn renew(&mut self) -> Result<(), Fault> {
        let successor = match (&self.successor, &self.mint) {
            (Some(successor), _) => successor.clone(),
            (None, Some(mint)) => mint.successor()?,
            (None, None) => return Err(Fault::Fatal("this writer has no transactions".to_owned())),
        };
        self.successor = Some(successor.clone());
        if !self.beginning.is_under_way() {
            let (begins, limit) = (successor.clone(), self.limit());
            self.beginning.begin(move || begins.init_transactions(limit))?;
        }
        match self.beginning.answer(self.timeout)? {
            Some(Ok(())) => {
                self.successor = None;
                // Ending the old one waits for what it has not sent.
                if let Some(old) = self.sender.replace(successor) {
                    let life = Arc::downgrade(old.context());
                    client::end_shared(old, move || life.strong_count() == 0);
                }
                tracing::warn!("a transaction was given up: a new producer begins where the log says");
                Ok(())
            }
            Some(Err(error)) if is_retriable(&error) => Err(Fault::Retriable(error.to_string())),
            Some(Err(error)) => Err(Fault::Fatal(error.to_string())),
            None => Err(Fault::Retriable("no new producer has begun yet".to_owned())),
        }
    }

    /// Ends the present transaction, if there is one, without a commit.
    fn end(&mut self) -> Result<(), Fault> {
        match self.stands {
            Stands::Ended => {}
            Stands::Lapsed => self.renew()?,
            Stands::Begun => {
                let (sender, limit) = (self.sender()?.clone(), self.limit());
                match within(self.timeout, move || sender.abort_transaction(limit))? {
                    Some(Ok(())) => self.markers.aborted(),
                    Some(Err(error)) => return Err(self.judge(&error)),
                    None => return Err(self.unless_overdue(Fault::Unknown("aborting hangs".to_owned()))),
                }
            }
        }
        self.stands = Stands::Ended;
        Ok(())
    }

    /// A transaction that is to be aborted, behind what has no marker.
    fn lay(&mut self, unmarked: &Unmarked) -> Result<(), Fault> {
        self.begin()?;
        self.markers.laying();
        for output in unmarked.outputs() {
            self.produce(&output)?;
        }
        // First the records: a member that is refused can send none after that.
        let (sender, limit) = (self.sender()?, self.limit());
        if !self.drain(sender, limit) || sender.context().counts().bad.is_some() {
            return Err(Fault::Retriable("no marker is laid yet".to_owned()));
        }
        if let Some(metadata) = self.membership.any_metadata().filter(|_| !unmarked.positions.is_empty()) {
            self.metadata = Some(metadata);
            self.send(&unmarked.positions)?;
            match self.sending.answer(self.timeout)? {
                // Who is refused as a member has reached the group.
                Some((Err(error), _)) if !matches!(self.standing(&error), Standing::Member) => {}
                Some((result, _)) => result.map_err(|error| self.judge(&error))?,
                None => return Err(self.unless_overdue(Fault::Retriable("no answer to positions yet".to_owned()))),
            }
        }
        tracing::info!(?unmarked, "laid markers");
        self.end()
    }

    /// Ends the present transaction, if there is one, and lays markers where the broker left them out. Its partitions are
    /// asked for so long at most.
    pub(super) fn clear(&mut self, limit: Duration) -> Result<(), Fault> {
        self.metadata = None;
        self.end()?;
        let unmarked = self.markers.unmarked(limit)?;
        if !unmarked.is_empty() {
            // Whatever becomes of it, the next call ends it and begins again.
            self.lay(&unmarked).map_err(|fault| match fault {
                Fault::Fatal(why) => Fault::Fatal(why),
                other => Fault::Retriable(other.to_string()),
            })?;
        }
        self.markers.settled();
        Ok(())
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
        self.sending = Call::default();
        self.begun_at = self.clock.monotonic();
        self.stands = Stands::Begun;
        let sender = self.sender()?;
        sender.context().forgive();
        sender.begin_transaction().map_err(|error| fault(&error))
    }

    fn produce(&mut self, output: &Output) -> Result<(), Fault> {
        self.markers.written(&output.topic, output.partition);
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
        self.markers.sent(offsets);
        if !self.sending.is_under_way() {
            self.send(offsets)?;
        }
        let Some((result, metadata)) = self.sending.answer(self.timeout)? else {
            let late = Fault::Retriable("no answer to the positions of the transaction yet".to_owned());
            return Err(self.unless_overdue(late));
        };
        // A retry within one transaction must bring the same metadata.
        self.metadata = Some(metadata);
        result.map_err(|error| match self.standing(&error) {
            Standing::Member => self.judge(&error),
            // The next attempt reads metadata anew, and checks the leases after that.
            Standing::Rebalancing => Fault::Abortable(error.to_string()),
            Standing::Out => Fault::FencedMember(error.to_string()),
        })
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let (sender, limit) = (self.sender()?.clone(), self.limit());
        if !self.drain(&sender, limit) {
            // Not asked for yet, so it can be given up.
            return Err(Fault::Abortable("what was produced is not delivered in time".to_owned()));
        }
        self.markers.asked();
        match within(self.timeout, move || sender.commit_transaction(limit))? {
            Some(Ok(())) => {
                self.stands = Stands::Ended;
                self.markers.committed();
                self.membership.committed(&self.offsets);
                Ok(())
            }
            Some(Err(error)) => Err(self.judge(&error)),
            None => Err(self.unless_overdue(Fault::Unknown("the commit hangs".to_owned()))),
        }
    }

    fn abort(&mut self) -> Result<(), Fault> {
        self.clear(self.limit())
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

fn list(offsets: &[(Partition, Position)]) -> Result<rdkafka::TopicPartitionList, Fault> {
    wire::list(offsets.iter().map(|(at, position)| (at, *position))).map_err(|error| Fault::Fatal(error.to_string()))
}
