//! Partitions that move from one member of a group to another.

use super::*;
use bellwether::kafka::{Producer, Reach};
use bellwether::stream::{Delivery, Fault, Intake, Ledger, Outcome, Patience, Transaction};

#[test]
fn a_revoke_waits_until_it_is_settled_and_fences_what_comes_later() {
    let corner = Corner::new("revoke");
    let input = corner.topic("in", 2, Upkeep::Input);
    let first = corner.read(&[&input]);
    let leases = [first.assigned().lease, first.assigned().lease];
    let id = format!("{}.zombie", corner.prefix);
    let membership = first.source().membership();
    let mut zombie =
        Producer::exactly_once(&corner.settings, &id, membership.clone(), &Reach::default(), corner.clock.clone())
            .unwrap();
    let id = format!("{}.settling", corner.prefix);
    let mut settling =
        Producer::exactly_once(&corner.settings, &id, membership, &Reach::default(), corner.clock.clone()).unwrap();
    zombie.begin().unwrap();
    zombie.read_metadata().unwrap();
    let mut settle = |at: &Partition| {
        settling.begin().unwrap();
        settling.read_metadata().unwrap();
        settling.send_offsets(&[(at.clone(), Position::at(0))]).unwrap();
        settling.commit().unwrap();
    };
    settle(leases[0].partition());

    let second = corner.read(&[&input]);
    let (moved, settled) = loop {
        if let Feed::Revoked { partitions, settled } = first.next() {
            break (partitions, settled);
        }
    };
    assert_eq!(moved.len(), 1);
    let lease = leases.iter().find(|lease| *lease.partition() == moved[0]).unwrap();
    assert!(lease.is_live(), "what is begun may still be committed");
    assert!(second.feeds.recv_timeout(Duration::from_secs(1)).is_err(), "it was given on before it was settled");
    // Metadata that is read now is good; that of before the rebalance is not.
    settle(&moved[0]);
    settled.send(()).unwrap();
    let taken = second.assigned();
    assert_eq!(*taken.lease.partition(), moved[0]);
    assert!(!lease.is_live() && taken.lease.is_live());
    let fault = zombie.send_offsets(&[(moved[0].clone(), Position::at(0))]).unwrap_err();
    // The member is still in the group: it may try again, and finds the lease off.
    assert!(matches!(fault, Fault::Abortable(_)), "{fault:?}");
    zombie.abort().unwrap();
    assert_eq!(first.source().rebalances().revoked, 1);
    // One that has left is out, whatever it remembers.
    zombie.begin().unwrap();
    zombie.read_metadata().unwrap();
    first.stop();
    // A broker that is busy may take its time to let it go.
    let again = || zombie.send_offsets(&[(moved[0].clone(), Position::at(0))]).err();
    let fault = std::iter::repeat_with(again).take(100).find_map(|fault| {
        std::thread::sleep(Duration::from_millis(100));
        fault
    });
    assert!(matches!(fault, Some(Fault::FencedMember(_))), "{fault:?}");
    zombie.abort().unwrap();
    second.stop();
}

#[test]
fn a_stage_that_never_settles_holds_a_partition_no_longer_than_the_drain_timeout() {
    let mut corner = Corner::new("unsettled");
    corner.settings.drain_timeout = Duration::from_secs(1);
    let input = corner.topic("in", 2, Upkeep::Input);
    let first = corner.read(&[&input]);
    let leases = [first.assigned().lease, first.assigned().lease];
    let second = corner.read(&[&input]);
    let (moved, unsettled) = loop {
        if let Feed::Revoked { partitions, settled } = first.next() {
            break (partitions, settled);
        }
    };
    let taken = second.assigned();
    assert_eq!(*taken.lease.partition(), moved[0]);
    let lease = leases.iter().find(|lease| *lease.partition() == moved[0]).unwrap();
    assert!(!lease.is_live() && taken.lease.is_live(), "what comes after the timeout is refused");
    drop(unsettled);
    first.stop();
    second.stop();
}

#[test]
fn a_partition_that_went_while_reading_was_paused_is_read_when_it_comes_back() {
    let corner = Corner::new("paused-away");
    let input = corner.topic("in", 2, Upkeep::Retained);
    let first = corner.read(&[&input]);
    let leases = [first.assigned().lease, first.assigned().lease];
    first.source().command(bellwether::stream::Command::Pause);
    std::thread::sleep(Duration::from_millis(500));
    let second = corner.read(&[&input]);
    let moved = loop {
        if let Feed::Revoked { partitions, settled } = first.next() {
            settled.send(()).unwrap();
            break partitions[0].clone();
        }
    };
    assert_eq!(second.assigned().lease.partition(), &moved);
    // It goes on while that partition is elsewhere.
    first.source().command(bellwether::stream::Command::Resume);
    let kept = leases.iter().find(|lease| *lease.partition() != moved).unwrap().partition();
    corner.transaction(&input, kept.number, &["kept"]);
    assert_eq!(first.records(1).1[0].partition, *kept);
    second.stop();
    assert_eq!(first.assigned().lease.partition(), &moved);
    corner.transaction(&input, moved.number, &["back"]);
    assert_eq!(value(&first.records(1).1[0]), "back");
    first.stop();
}

/// A stage that copies its input exactly once, until it is told to stop.
fn copier(
    corner: &Corner,
    input: &Arc<str>,
    out: &Arc<str>,
    instance: &str,
) -> (Arc<SourceHandle>, std::thread::JoinHandle<()>) {
    let (sender, feeds) = bounded(4);
    let source = Arc::new(Source::start(corner.config(&[input]), move |feed| sender.send(feed).is_ok()).unwrap());
    let id = format!("{}.{instance}", corner.prefix);
    let mut port =
        Producer::exactly_once(&corner.settings, &id, source.membership(), &Reach::default(), corner.clock.clone())
            .unwrap();
    let (handle, out, clock) = (source.clone(), out.clone(), corner.clock.clone());
    let thread = std::thread::spawn(move || {
        let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
        while let Ok(feed) = feeds.recv() {
            let mut settle = None;
            match feed {
                Feed::Assigned(Assignment { lease, committed, .. }) => {
                    intake.assign(lease.clone(), committed);
                    ledger.assign(lease, committed);
                }
                Feed::Records { lease, records } => {
                    let live = intake.take(&lease, records).unwrap().live;
                    ledger.add(live.map(|record| Corner::row(&out, record.value.unwrap()))).unwrap();
                }
                Feed::Revoked { partitions, settled } => settle = Some((partitions, settled)),
                Feed::Lost { partitions } => {
                    for at in &partitions {
                        intake.release(at);
                        ledger.release(at);
                    }
                }
                Feed::Failed(why) => panic!("{why}"),
                Feed::End { .. } | Feed::Trouble(_) => {}
            }
            if let Some(mut epoch) = ledger.close() {
                match epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), clock.as_ref()) {
                    Outcome::Committed(_) => {}
                    Outcome::Fenced(partitions) => {
                        println!("fenced: {partitions:?}");
                        // What is still read under the old lease must not be committed behind the gap.
                        for at in partitions {
                            intake.release(&at);
                            ledger.release(&at);
                            handle.command(Command::Reset(vec![at]));
                        }
                    }
                    Outcome::Halt(why) => panic!("{why}"),
                }
            }
            if let Some((partitions, settled)) = settle {
                for at in &partitions {
                    intake.release(at);
                    ledger.release(at);
                }
                let _ = settled.send(());
            }
        }
    });
    (source, thread)
}

/// What the group has committed, all partitions together.
fn committed(corner: &Corner, topic: &Arc<str>, partitions: i32) -> i64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &corner.settings.bootstrap_servers).set("group.id", corner.group());
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let found = consumer.committed_offsets(list, SOON).unwrap();
    found.elements().iter().filter_map(|it| it.offset().to_raw()).filter(|offset| *offset > 0).sum()
}

#[test]
fn members_that_come_and_go_copy_everything_exactly_once() {
    let corner = Corner::new("copy");
    let (input, out) = (corner.topic("in", 4, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    let total = 6_000;
    let (writer_settings, writer_topic) = (corner.settings.clone(), input.clone());
    let writer = std::thread::spawn(move || {
        let clock = SystemClock::new();
        let mut producer = PlainProducer::start(&writer_settings, &writer_topic, &clock).unwrap();
        for value in numbered(0..total) {
            producer.send(Some(value.as_bytes()), value.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_micros(800));
        }
        producer.finish().unwrap();
    });
    let first = copier(&corner, &input, &out, "first");
    std::thread::sleep(Duration::from_secs(1));
    let second = copier(&corner, &input, &out, "second");
    std::thread::sleep(Duration::from_secs(2));
    let third = copier(&corner, &input, &out, "third");
    first.0.command(Command::Stop);
    first.1.join().unwrap();
    writer.join().unwrap();
    wait_until("everything is committed", || committed(&corner, &input, 4) == i64::try_from(total).unwrap());
    for (source, thread) in [second, third] {
        source.command(Command::Stop);
        thread.join().unwrap();
    }
    let mut copied = corner.contents(&out);
    copied.sort();
    let mut expected: Vec<String> = numbered(0..total).collect();
    expected.sort();
    let missing: Vec<&String> = expected.iter().filter(|it| copied.binary_search(it).is_err()).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    assert_eq!(copied, expected, "something came twice");
}
