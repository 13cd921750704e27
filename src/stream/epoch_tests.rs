//! The rules of a commit that no script of the in-process log (`memory`) reaches.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use crate::stream::epoch::Tries;
use crate::stream::{Delivery, Fault, Lease, Ledger, Outcome, Output, Partition, Patience, Position, Row, Transaction};
use crate::time::{Clock as _, ManualClock};

#[test]
fn waits_double_up_to_a_bound_and_end_at_the_deadline() {
    let clock = ManualClock::default();
    let backoff = Duration::from_millis(10);
    let patience = Patience { backoff, deadline: Duration::from_secs(1) };
    let tries = Tries::new(patience, &clock);
    for (attempt, times) in [(0, 1), (1, 2), (4, 16), (5, 32), (9, 32)] {
        let before = clock.monotonic();
        assert!(tries.wait(attempt));
        assert_eq!(clock.monotonic() - before, backoff * times, "attempt {attempt}");
    }
    clock.pause(Duration::from_secs(1));
    let before = clock.monotonic();
    assert!(!tries.wait(1), "the deadline has passed");
    assert_eq!(clock.monotonic(), before);
}

/// A port that cannot take positions yet; when it has said so their lease ends.
struct Rearranged {
    lease: Lease,
    asked: usize,
}

impl Transaction for Rearranged {
    fn begin(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn produce(&mut self, _output: &Output) -> Result<(), Fault> {
        Ok(())
    }

    fn read_metadata(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn send_offsets(&mut self, _offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn commit_offsets(&mut self, _offsets: &[(Partition, Position)]) -> Result<(), Fault> {
        self.asked += 1;
        self.lease.turn_off();
        Err(Fault::Retriable("the group is being arranged anew".to_owned()))
    }
}

#[test]
fn at_least_once_positions_are_not_asked_for_again_when_their_lease_has_ended_meanwhile() {
    let partition = Partition::new(&Arc::from("posts"), 0);
    let (mut ledger, lease) = (Ledger::default(), Lease::grant(partition.clone()));
    ledger.assign(lease.clone(), Position::at(5));
    assert!(ledger.add_aside(&partition, vec![Row { outputs: Vec::new(), note: () }]));
    let mut epoch = ledger.close().unwrap();
    let mut port = Rearranged { lease, asked: 0 };
    let outcome = epoch.commit(&mut port, Delivery::AtLeastOnce, Patience::default(), &ManualClock::default());
    assert_eq!((outcome, port.asked), (Outcome::Committed(Vec::new()), 1));
}
