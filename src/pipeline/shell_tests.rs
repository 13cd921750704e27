//! What a shell says of those that it waits for.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, never};

use crate::event::Reason;
use crate::memory::{Log, Script, Transactions};
use crate::pipeline::archive::ArchiveNote;
use crate::pipeline::shell::{Shell, SourceControl, named};
use crate::pipeline::stage::{Effect, Event, Stage};
use crate::pipeline::witness::Witness;
use crate::stream::{Command, Delivery, Feed, Headers, Intake, Lease, Ledger, Partition, Position, Record, Row};
use crate::time::{Clock as _, ManualClock, SystemClock, Timestamp};

/// Wants one thing done, and ends when it is told to.
struct Once(Option<Effect<(), ArchiveNote>>);

impl Stage for Once {
    type Job = ();
    type Done = ();
    type Note = ArchiveNote;

    fn on(&mut self, event: Event<()>, _now: Timestamp) -> Vec<Effect<(), ArchiveNote>> {
        match event {
            Event::Finish => vec![Effect::Finished],
            _ => self.0.take().into_iter().collect(),
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

/// What a shell hangs on.
struct Ends {
    _feeder: Sender<Feed>,
    /// Ends it when it is dropped.
    stop: Sender<()>,
    /// How often its source was looked at.
    looks: Arc<AtomicUsize>,
}

/// The shell of a stage that wants this done.
fn shell(first: Effect<(), ArchiveNote>, clock: &Arc<ManualClock>) -> (Shell<Once>, Ends) {
    clock.move_to(Timestamp::parse("2026-03-02T13:40:00Z").unwrap());
    let looks = Arc::new(AtomicUsize::new(0));
    let (feeder, feed) = bounded(1);
    let (stop, shutdown) = bounded::<()>(0);
    let port = Transactions::new(Log::new(), Arc::from("group"), "stage", clock.clone(), Script::default());
    let shell = Shell {
        name: "archive",
        core: Once(Some(first)),
        feed,
        source: Box::new(Quiet(looks.clone())),
        port: Box::new(port),
        delivery: Delivery::ExactlyOnce,
        clock: clock.clone(),
        witness: Witness::alone(clock.clone()),
        shutdown,
        ending: never(),
    };
    (shell, Ends { _feeder: feeder, stop, looks })
}

#[test]
fn who_waits_two_minutes_for_a_job_is_not_ready_until_it_comes_back() {
    let clock = Arc::new(ManualClock::default());
    let (shell, ends) = shell(Effect::Work(()), &clock);
    let board = shell.witness.board.clone();
    let (answer, held) = bounded::<()>(0);
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
        let seen = ends.looks.load(Ordering::SeqCst);
        clock.pause(span);
        wait_until(|| ends.looks.load(Ordering::SeqCst) > seen);
        board.readiness(&*clock)
    };
    wait_until(|| board.readiness(&*clock).is_ok());
    assert_eq!(look_after(Duration::from_secs(110)), Ok(()), "a slow model is no reason");
    let said = look_after(Duration::from_secs(12)).unwrap_err();
    assert!(said.contains("none of 1 jobs has come back for 12"), "{said}");
    answer.send(()).unwrap();
    wait_until(|| look_after(Duration::from_secs(2)).is_ok());
    drop(ends.stop);
    assert_eq!(stage.join().unwrap(), Ok(()));
}

#[test]
fn an_epoch_whose_partitions_went_before_its_commit_counts_as_dropped() {
    let (clock, partition) = (Arc::new(ManualClock::default()), Partition::new(&Arc::from("scored"), 0));
    let lease = Lease::grant(partition.clone());
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(lease.clone(), Position::at(0));
    ledger.assign(lease.clone(), Position::at(0));
    let (appended_at, headers) = (Timestamp::default(), Headers::new());
    let record = Record { partition, offset: 0, appended_at, key: None, value: None, headers };
    let note = || ArchiveNote::Dead(Reason::Malformed, String::new());
    let rows = intake.take(&lease, vec![record]).unwrap().live.map(|_| Row { outputs: Vec::new(), note: note() });
    ledger.add(rows).unwrap();
    let epoch = ledger.close().unwrap();
    lease.turn_off();
    let (shell, ends) = shell(Effect::Commit(epoch), &clock);
    let metrics = shell.witness.metrics.clone();
    let stage = named("stage", move || shell.run(|_, _| Ok(Vec::new()))).unwrap();
    let counted = "bellwether_commit_seconds_count{outcome=\"dropped\",stage=\"archive\"} 1";
    wait_until(|| metrics.render().contains(counted));
    drop(ends.stop);
    assert_eq!(stage.join().unwrap(), Ok(()));
}
