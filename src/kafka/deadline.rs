//! A moment by which something must be done, and asking until then.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError as Theirs;

use crate::kafka::KafkaError;
use crate::kafka::client::ASK;
use crate::time::Clock;

/// A moment by which something must be done.
#[derive(Clone)]
pub(super) struct Deadline {
    clock: Arc<dyn Clock>,
    at: Duration,
    span: Duration,
}

impl Deadline {
    /// `span` from now.
    pub(super) fn after(clock: &Arc<dyn Clock>, span: Duration) -> Self {
        Self { clock: clock.clone(), at: clock.monotonic() + span, span }
    }

    /// What is left; zero when it has passed.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_sub(self.clock.monotonic())
    }

    /// The error of who missed it.
    pub(super) fn missed(&self, what: impl Into<String>) -> KafkaError {
        KafkaError::TimedOut { what: what.into(), waited: self.span }
    }

    /// Asks until there is an answer, with a short pause between.
    pub(super) fn ask<T>(
        &self,
        what: &str,
        mut question: impl FnMut(Duration) -> Result<T, Theirs>,
    ) -> Result<T, KafkaError> {
        loop {
            let left = self.left();
            match question(left.min(ASK)) {
                Ok(answer) => return Ok(answer),
                Err(error) if left.is_zero() => return Err(self.missed(format!("{what} ({error})"))),
                Err(error) => {
                    tracing::debug!(%error, what, "asking again");
                    self.clock.pause(left.min(Duration::from_millis(100)));
                }
            }
        }
    }
}
