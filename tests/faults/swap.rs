//! The model is swapped under load, and a champion that cannot be loaded is refused.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Figures, finish, times, trial};
use crate::trial::{Models, Running, Trial, text, wait_for};

/// How far a text's confidence may be from what it is in another batch.
const ROUNDING: f64 = 1e-4;

/// What the process may take more after many swaps than after the first few.
const GROWTH_MAX: f64 = 40.0 * 1024.0 * 1024.0;

fn answers(running: &Running, version: &str) -> bool {
    running.metric_or_zero("bellwether_model_info", &format!("version=\"{version}\"")) == 1.0
}

#[test]
fn a_champion_that_changes_under_load_is_swapped_in_and_no_post_is_lost_or_scored_twice() {
    let count = times("swaps", 8);
    let models = Models::with(&["1", "2"]);
    // A little less sure of everything, and not so much that its golden answers would refuse it.
    models.edit_all("2", "\"temperature\": 1.0", "\"temperature\": 1.02");
    // Windows that are full before the memory is first looked at: what grows after that is the swaps' doing.
    let trial = trial("swaps").set("model.directory", models.directory()).set("index.partition_mentions_max", "1000");
    let mut running = trial.run_as("only");
    running.wait_ready();
    let load = trial.load(400);
    let mut figures = Figures::new("the champion changes", count);
    let mut memory = 0.0;
    for round in 1..=count {
        let (version, before) = if round % 2 == 1 { ("2", "1") } else { ("1", "2") };
        let named = Instant::now();
        models.name(version);
        wait_for("the swap", || {
            running.assert_runs();
            (answers(&running, version) && !answers(&running, before)).then_some(())
        });
        figures.span("named until it answers", named.elapsed());
        if round == 3 {
            memory = running.memory();
        }
    }
    let growth = running.memory() - memory;
    assert!(growth < GROWTH_MAX, "memory grew by {growth} bytes over {} swaps", count - 3);
    figures.note(format!("memory {:+.0} MB since the third swap", growth / 1e6));
    assert_eq!(running.metric("bellwether_model_reloads_total", "result=\"swapped\"") as usize, count);
    let sent = load.stop();
    running.stop();
    let outcome = trial.sums();
    let versions: BTreeSet<String> = outcome.scored.iter().map(|post| text(&post["model"]["version"])).collect();
    assert_eq!(versions, BTreeSet::from(["1".to_owned(), "2".to_owned()]), "each record names who scored it");
    is_named_rightly(&trial, &models, &outcome.scored);
    figures.settle(&trial, sent);
}

/// Each post is as sure as the version that it names, and not as the other one.
fn is_named_rightly(trial: &Trial, models: &Models, scored: &[Value]) {
    let asked: Vec<&Value> = scored.iter().filter(|post| post["sentiment"]["reason"].is_null()).collect();
    let rows: String = asked.iter().map(|post| format!("{}\n", json!({ "text": post["text"] }))).collect();
    let file = trial.path("rows.jsonl");
    std::fs::write(&file, rows).unwrap();
    let [first, second] = ["1", "2"].map(|version| {
        let model = models.tiny().join(version);
        let (mut score, _) =
            trial.bare(&["score", "--model", model.to_str().unwrap(), "--device", "cpu", file.to_str().unwrap()]);
        let output = score.stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| sureness(&serde_json::from_str(line).unwrap()))
            .collect::<Vec<f64>>()
    });
    assert_eq!((first.len(), second.len()), (asked.len(), asked.len()));
    let mut told_apart = 0;
    for ((post, first), second) in asked.iter().zip(first).zip(second) {
        let (own, other) = if post["model"]["version"] == "1" { (first, second) } else { (second, first) };
        if (own - other).abs() > 10.0 * ROUNDING {
            told_apart += 1;
            assert!(
                (sureness(post) - own).abs() < ROUNDING,
                "{post} should be {own}, and {other} if it were the other's"
            );
        }
    }
    assert!(told_apart > asked.len() / 2, "the versions differ on {told_apart} of {} posts only", asked.len());
}

fn sureness(post: &Value) -> f64 {
    post["sentiment"]["confidence"].as_f64().unwrap()
}

#[test]
fn a_champion_that_cannot_be_loaded_is_refused_with_the_reason_and_the_old_one_stays() {
    let models = Models::with(&["1", "2", "3", "4", "6"]);
    // One with another graph than its manifest says, one with other answers, one with other labels, one that no memory
    // holds.
    let graph = models.tiny().join("2/model.fp32.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(graph, bytes).unwrap();
    models.edit("3", "\"temperature\": 1.0", "\"temperature\": 9.0");
    // Everywhere, its golden answers included: else those would refuse it, and not its labels.
    models.edit_all("4", "\"ipo\"", "\"ipos\"");
    std::fs::File::options()
        .write(true)
        .open(models.tiny().join("6/model.fp32.onnx"))
        .unwrap()
        .set_len(1 << 42)
        .unwrap();
    let trial = trial("refused").set("model.directory", models.directory());
    let mut running = trial.run_as("only");
    running.wait_ready();
    let load = trial.load(200);
    for (number, (version, reason)) in [
        ("2", "was altered"),
        ("3", "golden"),
        ("4", "has other tasks or labels than the model that runs"),
        ("5", "there is no model"),
        ("6", "MiB are free"),
        ("", "holds no version"),
    ]
    .into_iter()
    .enumerate()
    {
        models.name(version);
        wait_for("the refusal", || {
            running.assert_runs();
            let refused = running.metric_or_zero("bellwether_model_reloads_total", "result=\"refused\"");
            (refused as usize == number + 1).then_some(())
        });
        assert!(answers(&running, "1"), "the old one stays");
        assert_eq!(running.metric("bellwether_model_refused", ""), 1.0);
        assert!(running.said().contains(reason), "{reason} in {}", running.said());
        let (_, live) = running.ask("/live").unwrap();
        assert!(live.contains("was refused"), "the page says so: {live}");
    }
    models.name("1");
    wait_for("peace", || (running.metric("bellwether_model_refused", "") == 0.0).then_some(()));
    let (_, live) = running.ask("/live").unwrap();
    assert!(!live.contains("was refused"), "{live}");
    let sent = load.stop();
    running.stop();
    // What had come in and was not committed yet is worked off: a clean end leaves it for the next.
    finish(&trial);
    let outcome = trial.outcome();
    assert_eq!(outcome.inputs.len(), sent);
    assert!(outcome.scored.iter().all(|post| post["model"]["version"] == "1"));
}
