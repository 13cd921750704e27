//! The rules of the way from intake to commit, one by one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use crate::event::Reason;
use crate::pipeline::flow::{EPOCH_ROWS_MAX, Flow};
use crate::pipeline::limit::Fate;
use crate::pipeline::stage::Effect;
use crate::stream::{Assignment, Command, Headers, Lease, Outcome, Partition, Position, Record, Row};
use crate::time::Timestamp;

type Said = Effect<(), ()>;

impl Fate for Row<()> {
    fn dead(&self) -> Option<(Reason, &str)> {
        None
    }
}

fn partition(number: i32) -> Partition {
    Partition::new(&Arc::from("posts"), number)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

const fn row() -> Row<()> {
    Row { outputs: Vec::new(), note: () }
}

/// A flow with an interval of 100 ms to which these partitions are assigned at position 0.
fn flow_of(numbers: &[i32], until_end: bool) -> (Flow<Row<()>>, Vec<Lease>) {
    let mut flow = Flow::new(Duration::from_millis(100), until_end);
    let leases: Vec<Lease> = numbers.iter().map(|number| Lease::grant(partition(*number))).collect();
    for lease in &leases {
        flow.assign(&begins(lease, 0));
    }
    (flow, leases)
}

/// Reads one record and finishes it as `rows` rows.
fn finish(flow: &mut Flow<Row<()>>, lease: &Lease, offset: i64, rows: usize, now: i64) {
    let partition = lease.partition().clone();
    let (key, value, headers) = (None, None, Headers::new());
    let record = Record { partition, offset, appended_at: at(offset), key, value, headers };
    let taken = flow.take(lease, vec![record]).unwrap();
    let batch = taken.live.transform(|_| (0..rows).map(|_| row()).collect());
    assert!(flow.add::<(), ()>(batch, at(now)).is_none());
}

fn due(flow: &mut Flow<Row<()>>, now: i64) -> Option<Said> {
    flow.close_if_due(at(now))
}

fn committed(flow: &mut Flow<Row<()>>, now: i64) -> Vec<Said> {
    flow.committed(Outcome::Committed(Vec::new()), at(now))
}

/// The partitions that are settled now, where no stage is busy with one.
fn settled(flow: &mut Flow<Row<()>>) -> Vec<Partition> {
    match flow.settle::<(), ()>(|_| false) {
        Some(Effect::Settled(partitions)) => partitions,
        None => Vec::new(),
        Some(other) => panic!("{other:?}"),
    }
}

fn begins(lease: &Lease, committed: i64) -> Assignment {
    Assignment { lease: lease.clone(), committed: Position::at(committed), is_decided: true, restored: Vec::new() }
}

#[test]
fn an_epoch_stays_open_longer_while_commits_take_long_and_never_for_long() {
    let (mut flow, _) = flow_of(&[0], false);
    // When a row came, how long its epoch stays open, and how long its commit takes.
    for (came, open, took) in [(0, 100, 20), (1_000, 100, 200), (2_000, 600, 20_000), (30_000, 1_000, 0)] {
        flow.add_aside(&partition(0), vec![row()], at(came));
        assert!(due(&mut flow, came + open - 1).is_none(), "the row of {came} was committed too early");
        assert!(matches!(due(&mut flow, came + open), Some(Effect::Commit(_))), "the row of {came} waits too long");
        assert!(committed(&mut flow, came + open + took).is_empty());
    }
}

#[test]
fn the_first_row_of_an_epoch_sets_its_time() {
    let (mut flow, leases) = flow_of(&[0, 1], false);
    let taken = flow.take(&leases[0], Vec::new()).unwrap();
    assert!(flow.add::<(), ()>(taken.live.map(|_| row()), at(0)).is_none());
    flow.add_aside(&partition(7), vec![row()], at(0));
    finish(&mut flow, &leases[0], 0, 1, 500);
    assert!(due(&mut flow, 599).is_none(), "what brought no row opened no epoch");
    finish(&mut flow, &leases[1], 0, 1, 599);
    assert!(due(&mut flow, 600).is_some(), "a later row does not put it off");
    finish(&mut flow, &leases[0], 1, 1, 650);
    assert!(due(&mut flow, 10_000).is_none(), "one commit is under way");
    assert!(flow.is_committing());
    committed(&mut flow, 10_000);
    assert!(due(&mut flow, 10_000).is_some());
}

#[test]
fn what_is_remembered_of_a_partition_outlives_the_decision_where_it_begins() {
    let (mut flow, leases) = flow_of(&[0], false);
    flow.watch.remember(&partition(0), true);
    let used = flow.watch.used();
    assert!(used > 0.0 && !flow.assign(&begins(&leases[0], 3)));
    assert!((flow.watch.used() - used).abs() < 1e-9, "under its lease it goes on");
    assert!(flow.assign(&begins(&Lease::grant(partition(0)), 3)));
    assert!(flow.watch.used() < 1e-9, "under another it begins anew");
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_waiting() {
    let (mut flow, leases) = flow_of(&[0], false);
    finish(&mut flow, &leases[0], 0, 1, 86_400_000);
    assert!(due(&mut flow, 86_400_099).is_none());
    assert!(due(&mut flow, 1_000).is_some(), "nobody waits a day for the clock to catch up");
}

#[test]
fn a_large_epoch_does_not_wait() {
    let (mut flow, leases) = flow_of(&[0], false);
    finish(&mut flow, &leases[0], 0, EPOCH_ROWS_MAX - 1, 0);
    assert!(!flow.is_full() && due(&mut flow, 0).is_none());
    finish(&mut flow, &leases[0], 1, 1, 0);
    assert!(flow.is_full() && due(&mut flow, 0).is_some() && !flow.is_full());
}

#[test]
fn the_end_closes_what_is_open() {
    let (mut flow, leases) = flow_of(&[0], false);
    finish(&mut flow, &leases[0], 0, 1, 0);
    assert!(!flow.is_finishing() && due(&mut flow, 0).is_none());
    flow.finish();
    assert!(flow.is_finishing() && due(&mut flow, 0).is_some());
}

#[test]
fn all_has_ended_when_each_assigned_partition_has_and_it_was_asked_for() {
    let (mut flow, leases) = flow_of(&[], true);
    assert!(!flow.all_ended(), "nothing is assigned yet");
    assert!(leases.is_empty());
    let (mut patient, _) = flow_of(&[0], false);
    patient.end(partition(0));
    assert!(!patient.all_ended(), "nobody asked for the end");
    for number in [0, 1] {
        flow.assign(&begins(&Lease::grant(partition(number)), 0));
    }
    flow.end(partition(0));
    assert!(!flow.all_ended(), "the other has not ended");
    flow.add_aside(&partition(0), vec![row()], at(0));
    assert!(due(&mut flow, 0).is_none());
    flow.end(partition(1));
    assert!(flow.all_ended() && due(&mut flow, 0).is_some(), "the end does not wait for the interval");
    flow.assign(&begins(&Lease::grant(partition(1)), 0));
    assert!(!flow.all_ended(), "an end belongs to one assignment");
    flow.end(partition(1));
    assert!(flow.all_ended());
    flow.reset::<(), ()>(&[partition(1)]);
    assert!(!flow.all_ended(), "what begins again has to end again");
    flow.drop_all(&[partition(1)]);
    assert!(flow.all_ended(), "what is gone does not count");
}

#[test]
fn what_leaves_is_read_no_more_and_settled_when_its_rows_are_committed() {
    let (mut flow, leases) = flow_of(&[0, 1], false);
    finish(&mut flow, &leases[0], 0, 1, 0);
    assert!(settled(&mut flow).is_empty(), "nothing leaves");
    flow.revoke(vec![partition(0)]);
    assert!(flow.revoked().contains(&partition(0)) && flow.intake.lease(&partition(0)).is_none());
    assert!(flow.intake.lease(&partition(1)).is_some());
    assert!(settled(&mut flow).is_empty(), "a row is open");
    assert!(due(&mut flow, 0).is_some(), "what leaves does not wait for the interval");
    assert!(settled(&mut flow).is_empty(), "it is being committed");
    committed(&mut flow, 0);
    assert!(flow.settle::<(), ()>(|at| *at == partition(0)).is_none(), "the stage is busy with it");
    assert_eq!(settled(&mut flow), [partition(0)]);
    assert!(flow.revoked().is_empty() && settled(&mut flow).is_empty(), "said once");
    // The other one, with nothing open, keeps its time.
    finish(&mut flow, &leases[1], 0, 1, 0);
    flow.revoke(vec![partition(2)]);
    assert!(due(&mut flow, 0).is_none(), "nothing of what leaves is open");
}

#[test]
fn what_is_gone_is_forgotten() {
    let (mut flow, leases) = flow_of(&[0], true);
    finish(&mut flow, &leases[0], 0, 1, 0);
    flow.end(partition(0));
    flow.revoke(vec![partition(0)]);
    flow.drop_all(&[partition(0)]);
    assert!(flow.ledger.is_empty() && flow.revoked().is_empty() && !flow.all_ended());
    assert!(flow.reset::<(), ()>(&[partition(1)]).len() == 2, "who was never revoked begins again");
    let lease = Lease::grant(partition(0));
    flow.assign(&begins(&lease, 0));
    assert!(!flow.all_ended());
    flow.drop_all(&[partition(0)]);
    assert!(flow.intake.lease(&partition(0)).is_none());
    flow.reset::<(), ()>(&[partition(0)]);
    assert!(lease.is_live(), "its lease is whose it was, not ours");
}

#[test]
fn who_is_fenced_begins_again_unless_it_is_leaving() {
    let (mut flow, leases) = flow_of(&[0, 1], false);
    finish(&mut flow, &leases[0], 0, 1, 0);
    finish(&mut flow, &leases[1], 0, 1, 0);
    flow.revoke(vec![partition(1)]);
    assert!(due(&mut flow, 100).is_some());
    let effects: Vec<Said> = flow.committed(Outcome::Fenced(vec![partition(0), partition(1)]), at(100));
    let [Effect::Source(Command::Reset(one)), Effect::WasReset(other)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((&one[..], other), (&[partition(0)][..], &partition(0)));
    assert!(leases.iter().all(|lease| !lease.is_live()), "what was read under them is nobody's");
    assert!(flow.ledger.rows(&partition(0)).is_empty());
    assert_eq!(settled(&mut flow), [partition(1)]);
}

#[test]
fn a_source_is_asked_to_wait_once_and_to_go_on_when_there_is_room() {
    let (mut flow, _) = flow_of(&[0], false);
    let asked = |effect: Option<Said>| match effect {
        None => "nothing",
        Some(Effect::Source(Command::Pause)) => "wait",
        Some(Effect::Source(Command::Resume)) => "go on",
        Some(other) => panic!("{other:?}"),
    };
    // Full, room, and what is said.
    for (full, room, said) in [
        (false, true, "nothing"),
        (false, false, "nothing"),
        (true, false, "wait"),
        (true, false, "nothing"),
        (true, true, "nothing"),
        (false, false, "nothing"),
        (false, true, "go on"),
        (false, true, "nothing"),
        (true, true, "wait"),
    ] {
        assert_eq!(asked(flow.throttle(full, room)), said, "full: {full}, room: {room}");
    }
}

#[test]
fn a_partition_is_ours_from_its_assignment_until_it_is_settled_or_lost() {
    let (mut flow, _) = flow_of(&[0, 1], false);
    assert!(flow.is_assigned(&partition(0)) && flow.is_assigned(&partition(1)) && !flow.is_assigned(&partition(2)));
    flow.reset::<(), ()>(&[partition(0)]);
    flow.revoke(vec![partition(0)]);
    assert!(flow.is_assigned(&partition(0)), "it is on its way out, and still here");
    assert_eq!(settled(&mut flow), [partition(0)]);
    flow.drop_all(&[partition(1)]);
    assert!(!flow.is_assigned(&partition(0)) && !flow.is_assigned(&partition(1)));
    assert!(flow.held().is_empty());
}
