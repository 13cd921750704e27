//! Calls that may be deaf to their own limits, on threads of their own.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::stream::Fault;

/// A call on a thread of its own. Who had no answer asks again, and waits for the same call.
pub(super) struct Call<T>(Option<Receiver<T>>);

impl<T> Default for Call<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Call<T> {
    /// Nobody waits any longer for the one before.
    pub(super) fn begin(&mut self, call: impl FnOnce() -> T + Send + 'static) -> Result<(), Fault> {
        let (answer, answered) = bounded(1);
        let spawned = std::thread::Builder::new().name("kafka-call".to_owned()).spawn(move || {
            let _nobody_waits = answer.send(call());
        });
        spawned.map_err(|error| Fault::Retriable(format!("starting a thread: {error}")))?;
        self.0 = Some(answered);
        Ok(())
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// The answer of what is under way; `None` when there is none after `limit`.
    pub(super) fn answer(&mut self, limit: Duration) -> Result<Option<T>, Fault> {
        let Some(answered) = &self.0 else { return Ok(None) };
        let answer = match answered.recv_timeout(limit) {
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Disconnected) => Err(Fault::Fatal("a call of the client broke off".to_owned())),
        };
        self.0 = None;
        answer
    }
}

/// Runs a call on a thread of its own; `None` when it has not ended after `limit`, and then nobody waits for it.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Fault> {
    let mut under_way = Call::default();
    under_way.begin(call)?;
    under_way.answer(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_again_waits_for_the_same_call() {
        let (go, gone) = bounded::<()>(0);
        let mut call = Call::default();
        assert!(!call.is_under_way());
        call.begin(move || gone.recv().is_ok()).unwrap();
        assert_eq!(call.answer(Duration::from_millis(5)), Ok(None));
        assert!(call.is_under_way());
        go.send(()).unwrap();
        assert_eq!(call.answer(Duration::from_secs(60)), Ok(Some(true)));
        assert!(!call.is_under_way());
    }

    #[test]
    fn a_call_that_broke_off_answers_nobody() {
        let mut call = Call::<()>::default();
        call.begin(|| panic!("as a binding may")).unwrap();
        assert!(matches!(call.answer(Duration::from_secs(60)), Err(Fault::Fatal(_))));
        assert!(!call.is_under_way());
    }
}
