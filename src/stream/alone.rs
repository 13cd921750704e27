//! Outputs without positions, in one transaction: for who reads in no group and knows from the log what is done.
//!
//! No group fences such a writer, its transactional id does. So it must take the id first, which ends what an earlier
//! writer left open and fences it, and read what is done after that.

use crate::stream::epoch::Tries;
use crate::stream::{Fault, Output, Patience, Transaction};
use crate::time::Clock;

/// The outputs were not written, or nobody knows whether they were: the log does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecided(pub String);

/// Commits outputs through `port`: all of them or none.
///
/// # Errors
/// [`Undecided`]. Outputs must not be handed in again before the log was read under the id anew.
pub fn commit_alone(
    port: &mut dyn Transaction,
    outputs: &[Output],
    patience: Patience,
    clock: &dyn Clock,
) -> Result<(), Undecided> {
    let mut tries = Tries::new(patience, clock);
    let mut attempt = 0;
    loop {
        let fault = match transact(port, outputs, &mut tries) {
            Ok(()) => return Ok(()),
            Err(fault) => fault,
        };
        let last = match fault {
            Fault::Retriable(why) | Fault::Abortable(why) => why,
            // The commit may stand: neither abort nor try again.
            Fault::Unknown(why) | Fault::Fatal(why) | Fault::FencedMember(why) | Fault::Undone { why, .. } => {
                return Err(Undecided(why));
            }
        };
        if let Err(fault) = tries.repeat(port, |port| port.abort()) {
            return Err(Undecided(format!("the transaction could not be aborted: {fault}")));
        }
        if !tries.wait(attempt) {
            return Err(Undecided(format!("gave up; last: {last}")));
        }
        attempt += 1;
    }
}

fn transact(port: &mut dyn Transaction, outputs: &[Output], tries: &mut Tries<'_>) -> Result<(), Fault> {
    tries.repeat(port, |port| port.begin())?;
    for output in outputs {
        tries.repeat(port, |port| port.produce(output))?;
    }
    tries.repeat(port, |port| port.commit())
}
