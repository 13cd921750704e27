//! Every outcome of a commit, by script, and what a reader sees afterwards.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;

use crate::memory::{Call, Log, Script, Scripted, Source, Transactions};
use crate::stream::{
    Command, Delivery, Epoch, Fault, Feed, Headers, Intake, Lease, Ledger, Outcome, Output, Partition, Patience,
    Position, Row, Transaction, Undecided, commit_alone,
};
use crate::time::{Clock, ManualClock, Timestamp};

struct World {
    log: Log,
    clock: Arc<ManualClock>,
    script: Script,
    group: Arc<str>,
    port: Transactions,
    lease: Lease,
    ledger: Ledger<Row<()>>,
    intake: Intake,
}

fn topic(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn output(topic_name: &str, text: &str) -> Output {
    Output {
        topic: topic(topic_name),
        partition: 0,
        key: None,
        value: Some(Bytes::copy_from_slice(text.as_bytes())),
        headers: Headers::new(),
    }
}

/// Three posts on the log, taken in, each with one output.
fn world() -> World {
    let log = Log::new();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
    log.create(&topic("posts"), 1);
    log.create(&topic("scored"), 1);
    for text in ["a", "b", "c"] {
        log.append(&output("posts", text), clock.now()).unwrap();
    }
    let (script, group) = (Script::default(), topic("score"));
    log.next_generation(&group);
    let port = Transactions::new(log.clone(), group.clone(), "test.score", clock.clone(), script.clone());
    let mut source = Source::new(log.clone(), group.clone(), None);
    source.assign_topic(&topic("posts"));
    let Some(Feed::Assigned(assignment)) = source.poll(10) else { panic!("no assignment") };
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(assignment.lease.clone(), assignment.committed);
    ledger.assign(assignment.lease.clone(), assignment.committed);
    let Some(Feed::Records { lease, records }) = source.poll(10) else { panic!("no records") };
    let taken = intake.take(&lease, records).unwrap();
    let rows = taken.live.map(|record| {
        let text = String::from_utf8_lossy(&record.value.unwrap()).into_owned();
        Row { outputs: vec![output("scored", &text)], note: () }
    });
    ledger.add(rows).unwrap();
    World { log, clock, script, group, port, lease, ledger, intake }
}

impl World {
    fn fail(&self, call: Call, fault: Fault, done: bool) {
        self.script.push(Scripted { call, fault, done });
    }

    fn commit(&mut self, epoch: &mut Epoch<Row<()>>, delivery: Delivery) -> Outcome {
        epoch.commit(&mut self.port, delivery, Patience::default(), &*self.clock)
    }

    fn scored(&self) -> Vec<String> {
        let partition = Partition::new(&topic("scored"), 0);
        let records = self.log.read(&partition, Position::at(0), 100);
        records.iter().map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap()).into_owned()).collect()
    }

    fn committed(&self) -> i64 {
        self.log.committed(&self.group, &Partition::new(&topic("posts"), 0)).offset()
    }
}

fn retriable() -> Fault {
    Fault::Retriable("again".to_owned())
}

fn abortable() -> Fault {
    Fault::Abortable("abort".to_owned())
}

const BOTH: [Delivery; 2] = [Delivery::ExactlyOnce, Delivery::AtLeastOnce];

#[test]
fn a_commit_writes_outputs_and_position_together() {
    for delivery in BOTH {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        assert!(matches!(world.commit(&mut epoch, delivery), Outcome::Committed(_)));
        assert_eq!(world.scored(), ["a", "b", "c"]);
        assert_eq!(world.committed(), 3);
    }
}

#[test]
fn a_retriable_fault_repeats_the_call_and_writes_once() {
    for call in [Call::Begin, Call::Produce, Call::ReadMetadata, Call::SendOffsets, Call::Commit] {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        world.fail(call, retriable(), false);
        world.fail(call, retriable(), false);
        assert!(matches!(world.commit(&mut epoch, Delivery::ExactlyOnce), Outcome::Committed(_)), "{call:?}");
        assert_eq!((world.scored().len(), world.committed(), world.script.left()), (3, 3, 0), "{call:?}");
    }
}

#[test]
fn a_call_that_timed_out_and_was_done_is_resumed_by_the_same_call() {
    for (call, times) in [(Call::SendOffsets, 1), (Call::Commit, 1), (Call::Commit, 3), (Call::Abort, 1)] {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        if call == Call::Abort {
            world.fail(Call::SendOffsets, abortable(), false);
        }
        (0..times).for_each(|_| world.fail(call, retriable(), true));
        assert!(matches!(world.commit(&mut epoch, Delivery::ExactlyOnce), Outcome::Committed(_)), "{call:?}");
        assert_eq!((world.scored().len(), world.committed(), world.script.left()), (3, 3, 0), "{call:?}");
    }
}

#[test]
fn who_asks_for_something_else_before_a_call_was_answered_is_refused() {
    let mut world = world();
    world.fail(Call::Commit, retriable(), true);
    world.port.begin().unwrap();
    world.port.produce(&output("scored", "x")).unwrap();
    assert_eq!(world.port.commit(), Err(retriable()));
    assert_eq!(world.scored(), ["x"], "it happened");
    assert!(matches!(world.port.abort(), Err(Fault::Fatal(_))));
    assert!(matches!(world.port.begin(), Err(Fault::Fatal(_))));
    assert_eq!(world.port.commit(), Ok(()));
    assert_eq!(world.port.begin(), Ok(()));
}

#[test]
fn an_abortable_fault_tries_the_same_epoch_again() {
    for call in [Call::Produce, Call::SendOffsets, Call::Commit] {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        world.fail(call, abortable(), false);
        assert!(matches!(world.commit(&mut epoch, Delivery::ExactlyOnce), Outcome::Committed(_)), "{call:?}");
        assert_eq!((world.scored().len(), world.committed()), (3, 3), "{call:?}");
    }
}

#[test]
fn a_fenced_member_commits_nothing_and_names_what_to_reset() {
    for delivery in BOTH {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        world.port.put_out();
        let fenced = vec![Partition::new(&topic("posts"), 0)];
        assert_eq!(world.commit(&mut epoch, delivery), Outcome::Fenced(fenced));
        assert_eq!(world.committed(), 0);
        if delivery == Delivery::ExactlyOnce {
            assert!(world.scored().is_empty());
        }
    }
}

#[test]
fn a_member_that_is_behind_its_group_may_ask_again_once_it_has_joined() {
    let (mut world, positions) = (world(), [(Partition::new(&topic("posts"), 0), Position::at(3))]);
    world.log.next_generation(&world.group);
    let behind = || "illegal generation".to_owned();
    assert_eq!(world.port.commit_offsets(&positions), Err(Fault::Retriable(behind())));
    let attempt = |port: &mut Transactions| {
        port.begin().unwrap();
        port.read_metadata().unwrap();
        port.send_offsets(&positions)
    };
    assert_eq!(attempt(&mut world.port), Err(Fault::Abortable(behind())));
    assert!(world.port.is_behind());
    world.port.abort().unwrap();
    world.port.rejoin();
    assert!(!world.port.is_behind());
    attempt(&mut world.port).unwrap();
    world.port.commit().unwrap();
    assert_eq!(world.committed(), 3);
}

#[test]
fn a_member_that_stays_behind_gives_up_at_its_deadline_with_nothing_written() {
    for delivery in BOTH {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        world.log.next_generation(&world.group);
        let outcome = world.commit(&mut epoch, delivery);
        assert!(matches!(&outcome, Outcome::Halt(why) if why.contains("illegal generation")), "{outcome:?}");
        assert_eq!(world.committed(), 0);
    }
}

#[test]
fn what_a_member_read_before_it_was_put_out_is_fenced_though_it_joined_again() {
    let mut world = world();
    world.port.begin().unwrap();
    world.port.read_metadata().unwrap();
    world.port.put_out();
    world.port.rejoin();
    let fenced = Err(Fault::FencedMember("unknown member".to_owned()));
    assert_eq!(world.port.commit_offsets(&[]), fenced);
    world.port.join();
    assert_eq!(world.port.send_offsets(&[]), fenced);
}

#[test]
fn an_unknown_outcome_halts_whether_it_happened_or_not() {
    for done in [true, false] {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        world.fail(Call::Commit, Fault::Unknown("no answer".to_owned()), done);
        world.fail(Call::Abort, Fault::Fatal("an abort must not be tried".to_owned()), false);
        assert_eq!(world.commit(&mut epoch, Delivery::ExactlyOnce), Outcome::Halt("no answer".to_owned()));
        assert_eq!(world.script.left(), 1, "no abort after an unknown outcome");
        // The log says which it was, to whoever starts next: all or nothing.
        let expected = if done { (3, 3) } else { (0, 0) };
        assert_eq!((world.scored().len(), world.committed()), expected);
    }
}

#[test]
fn a_transaction_that_was_ended_without_us_is_reset_and_never_tried_again_from_memory() {
    let mut world = world();
    let mut epoch = world.ledger.close().unwrap();
    world.fail(Call::Produce, abortable(), false);
    world.fail(Call::Abort, Fault::FencedMember("the broker gave it up".to_owned()), false);
    let fenced = vec![Partition::new(&topic("posts"), 0)];
    assert_eq!(world.commit(&mut epoch, Delivery::ExactlyOnce), Outcome::Fenced(fenced));
    assert_eq!((world.scored().len(), world.committed(), world.script.left()), (0, 0, 0));
    // It was made ready for the next transaction.
    world.port.begin().unwrap();
}

#[test]
fn whatever_is_heard_to_be_undone_while_an_epoch_is_given_up_is_reset_with_it() {
    let mut world = world();
    let mut epoch = world.ledger.close().unwrap();
    let undone = |number| {
        let partitions = vec![Partition::new(&topic("posts"), number)];
        Fault::Undone { partitions, why: "no marker came".to_owned() }
    };
    world.fail(Call::Produce, abortable(), false);
    world.fail(Call::Abort, undone(1), false);
    world.fail(Call::Abort, undone(2), false);
    let all = (0..3).map(|number| Partition::new(&topic("posts"), number)).collect();
    assert_eq!(world.commit(&mut epoch, Delivery::ExactlyOnce), Outcome::Fenced(all));
    assert_eq!((world.committed(), world.script.left()), (0, 0));
}

#[test]
fn a_fatal_fault_halts() {
    let mut world = world();
    let mut epoch = world.ledger.close().unwrap();
    world.fail(Call::SendOffsets, Fault::Fatal("producer fenced".to_owned()), false);
    assert_eq!(world.commit(&mut epoch, Delivery::ExactlyOnce), Outcome::Halt("producer fenced".to_owned()));
}

#[test]
fn patience_is_bounded() {
    for fault in [retriable, abortable] {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        for _ in 0..100 {
            world.fail(Call::Commit, fault(), false);
        }
        let outcome = world.commit(&mut epoch, Delivery::ExactlyOnce);
        let is_over = matches!(&outcome, Outcome::Halt(why) if why.starts_with("the commit deadline passed"));
        assert!(is_over, "{outcome:?} after {:?}", fault());
        assert_eq!(world.committed(), 0);
    }
}

#[test]
fn a_dead_lease_takes_its_part_out() {
    for delivery in BOTH {
        let mut world = world();
        let mut epoch = world.ledger.close().unwrap();
        world.lease.turn_off();
        assert_eq!(world.commit(&mut epoch, delivery), Outcome::Committed(Vec::new()));
        assert_eq!((world.scored().len(), world.committed()), (0, 0));
    }
}

#[test]
fn a_bad_delivery_report_commits_no_offset_until_all_are_good() {
    let mut world = world();
    let mut epoch = world.ledger.close().unwrap();
    world.fail(Call::Flush, abortable(), true);
    assert!(matches!(world.commit(&mut epoch, Delivery::AtLeastOnce), Outcome::Committed(_)));
    assert_eq!(world.committed(), 3);
    assert_eq!(world.scored().len(), 6, "at least once: written again, never lost");
}

#[test]
fn markers_own_offsets_and_readers_skip_them() {
    let mut world = world();
    let mut epoch = world.ledger.close().unwrap();
    world.commit(&mut epoch, Delivery::ExactlyOnce);
    let partition = Partition::new(&topic("scored"), 0);
    assert_eq!(world.log.end(&partition), Position::at(4), "three records and a marker");
    assert_eq!(world.log.read(&partition, Position::at(0), 10).len(), 3);
}

#[test]
fn a_reset_reads_again_from_the_committed_position_under_a_new_lease() {
    let world = world();
    let mut source = Source::new(world.log.clone(), world.group.clone(), None);
    let partition = Partition::new(&topic("posts"), 0);
    source.assign(partition.clone());
    assert!(matches!(source.poll(2), Some(Feed::Assigned(_))));
    let Some(Feed::Records { lease: old, records }) = source.poll(2) else { panic!("records") };
    assert_eq!(records.len(), 2);
    source.command(Command::Reset(vec![partition.clone()]));
    assert!(!old.is_live());
    let Some(Feed::Assigned(again)) = source.poll(2) else { panic!("assigned again") };
    assert_eq!(again.committed, Position::at(0));
    let Some(Feed::Records { lease, records }) = source.poll(9) else { panic!("records again") };
    assert!(lease.is_live() && lease != old && records.len() == 3);
    source.lose(&partition);
    assert!(!lease.is_live());
    assert!(world.intake.lease(&partition).is_some());
}

impl World {
    fn commit_alone(&mut self) -> Result<(), Undecided> {
        let outputs = ["x", "y"].map(|text| output("scored", text));
        commit_alone(&mut self.port, &outputs, Patience::default(), &*self.clock)
    }
}

#[test]
fn outputs_alone_are_written_together_and_once_over_faults_that_pass() {
    for (call, fault) in [
        (Call::Begin, retriable()),
        (Call::Produce, retriable()),
        (Call::Produce, abortable()),
        (Call::Commit, retriable()),
        (Call::Commit, abortable()),
    ] {
        let mut world = world();
        world.fail(call, fault.clone(), false);
        assert_eq!(world.commit_alone(), Ok(()), "{call:?} {fault:?}");
        assert_eq!((world.scored(), world.committed()), (vec!["x".to_owned(), "y".to_owned()], 0), "{call:?}");
        assert_eq!(world.commit_alone(), Ok(()), "the writer can go on");
    }
}

#[test]
fn outputs_alone_are_given_up_where_nobody_knows_or_nothing_helps() {
    for done in [true, false] {
        let mut world = world();
        world.fail(Call::Commit, Fault::Unknown("no answer".to_owned()), done);
        world.fail(Call::Abort, Fault::Fatal("an abort must not be tried".to_owned()), false);
        assert_eq!(world.commit_alone(), Err(Undecided("no answer".to_owned())));
        assert_eq!(world.script.left(), 1, "no abort after an unknown outcome");
        assert_eq!(world.scored().len(), if done { 2 } else { 0 });
    }
    let mut hopeless = world();
    for _ in 0..100 {
        hopeless.fail(Call::Commit, abortable(), false);
    }
    assert_eq!(hopeless.commit_alone(), Err(Undecided("gave up; last: abort".to_owned())));
    assert!((50..70).contains(&hopeless.script.left()), "a minute of attempts: {} are left", hopeless.script.left());
    let mut stuck = world();
    stuck.fail(Call::Produce, abortable(), false);
    stuck.fail(Call::Abort, Fault::Fatal("gone".to_owned()), false);
    assert_eq!(stuck.commit_alone(), Err(Undecided("the transaction could not be aborted: gone".to_owned())));
}

#[test]
fn a_tail_begins_before_the_committed_position() {
    let world = world();
    world.log.commit_offsets(&world.group, &[(Partition::new(&topic("posts"), 0), Position::at(2))]);
    for (count, expected) in [(0, &[][..]), (1, &[1]), (5, &[0, 1])] {
        let mut source = Source::new(world.log.clone(), world.group.clone(), None).with_tail(count);
        source.assign_topic(&topic("posts"));
        let Some(Feed::Assigned(assignment)) = source.poll(10) else { panic!("no assignment") };
        let Some(Feed::Records { lease, records }) = source.poll(10) else { panic!("no records") };
        let mut intake = Intake::default();
        intake.assign(lease.clone(), assignment.committed);
        let replay = intake.take(&lease, records).unwrap().replay;
        let offsets: Vec<i64> = replay.iter().map(|record| record.offset).collect();
        assert_eq!((assignment.committed.offset(), offsets.as_slice()), (2, expected));
    }
}
