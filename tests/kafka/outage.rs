//! A broker that dies and comes back, on a broker of this test's own.

use super::*;
use crate::trial::Broker;
use bellwether::kafka::{KafkaTransaction, Producer, Reach};
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
    let mut port =
        Producer::exactly_once(&corner.settings, &id, membership, &Reach::default(), corner.clock.clone()).unwrap();
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

#[test]
fn a_batch_that_rotted_on_a_brokers_disk_ends_the_source_with_a_word() {
    let (broker, servers) = Broker::start();
    let mut corner = Corner::new("rotten");
    corner.settings.bootstrap_servers = servers;
    let input = corner.topic("in", 1, Upkeep::Input);
    corner.write(&input, ["whole".to_owned()]);
    corner.write(&input, ["rotten".to_owned()]);
    broker.run("stop");
    broker.rot(&input);
    broker.run("start");
    let reader = corner.read(&[&input]);
    assert_eq!(reader.assigned().committed, Position::at(0));
    let why = reader.failed();
    assert!(why.contains("cannot be read, and none of it is skipped"), "{why}");
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
        let mut port =
            Producer::exactly_once(&corner.settings, &id, membership, &Reach::default(), clock.clone()).unwrap();
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
    let mut port = Producer::exactly_once(&corner.settings, &id, membership, &Reach::default(), clock.clone()).unwrap();
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

/// Two nodes: the first coordinates and has what is read, the second has the topic that is written.
struct Pair {
    corner: Corner,
    second: Broker,
    reader: Reader,
    input: Arc<str>,
    out: Arc<str>,
    _first: Broker,
}

impl Pair {
    /// With `positions` the second node has those of the groups, too.
    fn start(name: &str, positions: bool) -> Self {
        let (first, servers) = Broker::start();
        let mut corner = Corner::new(name);
        corner.settings.bootstrap_servers = servers;
        corner.settings.transaction_timeout = Duration::from_secs(30);
        corner.settings.start_timeout = Duration::from_secs(120);
        let input = corner.topic("in", 1, Upkeep::Input);
        // The log of the transactions is made while there is one node.
        corner.transaction(&input, 0, &["input"]);
        let second = first.second();
        let out: Arc<str> = format!("{}.out", corner.prefix).into();
        corner.put_on(2, &out, 1);
        corner.put_on(if positions { 2 } else { 1 }, "__consumer_offsets", 4);
        let reader = corner.read(&[&input]);
        reader.assigned();
        Self { corner, second, reader, input, out, _first: first }
    }

    /// A writer that begins as one of a new process does.
    fn port(&self) -> KafkaTransaction {
        let (id, membership) = (format!("{}.a", self.corner.prefix), self.reader.source().membership());
        let reach = Reach { input: Some(self.input.clone()), outputs: vec![Partition::new(&self.out, 0)] };
        Producer::exactly_once(&self.corner.settings, &id, membership, &reach, self.corner.clock.clone()).unwrap()
    }

    /// The second node stops: nobody leads what is on it from here on.
    fn orphan(&self) {
        self.second.run("stop");
        let asking = self.corner.client();
        wait_until("nobody leads the topic", || {
            let found = asking.fetch_metadata(Some(&self.out), SOON).unwrap();
            found.topics()[0].partitions()[0].leader() == -1
        });
    }

    fn write(&self, port: &mut KafkaTransaction, value: &'static str) {
        port.begin().unwrap();
        port.produce(&Corner::output(&self.out, value)).unwrap();
        port.flush().unwrap();
    }

    fn send_offsets(&self, port: &mut KafkaTransaction, position: i64) {
        port.read_metadata().unwrap();
        port.send_offsets(&[(Partition::new(&self.input, 0), Position::at(position))]).unwrap();
    }

    /// Aborts, as often as it takes: a client that lost the coordinator may have to be given up first, once.
    fn abort(port: &mut KafkaTransaction) {
        let (began, mut lapsed) = (Instant::now(), false);
        loop {
            match port.abort() {
                Ok(()) => return,
                Err(Fault::FencedMember(_)) if !lapsed => lapsed = true,
                Err(Fault::Retriable(why)) => assert!(began.elapsed() < SOON * 4, "not aborted: {why}"),
                Err(fault) => panic!("{fault}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Aborts while nobody leads what was written; it is done when somebody does again.
    fn abort_without_a_leader(&self, port: &mut KafkaTransaction) {
        self.orphan();
        let early = port.abort();
        assert!(matches!(early, Err(Fault::Retriable(_))), "without a leader nobody knows: {early:?}");
        self.second.run("start");
        Self::abort(port);
    }

    /// Commits a value and a position while nobody leads what was written; then begins one that is to be aborted.
    fn commit_without_a_leader(&self, port: &mut KafkaTransaction, value: &'static str) {
        self.write(port, value);
        self.send_offsets(port, 1);
        self.orphan();
        port.commit().unwrap();
        self.second.run("start");
        port.begin().unwrap();
        port.produce(&Corner::output(&self.input, "given up")).unwrap();
        port.flush().unwrap();
    }

    /// What was written, when one more record was committed.
    fn ends_with(&self, mut port: KafkaTransaction, expected: &[&str]) {
        self.write(&mut port, "anew");
        port.commit().unwrap();
        assert_eq!(self.corner.contents(&self.out), expected);
    }

    /// What the group has committed; whoever asks waits for what is open.
    fn committed(self) -> Position {
        let again = self.corner.read(&[&self.input]);
        self.reader.stop();
        let committed = again.assigned().committed;
        again.stop();
        committed
    }
}

#[test]
fn a_partition_without_a_leader_at_the_abort_never_shows_what_was_given_up() {
    let pair = Pair::start("abort", false);
    let mut port = pair.port();
    pair.write(&mut port, "given up");
    pair.abort_without_a_leader(&mut port);
    pair.ends_with(port, &["anew"]);
}

#[test]
fn a_partition_without_a_leader_when_a_process_begins_never_shows_what_the_last_one_left() {
    let pair = Pair::start("begin", false);
    let mut killed = pair.port();
    pair.write(&mut killed, "left open");
    pair.orphan();
    let port = std::thread::scope(|scope| {
        let begins = scope.spawn(|| pair.port());
        std::thread::sleep(Duration::from_secs(2));
        assert!(!begins.is_finished(), "it waits for a leader");
        pair.second.run("start");
        begins.join().unwrap()
    });
    pair.ends_with(port, &["anew"]);
}

#[test]
fn a_partition_without_a_leader_at_the_commit_shows_it_later_though_another_is_aborted_between() {
    let pair = Pair::start("commit", false);
    let mut port = pair.port();
    pair.commit_without_a_leader(&mut port, "committed");
    Pair::abort(&mut port);
    pair.ends_with(port, &["committed", "anew"]);
}

#[test]
fn a_commit_that_was_acknowledged_and_left_out_everywhere_is_begun_anew_by_the_next_process() {
    let pair = Pair::start("unkept", true);
    let mut port = pair.port();
    pair.commit_without_a_leader(&mut port, "acknowledged");
    // The abort waits for positions that will not come.
    wait_until("it is said", || {
        let aborted = port.abort();
        assert!(matches!(&aborted, Err(Fault::Retriable(_) | Fault::FencedMember(_))), "{aborted:?}");
        matches!(aborted, Err(Fault::Retriable(why)) if why.contains("KAFKA-20734"))
    });
    drop(port);
    pair.ends_with(pair.port(), &["anew"]);
    assert_eq!(pair.committed(), Position::at(0));
}

#[test]
fn a_commit_that_was_acknowledged_and_left_out_everywhere_is_missed_at_the_next_abort_and_begun_anew() {
    let pair = Pair::start("undone", true);
    let mut port = pair.port();
    pair.commit_without_a_leader(&mut port, "acknowledged");
    // It may be late for as long as a transaction may last.
    let (mut undone, began) = (Vec::new(), Instant::now());
    loop {
        assert!(began.elapsed() < SOON * 4, "it is not missed, or its end not laid: {undone:?}");
        match port.abort() {
            Ok(()) => break,
            Err(Fault::Undone { partitions, .. }) => undone.extend(partitions),
            Err(Fault::Retriable(_) | Fault::FencedMember(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(undone, [Partition::new(&pair.input, 0)], "its partition begins again");
    pair.ends_with(port, &["anew"]);
    assert_eq!(pair.committed(), Position::at(0));
}

#[test]
fn positions_that_were_given_up_are_never_the_groups_even_without_a_leader_for_them() {
    let pair = Pair::start("positions", true);
    let mut port = pair.port();
    port.begin().unwrap();
    pair.send_offsets(&mut port, 1);
    pair.abort_without_a_leader(&mut port);
    assert_eq!(pair.committed(), Position::at(0));
}
