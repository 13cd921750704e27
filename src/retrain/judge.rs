//! Champion and candidate before the gate: loaded alike, asked about the same rows, timed and weighed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::{Device, Golden, Graded, Judged as Known, ModelSettings, Reference};
use crate::onnx::{Bundle, REFERENCE, manifest_of};
use crate::retrain::compare::{Comparison, Contender, compare, read_rows, time};
use crate::retrain::cycle::{RetrainError, Retraining, failed, json, write};
use crate::retrain::dataset::Side;
use crate::retrain::gate::{Evidence, GOLDEN, REGRESSION, TEST};
use crate::retrain::reference::{POSTS_MIN, reference, usual};
use crate::retrain::verdict::Estimate;
use crate::retrain::{LabelledRow, Line};

/// Rows that travel with a model, beside its versions: what it must never forget.
pub(super) const REGRESSION_FILE: &str = "regression.jsonl";

/// What was found.
pub(super) struct Judged {
    /// For the gate.
    pub(super) evidence: Evidence,
    /// By set, for people.
    pub(super) comparisons: BTreeMap<&'static str, Comparison>,
    /// How good the champion would have been said to be.
    pub(super) estimates: Vec<Estimate>,
}

/// Asks both about the newest rows, about those that travel with the model and about the champion's golden inputs, and
/// lays the candidate's usual answers beside it.
///
/// # Errors
/// When a model cannot be loaded or fails on a text, or a file cannot be read or written.
pub(super) fn judge(
    it: &Retraining<'_>,
    champion: &Path,
    candidate: &Path,
    run: &Path,
) -> Result<Judged, RetrainError> {
    // On the processor, so that a verdict does not depend on what else a device does.
    let settings = ModelSettings { cache_texts: 0, device: Device::Cpu, ..it.model.clone() };
    let open = |folder: &Path| Bundle::load_from(folder, &settings, it.runtime, it.clock.clone());
    let (old, new) = (open(champion)?, open(candidate)?);
    let (old, new) = (Contender { scorer: &old, tasks: old.tasks() }, Contender { scorer: &new, tasks: new.tasks() });
    let mut comparisons = BTreeMap::new();
    let test = run.join("dataset/data").join(format!("{}.jsonl", Side::Test.as_str()));
    comparisons.insert(TEST, compare(&old, &new, &read_rows(&test)?)?);
    let regression = it.model.directory.join(&it.model.name).join(REGRESSION_FILE);
    if regression.is_file() {
        comparisons.insert(REGRESSION, compare(&old, &new, &read_rows(&regression)?)?);
    }
    comparisons.insert(GOLDEN, compare(&old, &new, &golden(champion)?)?);
    let judged = reference(new.scorer, new.tasks, &read_rows(&test)?)?.judged;
    let profile = reference(new.scorer, new.tasks, &usual(it.shelf, it.settings.unlabelled_max)?)?.profile;
    // Of few posts chance alone would look like a change later.
    if profile.posts >= POSTS_MIN {
        write(&candidate.join(REFERENCE), &json(&Reference { profile, judged }))?;
    }
    let texts: Vec<String> = comparisons.values().flat_map(|comparison| comparison.texts.iter().cloned()).collect();
    let reference = old.scorer.reference();
    let known = reference.as_ref().zip(comparisons.get(TEST));
    let estimates = known.map(|(reference, test)| estimates(&reference.judged, test)).unwrap_or_default();
    let seconds = time((&old, &new), &texts, &*it.clock)?;
    let sets = comparisons.iter().map(|(set, comparison)| (*set, comparison.pairs.clone())).collect();
    let bytes = (graph_bytes(champion)?, graph_bytes(candidate)?);
    Ok(Judged { evidence: Evidence { sets, seconds, bytes }, comparisons, estimates })
}

/// How good the champion would have been said to be without labels, beside how good it was.
fn estimates(known: &BTreeMap<String, Known>, test: &Comparison) -> Vec<Estimate> {
    let of_task = |(task, judged): (&String, &Known)| {
        let answers = &test.graded.get(task)?.0;
        let estimated = Graded::share(answers, |answer| answer.sure >= judged.threshold);
        let found = Graded::share(answers, |answer| answer.is_right);
        Some(Estimate { task: task.clone(), judged: judged.accuracy, estimated, found })
    };
    known.iter().filter_map(of_task).collect()
}

/// The golden inputs of a version's graph for the processor, with its own answers for the truth: what it was sure enough
/// of to be held to.
fn golden(version: &Path) -> Result<Vec<LabelledRow>, RetrainError> {
    let manifest = manifest_of(version)?;
    let file: Arc<str> = Arc::from(version.join("manifest.json").display().to_string());
    let inputs = manifest.variant_for("cpu").into_iter().flat_map(|variant| &variant.golden);
    let row = |(number, golden): (usize, &Golden)| {
        let answer = |task: &str| golden.outputs.get(task).map(|output| output.label.clone());
        LabelledRow {
            line: Line { file: file.clone(), number },
            text: golden.text.clone(),
            sentiment: answer("sentiment"),
            topic: answer("topic"),
            source: None,
            published_at: None,
            weight: 1.0,
        }
    };
    Ok((1..).zip(inputs).map(row).collect())
}

/// Bytes of the graph that runs on a processor.
fn graph_bytes(version: &Path) -> Result<u64, RetrainError> {
    let manifest = manifest_of(version)?;
    let Some(variant) = manifest.variant_for("cpu") else { return Ok(0) };
    let path = version.join(&variant.file);
    std::fs::metadata(&path).map(|file| file.len()).map_err(|source| failed(&path, source))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn accuracy_is_estimated_by_how_many_answers_are_as_sure_as_right_ones_were() {
        let judged = Known { rows: 4, threshold: 0.7, accuracy: 0.9 };
        let graded = |(sure, is_right)| Graded { sure, is_right, weight: if is_right { 1.0 } else { 3.0 } };
        let answers = [(0.95, true), (0.8, false), (0.71, true), (0.5, false)].map(graded);
        let mut test = Comparison::default();
        test.graded.insert("sentiment".to_owned(), (answers.to_vec(), Vec::new()));
        let judged = BTreeMap::from([("sentiment".to_owned(), judged), ("topic".to_owned(), judged)]);
        let found = estimates(&judged, &test);
        let task = "sentiment".to_owned();
        assert_eq!(found, [Estimate { task, judged: 0.9, estimated: 0.625, found: 0.25 }], "nobody labelled topics");
    }
}
