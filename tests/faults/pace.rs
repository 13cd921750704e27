//! A model and a broker that are slow: nothing grows, and nobody is put out of the group.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Figures, burn, patient, times, trial};
use crate::trial::{Broker, Follower, Running, Trial, wait_for, wait_within};

/// Rows in a batch of the slow model, and what it takes for them: longer than the group's session of 6 s.
const ROWS: u32 = 64;
const BATCH: Duration = Duration::from_secs(10);
/// Posts that wait, and what each weighs: all of them together are more than a process may hold.
const WAITING: usize = 4_000;
const LARGE: usize = 64 << 10;
/// What a process may hold beyond what it held when the load began, in bytes.
const GROWTH_MAX: f64 = 200e6;

#[test]
fn a_model_that_takes_ten_seconds_a_batch_costs_neither_memory_nor_membership() {
    let count = times("slow", 1);
    let trial = trial("slow-model");
    let models = burn::model(&trial, BATCH / ROWS);
    let trial = slow(trial, &models).set("grace", "300s");
    trial.done(&["topics"]);
    let mut figures = Figures::new("a model that takes 10 s a batch", count);
    let mut sent = 0;
    let follower = Follower::start(&trial);
    for _ in 0..count {
        // The first batch may be a small one: the next is full. What is not begun is left to the quick model.
        trial.pile_up_large(WAITING, LARGE);
        sent += WAITING;
        let mut running = trial.run_as("only");
        running.wait_ready();
        let before = running.memory();
        let began = Instant::now();
        let seen = follower.count() + usize::try_from(ROWS).unwrap();
        let mut peak = before;
        wait_within(BATCH * 18, "a full batch", || {
            peak = peak.max(running.memory());
            (follower.count() >= seen).then_some(())
        });
        figures.span("a batch's worth of posts", began.elapsed());
        hold(&trial, &mut figures, (before, peak), GROWTH_MAX);
        assert!(full_batch(&running) > 6.5, "the model was quick: {} s a batch", full_batch(&running));
        assert_member(&running);
        running.stop();
    }
    // The rest with the quick model: the sums do not depend on which one answers.
    let trial = trial.set("model.directory", concat!(env!("CARGO_MANIFEST_DIR"), "/models")).set("model.name", "tiny");
    figures.settle(&trial, sent);
}

#[test]
fn who_is_still_running_when_the_grace_ends_is_named() {
    let trial = trial("laggard");
    let models = burn::model(&trial, BATCH / ROWS);
    let trial = slow(trial, &models).set("grace", "1s");
    trial.done(&["topics"]);
    trial.pile_up(usize::try_from(ROWS * 3).unwrap());
    let mut running = trial.run_as("only");
    running.wait_ready();
    let burnt = || running.metric("process_cpu_seconds_total", "");
    let before = burnt();
    wait_for("a batch that is at work", || (burnt() > before + 2.0).then_some(()));
    // Somebody who reads the page and never ends must not keep the laggards alive.
    let reader = running.hang();
    running.signal("-TERM");
    let said = wait_for("the laggards are named", || {
        Some(running.said()).filter(|said| said.contains("still running when the grace period of 1 s ended: score"))
    });
    let named = Instant::now();
    let status = running.wait();
    assert!(named.elapsed() < Duration::from_secs(1), "it lived on for {:?}: {said}", named.elapsed());
    drop(reader);
    let said = running.said();
    assert_eq!(status.code(), Some(70), "{said}");
    let after = said.split_once("still running when").unwrap().1;
    assert_eq!(after.lines().count(), 1, "nothing is said, scored or committed any more: {said}");
    assert!(trial.read(&trial.own("dead-letters")).is_empty(), "{said}");
}

#[test]
fn a_broker_that_answers_now_and_then_costs_neither_memory_nor_membership() {
    let count = times("slow", 1);
    let (broker, servers) = Broker::start();
    let trial = patient(Trial::at("slow-broker", servers));
    trial.done(&["topics"]);
    let mut figures = Figures::new("a broker that runs for 50 ms in every 500 ms, for 20 s", count);
    let follower = Follower::start(&trial);
    let load = trial.load(500);
    let mut sent = 0;
    let mut running = trial.run_as("only");
    running.wait_ready();
    for _ in 0..count {
        follower.wait_more(500);
        let before = running.memory();
        let seen = follower.count();
        // In its moments it fills every queue there is at once: twice the load, twice the bound.
        trial.pile_up_large(2 * WAITING, LARGE);
        sent += 2 * WAITING;
        let mut peak = before;
        limp(&broker, Duration::from_secs(20), || peak = peak.max(running.memory()));
        figures.note(format!("{} posts scored meanwhile", follower.count() - seen));
        running.assert_runs();
        hold(&trial, &mut figures, (before, peak), 2.0 * GROWTH_MAX);
        assert_member(&running);
        assert!(follower.count() > seen, "nothing went on");
    }
    sent += load.stop();
    running.stop();
    figures.settle(&trial, sent);
}

/// What a process held at its peak is bounded, by how it grew and by what `check` says.
fn hold(trial: &Trial, figures: &mut Figures, (before, peak): (f64, f64), growth_max: f64) {
    let growth = peak - before;
    figures.note(format!("memory +{:.0} MB", growth / 1e6));
    assert!(growth < growth_max, "{growth} bytes more");
    assert!(peak < trial.memory_bytes_max(), "{peak} bytes, more than `check` says");
}

/// Lets the broker run for a tenth of the time, and looks around meanwhile.
fn limp(broker: &Broker, span: Duration, mut look: impl FnMut()) {
    let (until, stopped) = (Instant::now() + span, AtomicBool::new(false));
    while Instant::now() < until {
        let stop = !stopped.fetch_xor(true, Ordering::Relaxed);
        broker.signal(if stop { "-STOP" } else { "-CONT" });
        look();
        std::thread::sleep(Duration::from_millis(if stop { 450 } else { 50 }));
    }
    broker.signal("-CONT");
}

/// The slow model, one batch at a time.
fn slow(trial: Trial, models: &std::path::Path) -> Trial {
    trial
        .set("model.directory", models.to_str().unwrap())
        .set("model.name", burn::NAME)
        .set("model.sessions", "1")
        .set("model.batch_tokens_max", "65536")
        .set("model.batch_rows_max", &ROWS.to_string())
        .set("model.pool_posts_max", &ROWS.to_string())
        .set("model.pool_wait_max", "2s")
}

/// Seconds that a full batch takes: by the row, since some are cut short.
fn full_batch(running: &Running) -> f64 {
    let seconds = running.metric("bellwether_inference_seconds_sum", "");
    seconds / running.metric("bellwether_batch_rows_sum", "").max(1.0) * f64::from(ROWS)
}

/// It was never put out of a group, and never began a partition again.
fn assert_member(running: &Running) {
    assert!(running.metric("bellwether_rebalances_total", "kind=\"assigned\"") > 0.0, "it never came into a group");
    let lost = running.metric_or_zero("bellwether_rebalances_total", "kind=\"lost\"");
    let resets = running.metric_or_zero("bellwether_partition_resets_total", "");
    assert_eq!((lost, resets), (0.0, 0.0), "{}", running.said());
}
