//! Promise: a challenger answers beside the champion, its answers are in metrics and samples, and nothing else changes.

use std::collections::BTreeMap;
use std::fs::File;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Float64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::trial::{Models, Running, Trial, sum_of, wait_for};

/// Pipelines of which everything is answered twice, and four strategies choose what is kept.
fn trial(name: &str, models: &Models) -> Trial {
    let trial = Trial::new(name)
        .set("model.directory", models.directory())
        .set("model.challenger_share", "1.0")
        .set("sample.policy", "mixed");
    ["random", "margin", "rare", "disagreement"].iter().enumerate().fold(trial, |trial, (place, by)| {
        let share = if *by == "random" { "0.2" } else { "0.1" };
        trial.set(&format!("sample.strategy.{place}.by"), by).set(&format!("sample.strategy.{place}.share"), share)
    })
}

fn tried(running: &Running, version: &str) -> bool {
    running.metric_or_zero("bellwether_challenger_info", &format!("version=\"{version}\"")) == 1.0
}

#[test]
fn a_challenger_is_tried_and_given_up_while_the_pipeline_runs_and_each_sample_says_why_it_was_kept() {
    let models = Models::with(&["1", "2", "3"]);
    let trial = trial("challenger", &models);
    trial.done(&["topics"]);
    let mut running = trial.run_as("only");
    running.wait_ready();
    models.challenge("2");
    wait_for("the challenger", || tried(&running, "2").then_some(()));
    let load = trial.load(200);
    let asked = |running: &Running| running.metric_or_zero("bellwether_challenger_posts_total", "outcome=\"asked\"");
    wait_for("answers of the challenger", || (asked(&running) >= 300.0).then_some(()));
    // It is the same model under another name: it agrees, and is as sure.
    let page = running.metrics();
    let same = |label: &str| sum_of(&page, "bellwether_challenger_answers_total", label);
    assert!(same("agrees=\"yes\"") >= 600.0 && same("agrees=\"no\"") == 0.0, "{page}");
    let sure = |who: &str| sum_of(&page, "bellwether_challenger_confidence_sum", &format!("model=\"{who}\""));
    // A post may stand between the two.
    assert!((sure("champion") - sure("challenger")).abs() < 2.0, "{} and {}", sure("champion"), sure("challenger"));
    assert!(sum_of(&page, "bellwether_challenger_inference_seconds_count", "") > 0.0, "{page}");
    // One that cannot be loaded leaves the seat empty, and the champion where it is.
    models.edit("3", "\"version\": \"3\"", "\"version\": \"4\"");
    models.challenge("3");
    wait_for("an empty seat", || (!tried(&running, "2")).then_some(()));
    wait_for("the refusal", || running.said().contains("the challenger is refused").then_some(()));
    running.assert_runs();
    let sent = load.stop();
    running.stop();
    trial.done(&["run", "--until-end"]);
    let outcome = trial.sums();
    outcome.assert_exact();
    assert_eq!(outcome.inputs.len(), sent);
    let kept = kept(&trial);
    let challenged = kept.iter().filter(|row| row.challenger.as_deref() == Some("2")).count();
    assert!(challenged > 50 && kept.iter().all(|row| row.challenger.as_deref().is_none_or(|it| it == "2")));
    assert!(kept.iter().all(|row| row.asked == row.challenger.is_some()), "answers and their version go together");
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &kept {
        assert!(
            (0.2 - 1e-9..=1.0).contains(&row.probability),
            "as likely as by chance alone, or more: {}",
            row.probability
        );
        *reasons.entry(&row.reason).or_default() += 1;
    }
    assert!(reasons["random"] > 20 && reasons.len() > 1, "{reasons:?}");
    assert!(!reasons.contains_key("disagreement"), "they agree: {reasons:?}");
    let weighed: f64 = kept.iter().map(|row| 1.0 / row.probability).sum();
    assert!((0.7..1.3).contains(&(weighed / sent as f64)), "{weighed} stand for {sent}");
}

struct Kept {
    reason: String,
    probability: f64,
    challenger: Option<String>,
    /// Whether there are answers of the challenger.
    asked: bool,
}

fn kept(trial: &Trial) -> Vec<Kept> {
    let mut kept = Vec::new();
    for day in std::fs::read_dir(trial.path("archive/samples")).unwrap() {
        for file in std::fs::read_dir(day.unwrap().path()).unwrap() {
            let file = File::open(file.unwrap().path()).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let column = |name: &str| batch.column_by_name(name).unwrap();
                let (reasons, versions) =
                    (column("sample_reason").as_string::<i32>(), column("challenger_version").as_string::<i32>());
                let odds = column("challenger_sentiment_probabilities").as_list::<i32>();
                let probabilities = column("sample_probability").as_primitive::<Float64Type>();
                kept.extend((0..batch.num_rows()).map(|row| Kept {
                    reason: reasons.value(row).to_owned(),
                    probability: probabilities.value(row),
                    challenger: versions.is_valid(row).then(|| versions.value(row).to_owned()),
                    asked: odds.value_length(row) == 3,
                }));
            }
        }
    }
    kept
}
