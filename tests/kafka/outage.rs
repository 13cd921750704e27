//! A broker that dies and comes back, on a broker of this test's own.

use super::*;
use crate::trial::Broker;
use bellwether::kafka::Producer;
use bellwether::stream::{Delivery, Fault, Intake, Ledger, Outcome, Patience, Transaction as _};
use std::sync::Mutex;

#[test]
fn a_broker_that_is_killed_is_said_and_everything_goes_on_when_it_is_back() {
    let (broker, servers) = Broker::start();
    let mut corner = Corner::new("outage");
    corner.settings.bootstrap_servers = servers;
    let (input, out) = (corner.topic("in", 1, Upkeep::Input), corner.topic("out", 1, Upkeep::Retained));
    corner.write(&input, numbered(0..10));
    let reader = corner.read(&[&input]);
    let Assignment { lease, committed, .. } = reader.assigned();
    let id = format!("{}.a", corner.prefix);
    let membership = reader.source().membership();
    let mut port = Producer::exactly_once(&corner.settings, &id, membership, corner.clock.clone()).unwrap();
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(lease.clone(), committed);
    ledger.assign(lease, committed);
    let (lease, records) = reader.records(10);
    let live = intake.take(&lease, records).unwrap().live;
    ledger.add(live.map(|record| Corner::row(&out, record.value.unwrap()))).unwrap();
    let mut epoch = ledger.close().unwrap();

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
    let copied = corner.contents(&out);
    match outcome {
        Outcome::Committed(parts) if !parts.is_empty() => assert_eq!(copied, numbered(0..10).collect::<Vec<_>>()),
        Outcome::Committed(_) | Outcome::Fenced(_) => assert!(copied.is_empty(), "{copied:?}"),
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

#[test]
fn a_commit_without_an_answer_is_asked_again_and_after_fifty_seconds_its_outcome_is_unknown() {
    let (broker, servers) = Broker::start();
    let mut corner = Corner::new("unknown");
    corner.settings.bootstrap_servers = servers;
    corner.settings.transaction_timeout = Duration::from_secs(4);
    let input = corner.topic("in", 1, Upkeep::Input);
    let reader = corner.read(&[&input]);
    let Assignment { lease, .. } = reader.assigned();
    let clock = Arc::new(Ahead(SystemClock::new(), Mutex::default()));
    let (id, membership) = (format!("{}.a", corner.prefix), reader.source().membership());
    let mut port = Producer::exactly_once(&corner.settings, &id, membership, clock.clone()).unwrap();
    port.begin().unwrap();
    port.read_metadata().unwrap();
    port.send_offsets(&[(lease.partition().clone(), Position::at(0))]).unwrap();
    broker.signal("-STOP");
    let again = port.commit();
    assert!(matches!(again, Err(Fault::Retriable(_))), "{again:?}");
    *clock.1.lock().unwrap() = Duration::from_secs(50);
    let unknown = port.commit();
    broker.signal("-CONT");
    assert!(matches!(unknown, Err(Fault::Unknown(_))), "{unknown:?}");
    reader.stop();
}
