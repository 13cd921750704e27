//! Processes that die: at random moments, and while a transaction is open.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::members::share;
use super::{Dice, Figures, at_most, is_long, times, trial};
use crate::trial::{Follower, Moment, Running, SOON, Trial, ends};

/// The group waits for a dead member this long, and then 3 s.
const RECOVERY: Duration = Duration::from_secs(9);
/// The broker's limit for an open transaction, its scan (1 s on the test broker), and 3 s.
const TAKEN_OVER: Duration = Duration::from_secs(14);

#[test]
fn a_process_that_is_killed_at_random_moments_leaves_nothing_out_and_nothing_twice() {
    let count = times("kills", 5);
    let trial = trial("kills");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let load = trial.load(250);
    let mut figures =
        Figures::new("SIGKILL of one of two, or of both, at a random moment, restarted as they were", count);
    kill_at_random(&trial, &follower, &mut figures);
    figures.settle(&trial, load.stop());
}

#[test]
fn at_least_once_a_process_that_is_killed_leaves_nothing_out_and_repeats_what_it_had_not_committed() {
    let count = times("repeats", 2);
    let trial = trial("repeats").set("kafka.delivery", "at-least-once");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let load = trial.load(250);
    let mut figures = Figures::new("at least once: SIGKILL of one of two, or of both, at a random moment", count);
    kill_at_random(&trial, &follower, &mut figures);
    kill_before_positions(&trial);
    let sent = load.stop();
    super::finish(&trial);
    let outcome = trial.sums();
    assert!(!outcome.twice.is_empty(), "what was written and not committed comes again");
    figures.settle_whole(&trial.sums_with_archive(&trial.path("archive")), sent);
}

/// Runs two processes and kills the one, the other, or both.
fn kill_at_random(trial: &Trial, follower: &Follower, figures: &mut Figures) {
    const NAMES: [&str; 2] = ["one", "other"];
    let mut dice = Dice::new();
    let mut running = NAMES.map(|name| trial.run_as(name));
    share(&mut running);
    for round in 0..figures.times {
        follower.wait_more(50);
        std::thread::sleep(dice.below(Duration::from_secs(1)));
        running.iter_mut().for_each(Running::assert_runs);
        let alone = dice.below(Duration::from_secs(2)).as_secs();
        let victims: Vec<usize> = (0..2).filter(|place| round % 2 == 1 || *place as u64 == alone).collect();
        let killed = Moment::now();
        for victim in &victims {
            running[*victim].kill();
            running[*victim] = trial.run_as(NAMES[*victim]);
        }
        let took = follower.recovery_of_all(killed);
        assert!(took < at_most(RECOVERY), "new output of each partition only after {took:?}");
        figures.span(if victims.len() == 1 { "one killed: new output of each partition" } else { "both killed" }, took);
    }
    running.iter_mut().for_each(Running::stop);
}

#[test]
fn a_transaction_that_a_dead_process_left_open_is_ended_by_the_same_instance_at_once() {
    let mut figures = Figures::new("SIGKILL inside a transaction, restarted under the same instance", times("open", 1));
    // More than is allowed even in the short form: who waits for the broker to end it fails.
    let trial = of_a_short_memory("open").set("kafka.transaction_timeout", "60s");
    let sent = killed_inside_transactions(&trial, &mut figures, &["only"], RECOVERY);
    figures.settle(&trial, sent);
}

#[test]
fn a_transaction_that_a_dead_process_left_open_holds_another_instance_up_no_longer_than_its_timeout() {
    let mut figures = Figures::new("SIGKILL inside a transaction, restarted under another instance", times("open", 1));
    let trial = of_a_short_memory("open");
    let sent = killed_inside_transactions(&trial, &mut figures, &["one", "other"], TAKEN_OVER);
    figures.settle(&trial, sent);
}

/// A pipeline whose signal stage reads four minutes back: with a memory of a day each round would have more to read.
fn of_a_short_memory(name: &str) -> Trial {
    let trial = trial(name).set("index.horizon", "1m").set("index.novelty_window", "1m");
    trial.set("rule.0.when.over", "1m").set("rule.0.when.half_life", "30s")
}

/// Kills a process, and starts none in its place, when it has written posts that it has not committed the positions of.
fn kill_before_positions(trial: &Trial) {
    let reader = trial.consumer(&trial.own("scored"), "read_uncommitted");
    let ahead = || {
        let written = ends(&reader, &trial.own("scored")).into_iter();
        let committed = ["news", "social"].iter().flat_map(|kind| trial.committed("score", &trial.input(kind)));
        written.sum::<i64>() - committed.sum::<i64>()
    };
    // A post that becomes a dead letter only makes it less: whoever is ahead all the same has not committed something.
    // What was written twice before counts for both.
    let before = ahead();
    kill_when(&mut trial.run_as("one"), || ahead() > before);
}

/// Kills a process inside a transaction and starts the next one under the next of `names`: of the score stage and then,
/// each time, of the signal stage.
fn killed_inside_transactions(trial: &Trial, figures: &mut Figures, names: &[&str], limit: Duration) -> usize {
    trial.done(&["topics"]);
    let kinds = [("scored", "new scored posts"), ("index", "new index records")];
    let followers = kinds.map(|(role, _)| Follower::of(trial, role));
    // The long form takes minutes: of 1,000 a second its later rounds would have more to read back than the bounds have time.
    let load = trial.load(if is_long() { 250 } else { 1_000 });
    let mut running = trial.run_as(names[0]);
    for round in 1..=figures.times * kinds.len() {
        followers.iter().for_each(|follower| follower.wait_more(50));
        let killed = kill_inside_transaction(trial, kinds[(round + 1) % kinds.len()].0, &mut running);
        running = trial.run_as(names[round % names.len()]);
        for ((_, what), follower) in kinds.into_iter().zip(&followers) {
            let took = follower.recovery(killed);
            assert!(took < at_most(limit), "{what} only after {took:?}");
            figures.span(what, took);
        }
    }
    let sent = load.stop();
    running.stop();
    sent
}

/// Kills the process while it has a transaction open in the topic of this role.
fn kill_inside_transaction(trial: &Trial, role: &str, running: &mut Running) -> Moment {
    let topic = trial.own(role);
    let (open, stable) = (trial.consumer(&topic, "read_uncommitted"), trial.consumer(&topic, "read_committed"));
    kill_when(running, || is_open(&open, &stable, &topic))
}

/// Kills the process where it should be.
fn kill_when(running: &mut Running, is_there: impl Fn() -> bool) -> Moment {
    stop_when(running, is_there);
    let killed = Moment::now();
    running.kill();
    killed
}

/// Stops the process again and again until it happens to be where it should be, and leaves it there; since when.
pub(super) fn stop_when(running: &mut Running, is_there: impl Fn() -> bool) -> Moment {
    let mut dice = Dice::new();
    let until = Instant::now() + SOON;
    loop {
        running.assert_runs();
        running.signal("-STOP");
        // What it had sent before is through when it still is a moment later.
        if is_there() && {
            std::thread::sleep(Duration::from_millis(200));
            is_there()
        } {
            return Moment::now();
        }
        running.signal("-CONT");
        assert!(Instant::now() < until, "it never was where it should be killed");
        std::thread::sleep(dice.below(Duration::from_millis(120)));
    }
}

pub(super) fn is_open(open: &BaseConsumer, stable: &BaseConsumer, topic: &str) -> bool {
    debug_assert!(open.subscription().is_ok(), "a client that only asks");
    ends(stable, topic).into_iter().zip(ends(open, topic)).any(|(stable, end)| stable < end)
}
