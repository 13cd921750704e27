//! Processes that come, go, and sleep.

use std::time::{Duration, Instant};

use super::{Figures, at_most, times, trial};
use crate::trial::{Follower, Moment, Running, Trial, wait_for};

/// Partitions that the score stage reads: two inputs of two.
pub(super) const PARTITIONS: u32 = 4;
/// How long a partition may stand still while it changes hands: less than the group's session, which a crash would take.
const STANDSTILL: Duration = Duration::from_secs(5);
/// The group waits for a member that sleeps as for a dead one, and as long again at most for those that join anew.
const TAKEN_OVER: Duration = Duration::from_secs(15);

#[test]
fn processes_that_join_leave_and_restart_one_after_another_lose_nothing_and_repeat_nothing() {
    let count = times("members", 1);
    let trial = trial("members");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let load = trial.load(250);
    let mut figures = Figures::new("join of a third, leave of one, rolling restart of the rest", count);
    let mut names = vec!["a".to_owned(), "b".to_owned()];
    let mut running: Vec<Running> = names.iter().map(|name| trial.run_as(name)).collect();
    share(&mut running);
    let quiet = |began: Instant, what: &'static str, figures: &mut Figures| {
        follower.wait_more(200);
        for gap in follower.gaps(began).into_values() {
            assert!(gap < at_most(STANDSTILL), "{what}: {gap:?}");
            figures.span(what, gap);
        }
    };
    for round in 0..count {
        let began = Instant::now();
        names.push(format!("c{round}"));
        running.push(trial.run_as(&names[names.len() - 1]));
        share(&mut running);
        quiet(began, "join: a partition stood still", &mut figures);
        let began = Instant::now();
        names.remove(1);
        running.remove(1).stop();
        share(&mut running);
        quiet(began, "leave", &mut figures);
        let began = Instant::now();
        for place in 0..running.len() {
            running[place].stop();
            // Every second one is started under its own name again, the others under a new one.
            if (round + place) % 2 == 1 {
                names[place] = format!("r{round}-{place}");
            }
            running[place] = trial.run_as(&names[place]);
            share(&mut running);
        }
        quiet(began, "rolling restart", &mut figures);
    }
    let sent = load.stop();
    running.iter_mut().for_each(Running::stop);
    figures.settle(&trial, sent);
}

/// Waits until every process has its share and no partition of any stage is without an owner.
pub(super) fn share(running: &mut [Running]) {
    wait_for("every process has its share", || {
        running.iter_mut().for_each(Running::assert_runs);
        let all = |stage: &str| running.iter().map(|one| one.partitions(stage)).sum::<u32>();
        // The archive reads the scored posts and the labels.
        let owned = [all("score"), all("signal"), all("archive")] == [PARTITIONS, 2, 4];
        (owned && running.iter().all(|one| one.partitions("score") > 0)).then_some(())
    });
}

#[test]
fn a_process_that_sleeps_past_its_session_repeats_nothing_when_it_wakes_and_says_so() {
    let count = times("zombies", 1);
    let trial = trial("zombie");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let load = trial.load(250);
    let mut figures = Figures::new("SIGSTOP past the session timeout, then SIGCONT", count);
    let mut running = vec![trial.run_as("a"), trial.run_as("b")];
    share(&mut running);
    for round in 0..count {
        follower.wait_more(50);
        let slept = Instant::now();
        running[0].signal("-STOP");
        wait_for("the other has everything", || (running[1].partitions("score") == PARTITIONS).then_some(()));
        let took = slept.elapsed();
        assert!(took < at_most(TAKEN_OVER), "taken over only after {took:?}");
        figures.span("taken over", took);
        follower.wait_more(50);
        let told = running[0].said().len();
        running[0].signal("-CONT");
        let woke = Instant::now();
        wakes(&trial, &mut running, (round, told), &mut figures);
        figures.span("at work again", woke.elapsed());
    }
    let sent = load.stop();
    running.iter_mut().for_each(Running::stop);
    figures.settle(&trial, sent);
}

/// The zombie says that it has lost its partitions and joins again, or exits with 70 and is started again.
fn wakes(trial: &Trial, running: &mut [Running], (round, mut told): (usize, usize), figures: &mut Figures) {
    let mut exited = false;
    wait_for("the zombie joins again or exits", || {
        let shares: u32 = running[0].partitions("score");
        let both = shares > 0 && shares + running[1].partitions("score") == PARTITIONS;
        let said = running[0].said().split_off(told);
        if let Some(status) = running[0].ended() {
            assert_eq!(status.code(), Some(70), "{said}");
            assert!(said.contains("stopped"), "{said}");
            figures.note("exited with 70");
            running[0] = trial.run_as(&format!("again{round}"));
            // Whoever is started anew has a log of its own, and has lost nothing.
            (exited, told) = (true, 0);
            return None;
        }
        // Its page is a second behind: the log says whether it has partitions again.
        let back = said.lines().any(|line| line.contains("partitions came") && line.contains("-in-"));
        (both && back && (exited || said.contains("lost=true"))).then_some(())
    });
}

#[test]
fn of_two_processes_with_one_name_the_first_ends_and_says_why_and_the_second_goes_on() {
    let trial = trial("twins");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let load = trial.load(250);
    let mut figures = Figures::new("a second process under the same instance", 2);
    let mut running = trial.run_as("twin");
    for _ in 0..figures.times {
        follower.wait_more(50);
        let twin = trial.run_as("twin");
        let began = Moment::now();
        let status = running.wait();
        let said = running.said();
        assert_eq!(status.code(), Some(70), "{said}");
        assert!(said.to_lowercase().contains("fenced"), "{said}");
        running = twin;
        figures.span("new output", follower.recovery(began));
        running.assert_runs();
    }
    let sent = load.stop();
    running.stop();
    figures.settle(&trial, sent);
}
