//! Delivery reports, counted. A flush that returns says only that nothing is waiting; whether every record arrived is
//! what the reports say, and they are counted from the moment a record is handed over.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::kafka::client;

/// The context of a producer that counts.
#[derive(Debug, Default)]
pub(super) struct Reports {
    counts: Mutex<Counts>,
    changed: Condvar,
}

/// What has been handed over, and what came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Handed over and not reported.
    pub(super) open: u64,
    /// Acknowledged since the start.
    pub(super) good: u64,
    /// The first bad report since the last [`Reports::forgive`].
    pub(super) bad: Option<String>,
    /// Whoever waits is woken when so few are open: once, not at each report.
    wake_at: u64,
}

impl Reports {
    /// One more record is on its way. Said before it is sent, so that its report cannot come first.
    pub(super) fn sent(&self) {
        self.with(|counts| counts.open += 1);
    }

    /// The client did not take it after all.
    pub(super) fn unsent(&self) {
        self.with(|counts| counts.open = counts.open.saturating_sub(1));
        self.changed.notify_all();
    }

    /// Forgets bad reports: what they were about will be sent again.
    pub(super) fn forgive(&self) {
        self.with(|counts| counts.bad = None);
    }

    /// The counts now.
    pub(super) fn counts(&self) -> Counts {
        self.with(|counts| counts.clone())
    }

    /// Waits until at most `open` records are not reported, `limit` long; returns whether that came about.
    pub(super) fn wait(&self, open: u64, limit: Duration) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.wake_at = open;
        let waited = self.changed.wait_timeout_while(counts, limit, |counts| counts.open > open);
        let (counts, _) = waited.unwrap_or_else(PoisonError::into_inner);
        counts.open <= open
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::pass_on(level, facility, message);
    }

    fn error(&self, error: Theirs, reason: &str) {
        // Said by the source, once; this comes many times a second.
        if error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            return tracing::debug!(%error, reason, "kafka producer");
        }
        tracing::warn!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let awaited = self.with(|counts| {
            counts.open = counts.open.saturating_sub(1);
            match result {
                Ok(_) => counts.good += 1,
                Err((error, _)) => {
                    counts.bad.get_or_insert_with(|| error.to_string());
                }
            }
            counts.open <= counts.wake_at
        });
        if awaited {
            self.changed.notify_all();
        }
    }
}
