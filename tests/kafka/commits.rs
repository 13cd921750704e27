//! Exactly once, at least once, and who is kept out.

use super::*;
use bellwether::kafka::{KafkaTransaction, Producer, Reach};
use bellwether::stream::{Delivery, Epoch, Fault, Intake, Ledger, Outcome, Patience, Row, Transaction};

fn exactly_once(corner: &Corner, reader: &Reader, instance: &str) -> KafkaTransaction {
    let id = format!("{}.{instance}", corner.prefix);
    Producer::exactly_once(&corner.settings, &id, reader.source().membership(), &Reach::default(), corner.clock.clone())
        .unwrap()
}

/// Reads `count` records and closes them as an epoch that copies them to `out`.
fn copy(reader: &Reader, out: &Arc<str>, count: usize) -> Epoch<Row<()>> {
    let Assignment { lease, committed, .. } = reader.assigned();
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(lease.clone(), committed);
    ledger.assign(lease, committed);
    let mut read = 0;
    while read < count {
        let (lease, records) = reader.records(1);
        read += records.len();
        let live = intake.take(&lease, records).unwrap().live;
        ledger.add(live.map(|record| Corner::row(out, record.value.unwrap()))).unwrap();
    }
    ledger.close().unwrap()
}

#[test]
fn outputs_and_offsets_are_committed_together() {
    let corner = Corner::new("together");
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    corner.write(&input, numbered(0..20));
    let reader = corner.read(&[&input]);
    let mut epoch = copy(&reader, &out, 20);
    let mut port = exactly_once(&corner, &reader, "a");
    // Neither, where it is given up at the last moment.
    port.begin().unwrap();
    port.produce(&Corner::output(&out, "given up")).unwrap();
    port.read_metadata().unwrap();
    port.send_offsets(&[(Partition::new(&input, 0), Position::at(20))]).unwrap();
    port.abort().unwrap();
    assert_eq!(corner.contents(&out), Vec::<String>::new());
    assert_eq!(reader.source().lags()[0].records, 20);
    let began = Instant::now();
    let outcome = epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), corner.clock.as_ref());
    println!("one epoch took {:?}", began.elapsed());
    assert_eq!(outcome, Outcome::Committed(vec![(Partition::new(&input, 0), Position::at(20))]));
    wait_until("the lag is 0", || reader.source().lags()[0].records == 0);
    reader.stop();
    assert_eq!(corner.contents(&out), numbered(0..20).collect::<Vec<_>>());
    let next = corner.read(&[&input]);
    assert_eq!(next.assigned().committed, Position::at(20));
    next.stop();
}

#[test]
fn an_aborted_epoch_leaves_nothing_and_can_be_tried_again() {
    let corner = Corner::new("again");
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    corner.write(&input, numbered(0..3));
    let reader = corner.read(&[&input]);
    let mut epoch = copy(&reader, &out, 3);
    let mut port = exactly_once(&corner, &reader, "a");
    port.begin().unwrap();
    port.produce(&Corner::output(&out, "half")).unwrap();
    port.abort().unwrap();
    // Nothing is produced for a partition that is not there; the client says so at the commit.
    port.begin().unwrap();
    let nowhere = Output { partition: 9, ..Corner::output(&out, "nowhere") };
    let refused = port.produce(&nowhere).and_then(|()| port.commit());
    assert!(refused.is_err(), "a record for no partition was taken");
    port.abort().unwrap();
    let outcome = epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), corner.clock.as_ref());
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    reader.stop();
    assert_eq!(corner.contents(&out), numbered(0..3).collect::<Vec<_>>());
}

#[test]
fn at_least_once_commits_after_every_report_was_good() {
    let corner = Corner::new("least");
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    corner.write(&input, numbered(0..5));
    let reader = corner.read(&[&input]);
    let mut epoch = copy(&reader, &out, 5);
    let membership = reader.source().membership();
    let mut port = Producer::at_least_once(&corner.settings, &corner.prefix, membership, corner.clock.clone()).unwrap();
    let outcome = epoch.commit(&mut port, Delivery::AtLeastOnce, Patience::default(), corner.clock.as_ref());
    assert_eq!(outcome, Outcome::Committed(vec![(Partition::new(&input, 0), Position::at(5))]));
    // A bad report is never covered by a flush that returns.
    let nowhere = Output { partition: 9, ..Corner::output(&out, "nowhere") };
    let bad = port.produce(&nowhere).and_then(|()| port.flush());
    assert!(bad.is_err(), "a record for no partition was taken");
    port.flush().unwrap();
    reader.stop();
    assert_eq!(corner.contents(&out), numbered(0..5).collect::<Vec<_>>());
}

#[test]
fn the_largest_record_passes_and_a_larger_one_is_refused() {
    let corner = Corner::new("large");
    let input = corner.topic("in", 1, Upkeep::Retained);
    let out = corner.topic("out", 1, Upkeep::Retained);
    let largest = corner.settings.record_bytes_max;
    // Noise: text that compresses well would pass anything.
    let mut state = 7_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b'!' + u8::try_from((state >> 33) % 90).unwrap()
        };
        (0..length).map(|_| next()).collect()
    };
    corner.write(&input, [String::from_utf8(noise(largest)).unwrap()]);
    let reader = corner.read(&[&input]);
    let mut epoch = copy(&reader, &out, 1);
    let mut port = exactly_once(&corner, &reader, "a");
    let outcome = epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), corner.clock.as_ref());
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    port.begin().unwrap();
    port.produce(&Corner::output(&out, noise(largest + 60_000))).unwrap();
    port.commit().unwrap();
    port.begin().unwrap();
    let refused = port.produce(&Corner::output(&out, noise(largest + 70_000)));
    assert!(matches!(refused, Err(Fault::Fatal(_))), "{refused:?}");
    port.abort().unwrap();
    reader.stop();
    let sizes: Vec<usize> = corner.contents(&out).iter().map(String::len).collect();
    assert_eq!(sizes, [largest, largest + 60_000]);
}

#[test]
fn who_holds_nothing_commits_nothing() {
    let corner = Corner::new("nobody");
    let input = corner.topic("in", 1, Upkeep::Input);
    let first = corner.read(&[&input]);
    first.assigned();
    // The second member of a group of one partition gets none.
    let second = corner.read(&[&input]);
    let mut port = exactly_once(&corner, &second, "b");
    port.begin().unwrap();
    assert!(matches!(port.read_metadata(), Err(Fault::FencedMember(_))));
    assert!(matches!(port.send_offsets(&[]), Err(Fault::Abortable(_))));
    port.abort().unwrap();
    let at = Partition::new(&input, 0);
    assert!(matches!(port.commit_offsets(&[(at, Position::at(0))]), Err(Fault::FencedMember(_))));
    second.stop();
    first.stop();
}

#[test]
fn a_transaction_that_the_broker_gave_up_is_begun_anew_from_what_is_committed() {
    let mut corner = Corner::new("lapsed");
    corner.settings.transaction_timeout = Duration::from_secs(2);
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    corner.write(&input, numbered(0..3));
    let reader = corner.read(&[&input]);
    let mut epoch = copy(&reader, &out, 3);
    let mut port = exactly_once(&corner, &reader, "a");
    let mut marks = 0;
    for call in [KafkaTransaction::commit, KafkaTransaction::abort] {
        port.begin().unwrap();
        port.produce(&Corner::output(&out, "late")).unwrap();
        // The record and the mark of its end, which the broker writes by itself.
        marks += 2;
        wait_until("the broker gives the transaction up", || corner.end(&out) == marks);
        assert!(matches!(call(&mut port), Err(Fault::FencedMember(_))));
        port.abort().unwrap();
    }
    let outcome = epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), corner.clock.as_ref());
    assert_eq!(outcome, Outcome::Committed(vec![(Partition::new(&input, 0), Position::at(3))]));
    reader.stop();
    assert_eq!(corner.contents(&out), numbered(0..3).collect::<Vec<_>>());
}

#[test]
fn of_two_with_one_id_the_younger_is_fenced_by_an_older_one_whose_transaction_the_broker_gave_up() {
    let mut corner = Corner::new("overslept");
    corner.settings.transaction_timeout = Duration::from_secs(3);
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    let reader = corner.read(&[&input]);
    reader.assigned();
    let mut old = exactly_once(&corner, &reader, "a");
    old.begin().unwrap();
    old.produce(&Corner::output(&out, "asleep")).unwrap();
    wait_until("the broker gives the transaction up", || corner.end(&out) == 2);
    let mut new = exactly_once(&corner, &reader, "a");
    let tell = |port: &mut KafkaTransaction, what: &str| {
        port.begin()?;
        port.produce(&Corner::output(&out, what.to_owned()))?;
        port.commit()
    };
    tell(&mut new, "younger").unwrap();
    // It wakes, takes what the younger one did for what the broker does, and begins anew.
    let fault = old.commit().unwrap_err();
    assert!(matches!(fault, Fault::FencedMember(_)), "{fault:?}");
    old.abort().unwrap();
    let fault = tell(&mut new, "fenced").unwrap_err();
    assert!(matches!(fault, Fault::Fatal(_)), "{fault:?}");
    tell(&mut old, "older").unwrap();
    reader.stop();
    assert_eq!(corner.contents(&out), ["younger", "older"]);
}

#[test]
fn a_second_producer_with_the_same_id_fences_the_first() {
    let corner = Corner::new("twins");
    let input = corner.topic("in", 1, Upkeep::Input);
    let out = corner.topic("out", 1, Upkeep::Retained);
    let reader = corner.read(&[&input]);
    reader.assigned();
    let mut old = exactly_once(&corner, &reader, "a");
    old.begin().unwrap();
    old.produce(&Corner::output(&out, "zombie")).unwrap();
    let mut new = exactly_once(&corner, &reader, "a");
    let fault = old.commit().unwrap_err();
    assert!(matches!(fault, Fault::Fatal(_)), "{fault:?}");
    new.begin().unwrap();
    new.produce(&Corner::output(&out, "alive")).unwrap();
    new.commit().unwrap();
    reader.stop();
    assert_eq!(corner.contents(&out), ["alive"]);
}
