//! Makes the writers of the stages, and the client inside a writer of transactions: once at the start, and once more
//! when the broker has given its transaction up.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError as Theirs;
use rdkafka::producer::{Producer as _, ThreadedProducer};

use crate::kafka::deadline::Deadline;
use crate::kafka::markers::Reach;
use crate::kafka::membership::Membership;
use crate::kafka::reports::Reports;
use crate::kafka::transaction::KafkaTransaction;
use crate::kafka::{KafkaError, KafkaSettings, client};
use crate::stream::Fault;
use crate::time::Clock;

/// A client that counts its reports.
pub(super) type Sender = ThreadedProducer<Reports>;

/// Makes the writers of a stage.
#[derive(Debug)]
pub struct Producer;

impl Producer {
    /// A writer of transactions. Ends what an earlier producer with this id left open wherever it may have been, and
    /// fences it.
    ///
    /// # Errors
    /// [`KafkaError::Unavailable`] when that was not done within `start_timeout`; [`KafkaError::Settings`].
    pub fn exactly_once(
        settings: &KafkaSettings,
        transactional_id: &str,
        membership: Membership,
        reach: &Reach,
        clock: Arc<dyn Clock>,
    ) -> Result<KafkaTransaction, KafkaError> {
        let deadline = Deadline::after(&clock, settings.start_timeout);
        let mint = Mint { settings: settings.clone(), id: transactional_id.to_owned() };
        let sender = mint.begun(&deadline, &*clock)?;
        let port = KafkaTransaction::new(settings, Some(sender), membership, reach, clock.clone()).with_mint(mint);
        cleared(port, settings, &deadline, &*clock)
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
        let deadline = Deadline::after(&clock, settings.start_timeout);
        let mint = Mint { settings: settings.clone(), id: transactional_id.to_owned() };
        let sender = mint.begun(&deadline, &*clock)?;
        Ok(KafkaTransaction::new(settings, Some(sender), Membership::nowhere(), &Reach::default(), clock))
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
        Ok(KafkaTransaction::new(settings, Some(sender), membership, &Reach::default(), clock))
    }

    /// Commits positions and writes nothing: for a stage that publishes elsewhere. Use it at least once.
    #[must_use]
    pub fn offsets_only(settings: &KafkaSettings, membership: Membership, clock: Arc<dyn Clock>) -> KafkaTransaction {
        KafkaTransaction::new(settings, None, membership, &Reach::default(), clock)
    }
}

/// Makes clients with one transactional id.
pub(super) struct Mint {
    settings: KafkaSettings,
    id: String,
}

impl Mint {
    /// A client that has not begun yet.
    pub(super) fn sender(&self) -> Result<Sender, KafkaError> {
        let config = client::producer(&self.settings, &self.id, Some(&self.id));
        Ok(config.create_with_context(Reports::default())?)
    }

    /// A client in the place of one that was given up, if not too many of those have not ended.
    pub(super) fn successor(&self) -> Result<Sender, Fault> {
        if !client::may_replace() {
            return Err(Fault::Retriable("too many clients that were given up have not ended".to_owned()));
        }
        self.sender().map_err(|error| Fault::Fatal(error.to_string()))
    }

    /// A client that has begun: what an earlier one with this id had begun is decided.
    fn begun(&self, deadline: &Deadline, clock: &dyn Clock) -> Result<Sender, KafkaError> {
        let (sender, settings) = (self.sender()?, &self.settings);
        loop {
            let error = match sender.init_transactions(deadline.left().min(client::ASK)) {
                Ok(()) => return Ok(sender),
                Err(error) => error,
            };
            if !is_retriable(&error) {
                return Err(KafkaError::refused("beginning transactions", error));
            }
            again(settings, deadline, clock, error.to_string())?;
        }
    }
}

/// A writer that has been at each place where an earlier one of its id may have left something open.
fn cleared(
    mut port: KafkaTransaction,
    settings: &KafkaSettings,
    deadline: &Deadline,
    clock: &dyn Clock,
) -> Result<KafkaTransaction, KafkaError> {
    loop {
        match port.clear(deadline.left()) {
            Ok(()) => return Ok(port),
            Err(Fault::Retriable(why) | Fault::FencedMember(why) | Fault::Undone { why, .. }) => {
                again(settings, deadline, clock, why)?
            }
            Err(fault) => return Err(KafkaError::refused("beginning transactions", fault)),
        }
    }
}

/// Waits before the next attempt, until the deadline has passed.
fn again(settings: &KafkaSettings, deadline: &Deadline, clock: &dyn Clock, last: String) -> Result<(), KafkaError> {
    if deadline.left().is_zero() {
        let (servers, waited) = (settings.bootstrap_servers.clone(), settings.start_timeout);
        return Err(KafkaError::Unavailable { servers, waited, last });
    }
    clock.pause(Duration::from_millis(100));
    Ok(())
}

/// Whether the same call may succeed if made again.
pub(super) fn is_retriable(error: &Theirs) -> bool {
    matches!(error, Theirs::Transaction(inner) if inner.is_retriable())
}
