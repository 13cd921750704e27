//! Promise: a pipeline shows how far its posts are from those on which the model was judged, without any label.

use std::process::Command;

use rdkafka::Message as _;
use serde_json::{Value, json};

use crate::trial::{Models, Running, Trial, wait_for};

/// Judges the model on such texts, and leaves the reference in its folder.
fn judge(models: &Models, texts: impl Iterator<Item = String>) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let rows: Vec<String> = texts.map(|text| json!({ "text": text, "sentiment": "neutral" }).to_string()).collect();
    std::fs::write(file.path(), rows.join("\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.args(["evaluate", "--device", "cpu", "--reference", "--model"]).arg(models.tiny().join("1"));
    let output = command.arg("--data").arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn drift(running: &Running, feature: &str) -> f64 {
    running.metric("bellwether_drift", &format!("feature=\"{feature}\""))
}

/// A process that has answered enough posts of the load to say something.
fn watched(trial: &Trial) -> Running {
    trial.done(&["topics"]);
    trial.pile_up(2_500);
    let running = trial.run_as("only");
    wait_for("a figure of drift", || {
        let told = running.ask("/metrics").is_some_and(|(_, page)| page.contains("bellwether_drift{"));
        told.then_some(())
    });
    running
}

#[test]
fn posts_as_those_that_the_model_was_judged_on_are_near_and_others_are_far() {
    let models = Models::with(&["1"]);
    let trial = Trial::new("drift").set("model.directory", models.directory()).set("model.cache_texts", "0");
    // What the load sends is what the first is judged on.
    trial.done(&["topics"]);
    // The first of a trial have shorter numbers than all that follow.
    trial.pile_up(1);
    trial.pile_up(1_500);
    let posts = [trial.input("news"), trial.input("social")].map(|topic| trial.read(&topic));
    // One in a hundred is broken, and one in twenty has no text, since it deletes another.
    let texts = posts.iter().flatten().filter_map(|record| {
        let post: Value = serde_json::from_slice(record.payload().unwrap()).ok()?;
        Some(post.get("text").or_else(|| post.get("body"))?.as_str()?.to_owned())
    });
    let said = judge(&models, texts);
    assert!(said.contains("sentiment: 1411 rows"), "{said}");
    let mut near = watched(&trial);
    for feature in ["length", "vocabulary", "sentiment", "topic", "sentiment-confidence"] {
        assert!(drift(&near, feature) < 0.1, "{feature}: {}", drift(&near, feature));
    }
    // The language is not looked at where no text was judged in one that the model does not know.
    assert!(!near.metrics().contains("feature=\"language\""), "{}", near.metrics());
    let accuracy = |running: &Running, kind: &str| {
        running.metric("bellwether_accuracy_ratio", &format!("kind=\"{kind}\",task=\"sentiment\""))
    };
    let (estimated, judged) = (accuracy(&near, "estimated"), accuracy(&near, "judged"));
    assert!((estimated - judged).abs() < 0.05, "{estimated} and {judged}");
    near.stop();

    let trial = Trial::new("drifted").set("model.directory", models.directory()).set("model.cache_texts", "0");
    judge(
        &models,
        (0..1_500).map(|number| format!("A long tale of the sea, of whales and of men, number {number}. ").repeat(4)),
    );
    let mut far = watched(&trial);
    for feature in ["length", "vocabulary"] {
        assert!(drift(&far, feature) > 0.25, "{feature}: {}", drift(&far, feature));
    }
    far.stop();
}

#[test]
fn a_reference_that_cannot_be_read_is_named_and_the_model_is_not_loaded() {
    let models = Models::with(&["1", "2"]);
    std::fs::write(models.tiny().join("2/reference.json"), "{\"profile\": 1}").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    let output = command
        .args(["model", "promote", "2", "--force", "--reason", "x", "--model"])
        .arg(models.tiny())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("reference.json cannot be read"), "{said}");
}
