//! Calls that may be deaf to their own limits, on threads of their own.

use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::stream::Fault;

/// Runs a call on a thread of its own.
pub(super) fn aside<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<Receiver<T>, Fault> {
    let (answer, answered) = bounded(1);
    let spawned = std::thread::Builder::new().name("kafka-call".to_owned()).spawn(move || {
        let _nobody_waits = answer.send(call());
    });
    spawned.map_err(|error| Fault::Retriable(format!("starting a thread: {error}")))?;
    Ok(answered)
}

/// Runs a call on a thread of its own; `None` when it has not ended after `limit`, and then nobody waits for it.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Fault> {
    Ok(aside(call)?.recv_timeout(limit).ok())
}
