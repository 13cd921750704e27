//! What a shell says of those that it waits for.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{bounded, never};

use crate::memory::{Log, Script, Transactions};
use crate::pipeline::archive::ArchiveNote;
use crate::pipeline::shell::{Shell, SourceControl, named};
use crate::pipeline::stage::{Effect, Event, Stage};
use crate::pipeline::witness::Witness;
use crate::stream::{Command, Delivery, Partition};
use crate::time::{Clock as _, ManualClock, SystemClock, Timestamp};

/// Hands one job out, and ends when it is told to.
#[derive(Default)]
struct OneJob {
    begun: bool,
}

impl Stage for OneJob {
    type Job = ();
    type Done = ();
    type Note = ArchiveNote;

    fn on(&mut self, event: Event<()>, _now: Timestamp) -> Vec<Effect<(), ArchiveNote>> {
        match event {
            Event::Finish => vec![Effect::Finished],
            _ if !std::mem::replace(&mut self.begun, true) => vec![Effect::Work(())],
            _ => Vec::new(),
        }
    }

    fn held(&self) -> BTreeSet<Partition> {
        BTreeSet::new()
    }
}

/// A source that is well and brings nothing; it counts how often it was looked at.
struct Quiet(Arc<AtomicUsize>);

impl SourceControl for Quiet {
    fn command(&self, _command: Command) {}

    fn mark_end(&self) {}

    fn lags(&self) -> Vec<(Partition, i64)> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Vec::new()
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let patience = SystemClock::new();
    while !is_so() {
        assert!(patience.monotonic() < Duration::from_secs(60), "it does not come");
        patience.pause(Duration::from_millis(5));
    }
}

#[test]
fn who_waits_two_minutes_for_a_job_is_not_ready_until_it_comes_back() {
    let clock = Arc::new(ManualClock::default());
    clock.move_to(Timestamp::parse("2026-03-02T13:40:00Z").unwrap());
    let (witness, looks) = (Witness::alone(clock.clone()), Arc::new(AtomicUsize::new(0)));
    let board = witness.board.clone();
    let (_feeder, feed) = bounded(1);
    let (stop, shutdown) = bounded::<()>(0);
    let (answer, held) = bounded::<()>(0);
    let port = Transactions::new(Log::new(), Arc::from("group"), "stage", clock.clone(), Script::default());
    let shell = Shell {
        name: "archive",
        core: OneJob::default(),
        feed,
        source: Box::new(Quiet(looks.clone())),
        port: Box::new(port),
        delivery: Delivery::ExactlyOnce,
        clock: clock.clone(),
        witness,
        shutdown,
        ending: never(),
    };
    let stage = named("stage", move || {
        shell.run(|jobs, done| {
            let work = move || {
                for () in jobs {
                    let _nobody_answers = held.recv();
                    done.hand_in(());
                }
            };
            Ok(vec![named("worker", work)?])
        })
    });
    let stage = stage.unwrap();
    let look_after = |span: Duration| {
        // The look that is under way is of the moment before.
        let seen = looks.load(Ordering::SeqCst);
        clock.pause(span);
        wait_until(|| looks.load(Ordering::SeqCst) > seen);
        board.readiness()
    };
    wait_until(|| board.readiness().is_ok());
    assert_eq!(look_after(Duration::from_secs(110)), Ok(()), "a slow model is no reason");
    let said = look_after(Duration::from_secs(12)).unwrap_err();
    assert!(said.contains("none of 1 jobs has come back for 12"), "{said}");
    answer.send(()).unwrap();
    wait_until(|| look_after(Duration::from_secs(2)).is_ok());
    drop(stop);
    assert_eq!(stage.join().unwrap(), Ok(()));
}
