//! A model directory is loaded whole and checked, or refused with a remedy; in full precision a text's answer does not
//! depend on its neighbours. On the tiny model with random weights, through the real ONNX Runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellwether::event::Verdict;
use bellwether::model::{Device, Encoded, ModelSettings, ScoreFailure, Scorer};
use bellwether::onnx::{Bundle, BundleError, Combination, Runtime, RuntimeHints, runtime};
use bellwether::time::SystemClock;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn onnx_runtime() -> Runtime {
    let hints = RuntimeHints {
        dylib: std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from),
        executable_dir: std::env::current_exe().unwrap().parent().map(Path::to_owned),
        working_dir: Some(PathBuf::from(ROOT)),
    };
    runtime(&hints).unwrap_or_else(|error| panic!("{error}"))
}

fn settings(directory: PathBuf) -> ModelSettings {
    ModelSettings { directory, name: "tiny".to_owned(), device: Device::Cpu, sessions: 2, ..ModelSettings::default() }
}

fn load_with(settings: &ModelSettings) -> Result<Bundle, BundleError> {
    Bundle::load(settings, &onnx_runtime(), Arc::new(SystemClock::new()))
}

fn tiny() -> Bundle {
    load_with(&settings(Path::new(ROOT).join("models"))).unwrap_or_else(|error| panic!("{error}"))
}

/// A copy of the tiny model that a test may spoil.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("tiny/1");
    std::fs::create_dir_all(&version).unwrap();
    for entry in std::fs::read_dir(Path::new(ROOT).join("models/tiny/1")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, version.join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.path().join("tiny/champion"), "1\n").unwrap();
    (folder, version)
}

fn spoil_manifest(version: &Path, spoil: impl FnOnce(&mut Value)) {
    let path = version.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    spoil(&mut manifest);
    std::fs::write(&path, manifest.to_string()).unwrap();
}

fn texts() -> Vec<String> {
    let words =
        ["Northwind Rail raises its dividend", "after a strong quarter", "shares drop", "oil", "the court fine"];
    (0..60).map(|n| (0..=(n * 7) % 11).map(|k| words[(n + k) % words.len()]).collect::<Vec<_>>().join(" ")).collect()
}

fn encode(bundle: &Bundle, texts: &[String]) -> Vec<Encoded> {
    texts.iter().map(|text| bundle.encode(text).unwrap()).collect()
}

fn distance(left: &Verdict, right: &Verdict) -> f32 {
    let pairs = [(&left.sentiment, &right.sentiment), (&left.topic, &right.topic)];
    let gaps = pairs.iter().flat_map(|(left, right)| {
        left.distribution
            .iter()
            .zip(&right.distribution)
            .map(|((a, p), (b, q))| if a == b { (p - q).abs() } else { 1.0 })
    });
    gaps.fold(0.0, f32::max)
}

#[test]
fn the_tiny_model_loads_and_says_what_it_is() {
    let bundle = tiny();
    assert_eq!((&*bundle.id().name, &*bundle.id().version, &*bundle.id().variant), ("tiny", "1", "fp32"));
    assert_eq!((bundle.device(), bundle.languages()), ("cpu", &["en".to_owned()][..]));
    let runtime = onnx_runtime();
    assert!(runtime.info().providers.contains(&"cpu"));
}

#[test]
fn in_full_precision_a_text_scores_the_same_alone_and_in_any_batch() {
    let texts = texts();
    let narrow =
        ModelSettings { batch_rows_max: 1, sessions: 1, cache_texts: 0, ..settings(Path::new(ROOT).join("models")) };
    let alone = load_with(&narrow).unwrap();
    let wide = ModelSettings { batch_tokens_max: 4_096, ..narrow.clone() };
    let lanes = ModelSettings { sessions: 3, batch_rows_max: 7, ..wide.clone() };
    let expected: Vec<Verdict> = alone.score(&encode(&alone, &texts)).into_iter().map(Result::unwrap).collect();
    assert!(expected.windows(2).any(|pair| distance(&pair[0], &pair[1]) > 0.05), "all texts answer alike");
    for settings in [wide, lanes] {
        let bundle = load_with(&settings).unwrap();
        let results = bundle.score(&encode(&bundle, &texts));
        assert_eq!(results.len(), texts.len());
        for ((text, expected), result) in texts.iter().zip(&expected).zip(results) {
            assert!(distance(expected, &result.unwrap()) < 1e-3, "{text}");
        }
    }
}

#[test]
fn the_shipped_model_answers_a_text_alike_alone_and_in_any_batch() {
    let posts = std::fs::read_to_string(Path::new(ROOT).join("pipelines/demo/posts.jsonl")).unwrap();
    let words = |line: &str| {
        let post: Value = serde_json::from_str(line).ok()?;
        let text = post["text"].as_str().or(post["headline"].as_str())?;
        Some(bellwether::clean::clean(text)).filter(|text| !text.is_empty())
    };
    let texts: Vec<String> = posts.lines().filter_map(words).collect();
    assert!(texts.len() > 300, "{}", texts.len());
    let shipped = ModelSettings { name: "finance-en".into(), ..settings(Path::new(ROOT).join("models")) };
    let narrow = ModelSettings { batch_rows_max: 1, sessions: 1, cache_texts: 0, ..shipped };
    let wide = ModelSettings { batch_rows_max: 64, batch_tokens_max: 4_096, ..narrow.clone() };
    let [alone, together] = [narrow, wide].map(|settings| {
        let bundle = load_with(&settings).unwrap();
        bundle.score(&encode(&bundle, &texts)).into_iter().map(Result::unwrap).collect::<Vec<Verdict>>()
    });
    let farthest = alone.iter().zip(&together).map(|(one, other)| distance(one, other)).fold(0.0, f32::max);
    // What is left is rounding: padding changes the order of sums, and a sum at the edge of two steps falls to either.
    assert!(farthest < 0.01, "{farthest}");
}

#[test]
fn equal_texts_are_asked_once_and_remembered() {
    let bundle = tiny();
    let pool = encode(&bundle, &["oil", "shares drop", "oil", "oil"].map(str::to_owned));
    bundle.take_stats();
    let first = bundle.score(&pool);
    let stats = bundle.take_stats();
    assert_eq!((stats.cache_misses, stats.cache_hits), (2, 2));
    assert_eq!(stats.batches.iter().map(|batch| batch.rows).sum::<usize>(), 2);
    assert!(stats.batches.iter().all(|batch| batch.padded_tokens >= batch.text_tokens && batch.seconds > 0.0));
    assert_eq!(first[0], first[2]);
    assert_eq!(bundle.score(&pool), first);
    assert_eq!((bundle.take_stats().cache_hits, bundle.take_stats().batches.len()), (4, 0));
}

#[test]
fn a_text_that_fails_is_found_among_its_neighbours() {
    let bundle = tiny();
    let mut pool = encode(&bundle, &texts());
    // A token that no vocabulary has: what a text of another model's tokeniser looks like.
    pool[17] = Encoded { ids: vec![2, 4_000_000_000, 3].into(), hash: 1 };
    let results = bundle.score(&pool);
    let failed: Vec<usize> = results.iter().enumerate().filter(|(_, r)| r.is_err()).map(|(index, _)| index).collect();
    assert_eq!(failed, [17]);
    assert!(matches!(results[17], Err(ScoreFailure::Inference(_))), "{:?}", results[17]);
}

#[test]
fn a_long_text_is_cut_and_an_empty_one_still_has_an_answer() {
    let bundle = tiny();
    let pool = encode(&bundle, &["oil ".repeat(250_000), String::new()]);
    assert_eq!(pool[0].ids.len(), 64);
    assert!(bundle.score(&pool).iter().all(Result::is_ok));
    assert_eq!(bundle.score(&[]), []);
}

#[test]
fn an_altered_file_is_refused_by_name() {
    for file in ["model.fp32.onnx", "tokenizer.json", "config.json"] {
        let (folder, version) = copy();
        let mut bytes = std::fs::read(version.join(file)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(version.join(file), bytes).unwrap();
        let error = load_with(&settings(folder.path().to_owned())).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, BundleError::Altered { .. }), "{message}");
        assert!(message.contains(file) && message.contains("copy the model directory again"), "{message}");
    }
}

#[test]
fn a_missing_file_or_model_is_an_error_with_a_remedy() {
    let (folder, version) = copy();
    std::fs::remove_file(version.join("model.fp32.onnx")).unwrap();
    let message = load_with(&settings(folder.path().to_owned())).unwrap_err().to_string();
    assert!(message.contains("model.fp32.onnx cannot be read"), "{message}");
    std::fs::remove_file(folder.path().join("tiny/champion")).unwrap();
    let message = load_with(&settings(folder.path().to_owned())).unwrap_err().to_string();
    assert!(message.contains("champion") && message.contains("model.directory"), "{message}");
}

#[test]
fn a_model_that_answers_its_golden_inputs_differently_is_refused() {
    let (folder, version) = copy();
    spoil_manifest(&version, |manifest| {
        let output = &mut manifest["variants"][0]["golden"][2]["outputs"]["topic"];
        output["probability"] = (output["probability"].as_f64().unwrap() + 0.03).into();
    });
    let error = load_with(&settings(folder.path().to_owned())).unwrap_err();
    assert!(matches!(&error, BundleError::Golden { number: 3, task, .. } if task == "topic"), "{error}");
}

#[test]
fn a_model_under_another_name_is_refused() {
    let (folder, version) = copy();
    spoil_manifest(&version, |manifest| manifest["version"] = "2".into());
    let message = load_with(&settings(folder.path().to_owned())).unwrap_err().to_string();
    assert!(message.contains("says that it is tiny 2, not tiny 1"), "{message}");
}

#[test]
fn a_device_that_cannot_be_had_is_an_error_and_auto_takes_the_cpu() {
    let models = Path::new(ROOT).join("models");
    let cuda = ModelSettings { device: Device::Cuda(0), ..settings(models.clone()) };
    let error = load_with(&cuda).unwrap_err();
    // Without CUDA the device is missing; with it, the tiny model has no variant for it.
    assert!(matches!(error, BundleError::NoDevice { .. } | BundleError::NoVariant { .. }), "{error}");
    assert!(error.to_string().contains("model.device"), "{error}");
    let auto = ModelSettings { device: Device::Auto, ..settings(models) };
    assert_eq!(load_with(&auto).unwrap().device(), "cpu");
}

#[test]
fn a_device_without_a_variant_is_an_error_that_names_those_there_are() {
    let (folder, version) = copy();
    spoil_manifest(&version, |manifest| manifest["variants"][0]["devices"] = serde_json::json!(["cuda"]));
    let message = load_with(&settings(folder.path().to_owned())).unwrap_err().to_string();
    assert!(message.contains("no variant for cpu, only for cuda"), "{message}");
}

#[test]
fn outputs_that_the_manifest_promises_must_be_in_the_graph() {
    let (folder, version) = copy();
    spoil_manifest(&version, |manifest| manifest["tasks"][1]["output"] = "mood".into());
    let message = load_with(&settings(folder.path().to_owned())).unwrap_err().to_string();
    assert!(message.contains("model.fp32.onnx") && message.contains("no output `mood`"), "{message}");
}

#[test]
fn the_bare_sessions_run_every_text() {
    let bundle = tiny();
    let pool = encode(&bundle, &texts());
    let run = bundle.bare(&pool, Combination { sessions: 2, threads: 1, rows: 8 }).unwrap();
    assert_eq!(run.texts, 60);
    assert!(run.seconds > 0.0 && run.texts_per_second() > 0.0);
    let tried = Combination::worth_trying(4);
    assert!(tried.iter().all(|combination| combination.sessions * combination.threads == 4));
}
