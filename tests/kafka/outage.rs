//! A broker that dies and comes back, on a broker of this test's own.

use super::*;
use crate::trial::Broker;
use bellwether::kafka::{KafkaTransaction, Producer};
use bellwether::stream::{Delivery, Epoch, Fault, Intake, Ledger, Outcome, Patience, Transaction as _};
use std::sync::Mutex;

/// The ten records of an assignment as an epoch of copies.
fn copied(reader: &Reader, Assignment { lease, committed, .. }: Assignment, out: &Arc<str>) -> Epoch<Row<()>> {
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(lease.clone(), committed);
    ledger.assign(lease, committed);
    let (lease, records) = reader.records(10);
    let live = intake.take(&lease, records).unwrap().live;
    ledger.add(live.map(|record| Corner::row(out, record.value.unwrap()))).unwrap();
    ledger.close().unwrap()
}

#[test]
fn a_broker_that_is_killed_is_said_and_everything_goes_on_when_it_is_back() {
    let (broker, servers) = Broker::start();
    let mut corner = Corner::new("outage");
    corner.settings.bootstrap_servers = servers;
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    corner.write(&input, numbered(0..10));
    let reader = corner.read(&[&input]);
    let assignment = reader.assigned();
    let id = format!("{}.a", corner.prefix);
    let membership = reader.source().membership();
    let mut port = Producer::exactly_once(&corner.settings, &id, membership, corner.clock.clone()).unwrap();
    let mut epoch = copied(&reader, assignment, &out);

    broker.run("kill");
    let trouble = |wanted: bool| loop {
        if let Feed::Trouble(why) = reader.next()
            && why.is_some() == wanted
        {
            return;
        }
    };
    trouble(true);
    // The commit begins while nobody answers, and ends when somebody does.
    let clock = corner.clock.clone();
    let committing =
        std::thread::spawn(move || epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), clock.as_ref()));
    broker.run("start");
    trouble(false);
    let outcome = committing.join().unwrap();
    // The member may have been put out meanwhile: then nothing is committed, and whoever has the partition next reads
    // the same records again.
    println!("after the outage: {outcome:?}");
    let there = corner.contents(&out);
    match outcome {
        Outcome::Committed(parts) if !parts.is_empty() => assert_eq!(there, numbered(0..10).collect::<Vec<_>>()),
        Outcome::Committed(_) | Outcome::Fenced(_) => assert!(there.is_empty(), "{there:?}"),
        Outcome::Halt(why) => panic!("{why}"),
    }
    reader.stop();
}

/// The system's clock, ahead of itself.
struct Ahead(SystemClock, Mutex<Duration>);

impl Clock for Ahead {
    fn now(&self) -> bellwether::time::Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() + *self.1.lock().unwrap()
    }

    fn pause(&self, span: Duration) {
        self.0.pause(span);
    }
}

type Call<'a> = dyn Fn(&mut KafkaTransaction) -> Result<(), Fault> + 'a;

#[test]
fn a_transaction_without_an_answer_is_given_up_when_it_is_overdue_and_begun_anew_from_what_is_committed() {
    let (broker, servers) = Broker::start();
    let mut corner = Corner::new("unanswered");
    corner.settings.bootstrap_servers = servers;
    corner.settings.transaction_timeout = Duration::from_secs(4);
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    let at = [(Partition::new(&input, 0), Position::at(0))];
    let commit = |port: &mut KafkaTransaction| port.commit();
    let send = |port: &mut KafkaTransaction| port.send_offsets(&at);
    let abort = |port: &mut KafkaTransaction| port.abort();
    let calls: [(&Call<'_>, bool); 3] = [(&commit, true), (&send, false), (&abort, true)];
    for (place, (call, sent)) in calls.into_iter().enumerate() {
        // Whoever cannot reach the broker for long may be out of its group after that.
        let reader = corner.read(&[&input]);
        reader.assigned();
        let clock = Arc::new(Ahead(SystemClock::new(), Mutex::default()));
        let (id, membership) = (format!("{}.a", corner.prefix), reader.source().membership());
        let mut port = Producer::exactly_once(&corner.settings, &id, membership, clock.clone()).unwrap();
        port.begin().unwrap();
        port.read_metadata().unwrap();
        if sent {
            port.send_offsets(&at).unwrap();
        }
        broker.signal("-STOP");
        // A call that is deaf to its own limit is overdue when it is asked for the first time.
        let again = call(&mut port);
        assert!(matches!(again, Err(Fault::Retriable(_))) || !sent, "{place}: {again:?}");
        *clock.1.lock().unwrap() = Duration::from_secs(4);
        let given_up = call(&mut port);
        assert!(matches!(given_up, Err(Fault::FencedMember(_))), "{place}: {given_up:?}");
        // A new client asks, and asks again.
        let again = port.abort();
        assert!(matches!(again, Err(Fault::Retriable(_))), "{place}: {again:?}");
        broker.signal("-CONT");
        wait_until("a new client begins", || port.abort().is_ok());
        port.begin().unwrap();
        port.produce(&Corner::output(&out, "anew")).unwrap();
        port.commit().unwrap();
        reader.stop();
    }
    assert_eq!(corner.contents(&out), ["anew"; 3]);
}

#[test]
fn who_is_not_told_for_a_minute_what_became_of_a_commit_stops_and_the_log_decides() {
    let (broker, servers) = Broker::start();
    let mut corner = Corner::new("minute");
    corner.settings.bootstrap_servers = servers;
    corner.settings.transaction_timeout = Duration::from_secs(4);
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    corner.write(&input, numbered(0..10));
    let reader = corner.read(&[&input]);
    let assignment = reader.assigned();
    let clock = Arc::new(Ahead(SystemClock::new(), Mutex::default()));
    let (id, membership) = (format!("{}.a", corner.prefix), reader.source().membership());
    let mut port = Producer::exactly_once(&corner.settings, &id, membership, clock.clone()).unwrap();
    let mut epoch = copied(&reader, assignment, &out);
    broker.signal("-STOP");
    let (ended, end) = bounded(1);
    let slow = clock.clone();
    std::thread::spawn(move || {
        ended.send(epoch.commit(&mut port, Delivery::ExactlyOnce, Patience::default(), slow.as_ref())).unwrap();
    });
    // It goes on asking; the minute is over when the clock says so.
    assert!(end.recv_timeout(Duration::from_secs(6)).is_err(), "it waits");
    *clock.1.lock().unwrap() = Duration::from_secs(60);
    let outcome = end.recv_timeout(SOON).unwrap();
    assert!(matches!(&outcome, Outcome::Halt(why) if why.contains("deadline passed")), "{outcome:?}");
    broker.signal("-CONT");
    reader.stop();
    // All of it or nothing, as the positions say.
    let again = corner.read(&[&input]);
    let from = again.assigned().committed;
    let expected = numbered(0..if from == Position::at(0) { 0 } else { 10 }).collect::<Vec<_>>();
    assert_eq!(corner.contents(&out), expected, "{from}");
    again.stop();
}
