//! A broker that dies, or hangs.

use std::time::{Duration, Instant};

use super::{Figures, patient, times};
use crate::trial::{Broker, Follower, Moment, Running, Trial, wait_for};

/// How long a broker hangs: longer than it lets a transaction be, and than its controller waits for it.
const HANG: Duration = Duration::from_secs(30);

/// Threads more than at the beginning that may be at work at any moment: calls of their own, and clients that ask.
const CALLS: f64 = 24.0;
/// What a process may hold beyond what it held before, in bytes, when it has caught up.
const GROWTH_MAX: f64 = 200e6;
/// How long it is watched for that, in seconds.
const CALM: usize = 15;

#[test]
fn a_broker_that_is_killed_or_hangs_turns_readiness_red_and_nobody_exits() {
    let count = times("outages", 1);
    let (broker, servers) = Broker::start();
    // Windows that are full at once: what grows after that is the outages' doing.
    let trial = patient(Trial::at("outage", servers)).set("index.partition_mentions_max", "1000");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let load = trial.load(250);
    let mut figures = Figures::new("broker SIGKILL and restart; SIGSTOP, then SIGCONT", count);
    let mut running = trial.run_as("only");
    running.wait_ready();
    follower.wait_more(50);
    let (threads, memory) = (running.threads(), running.memory());
    let (mut most, mut peak) = (threads, memory);
    for _ in 0..count {
        follower.wait_more(50);
        let began = Instant::now();
        broker.run("kill");
        red(&mut running);
        figures.span("killed: red", began.elapsed());
        broker.run("start");
        peak = peak.max(recovered(&mut running, &follower, "killed: new output after it is back", &mut figures));
        let began = Instant::now();
        broker.signal("-STOP");
        red(&mut running);
        figures.span("hangs: red", began.elapsed());
        let mut refusals = 0;
        wait_for("the end of its sleep", || {
            most = most.max(running.threads());
            peak = peak.max(running.memory());
            let said = running.ask("/readyz");
            assert!(said.as_ref().is_none_or(|(status, _)| *status == 503), "{said:?} while the broker hangs");
            refusals += usize::from(said.is_some());
            (began.elapsed() >= HANG).then_some(())
        });
        assert!(refusals > 0, "nobody says whether it is ready");
        broker.signal("-CONT");
        peak = peak.max(recovered(&mut running, &follower, "hung: new output after it goes on", &mut figures));
    }
    // Clients that were given up end when a broker answers them.
    wait_for("clients that were given up are gone", || (running.threads() <= threads + CALLS).then_some(()));
    // What it needed while it caught up goes back as well: what it holds at least within a while is what stays.
    let grown = (0..CALM).map(|_| {
        std::thread::sleep(Duration::from_secs(1));
        let now = running.memory();
        peak = peak.max(now);
        now - memory
    });
    let grown = grown.fold(f64::INFINITY, f64::min);
    let (shown, most_held) = (grown / 1e6, (peak - memory) / 1e6);
    figures.note(format!("threads {threads}, at most {most}; memory +{shown:.0} MB, +{most_held:.0} MB at most"));
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
    assert!(peak < trial.memory_bytes_max(), "{peak} bytes, more than `check` says");
    let sent = load.stop();
    running.stop();
    figures.settle(&trial, sent);
}

fn red(running: &mut Running) {
    wait_for("/readyz is red", || {
        running.assert_runs();
        running.ask("/readyz").is_some_and(|(status, _)| status == 503).then_some(())
    });
}

/// Waits until everything goes on; the memory that it held meanwhile.
fn recovered(running: &mut Running, follower: &Follower, what: &'static str, figures: &mut Figures) -> f64 {
    let (back, mut peak) = (Moment::now(), 0.0_f64);
    wait_for("new scored posts", || {
        running.assert_runs();
        peak = peak.max(running.memory());
        follower.has_recovered(back).then_some(())
    });
    figures.span(what, follower.recovery(back));
    running.wait_ready();
    peak.max(running.memory())
}

#[test]
fn at_least_once_a_broker_that_dies_and_comes_back_costs_no_record() {
    let count = times("away", 1);
    let (broker, servers) = Broker::start();
    let trial = patient(Trial::at("away", servers)).set("kafka.delivery", "at-least-once");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let load = trial.load(250);
    let mut figures = Figures::new("at least once: broker SIGKILL and restart", count);
    let mut running = trial.run_as("only");
    running.wait_ready();
    for _ in 0..count {
        follower.wait_more(50);
        broker.run("kill");
        red(&mut running);
        broker.run("start");
        recovered(&mut running, &follower, "new output after it is back", &mut figures);
    }
    let sent = load.stop();
    running.stop();
    super::finish(&trial);
    figures.settle_whole(&trial.sums_with_archive(&trial.path("archive")), sent);
}
