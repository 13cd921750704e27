//! Promise: what people labelled becomes a data set that learns from the past, is judged by the newest, and opens elsewhere.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bellwether::archive::{ArchiveError, SegmentName, Shelf};
use bellwether::event::{Action, Label, Sample};
use bellwether::model::ModelSettings;
use bellwether::onnx::manifest;
use bellwether::retrain::{DatasetError, DatasetPlan, DatasetReport, LABELLED_MAX, make_dataset};
use serde_json::Value;

use crate::archive::{at, name, sample, settings, store};

/// Stories without a word in common.
const STORIES: [&str; 10] = [
    "Aurora Mills shares plunge",
    "Brookwater beats every estimate",
    "oil steadies above eighty dollars",
    "central bank keeps rates unchanged",
    "regulator fines big lender over controls",
    "chipmaker lifts guidance after record quarter",
    "airline cancels hundreds of flights",
    "retailer opens ninety stores abroad",
    "drug trial fails its main goal",
    "miners strike enters second week",
];

/// Post `number`, published so many hours after the first.
fn post(number: i64, text: &str) -> Sample {
    let mut sample = sample(number);
    sample.scored.published_at = sample.scored.published_at.plus(std::time::Duration::from_secs(3_600 * number as u64));
    sample.scored.text = text.to_owned();
    sample
}

fn label(post: i64, task: &str, label: &str, annotator: &str, minute: u64) -> Label {
    let [post_id, task, label, annotator] =
        [format!("post-{post}"), task.into(), label.into(), annotator.into()].map(Arc::from);
    let at = at("2026-03-05T09:00:00Z").plus(std::time::Duration::from_secs(60 * minute));
    Label { post_id, task, label, annotator, at, note: None }
}

fn archive(folder: &Path, samples: &[Sample], labels: &[Label]) {
    let store = store(folder);
    // Two files, so that a later state of a post may stand in another one.
    let half = samples.len() / 2;
    for (from, part) in [(0, &samples[..half]), (half, &samples[half..])] {
        let (from, until) = (from as i64, (from + part.len()) as i64);
        if until > from {
            store.publish_samples(&name(from, until), &part.iter().collect::<Vec<_>>()).unwrap();
        }
    }
    if !labels.is_empty() {
        let name = SegmentName { topic: "market.labels".into(), partition: 0, ..name(0, labels.len() as i64) };
        store.publish_labels(&name, &labels.iter().collect::<Vec<_>>()).unwrap();
    }
}

fn plan() -> DatasetPlan {
    let model = ModelSettings {
        directory: concat!(env!("CARGO_MANIFEST_DIR"), "/models").into(),
        name: "tiny".to_owned(),
        ..ModelSettings::default()
    };
    DatasetPlan {
        pipeline: "market".into(),
        tasks: manifest(&model).unwrap().tasks,
        near_copy: 0.6,
        validation_share: 0.2,
        test_share: 0.2,
        labelled_max: LABELLED_MAX,
        unlabelled_max: 3,
        seed: 7,
    }
}

fn make(folder: &Path, plan: &DatasetPlan, out: &Path) -> Result<DatasetReport, DatasetError> {
    make_dataset(&Shelf::open(&settings(folder))?, plan, out, at("2026-03-06T00:00:00Z"))
}

fn rows(out: &Path, file: &str) -> Vec<Value> {
    let lines = std::fs::read_to_string(out.join(file)).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Ten labelled posts, one of them an RT of the first, and seven without a label.
fn labelled(folder: &Path) {
    let mut samples: Vec<Sample> = (0..10).map(|n| post(n, STORIES[n as usize])).collect();
    samples[9].scored.text = format!("RT {}", STORIES[0]);
    samples.extend((10..17).map(|n| post(n, &format!("nobody labelled number {n} {}", n * 37))));
    let mut labels: Vec<Label> = (0..10).map(|n| label(n, "sentiment", "neutral", "kim", n as u64)).collect();
    labels.push(label(0, "sentiment", "negative", "kim", 30));
    labels.push(label(0, "topic", "stock-movement", "kim", 31));
    labels.push(label(1, "sentiment", "positive", "lee", 32));
    labels.push(label(2, "mood", "sad", "kim", 33));
    labels.push(label(3, "sentiment", "sad", "kim", 34));
    labels.push(label(77, "sentiment", "neutral", "kim", 35));
    archive(folder, &samples, &labels);
}

#[test]
fn labelled_samples_become_files_cut_by_time_with_near_copies_on_one_side() {
    let folder = tempfile::tempdir().unwrap();
    labelled(folder.path());
    let out = folder.path().join("set");
    let report = make(folder.path(), &plan(), &out).unwrap();
    let [train, validation, test] =
        ["train", "validation", "test"].map(|side| rows(&out, &format!("data/{side}.jsonl")));
    // Post 9 is the newest, and a copy of post 0.
    assert_eq!([train.len(), validation.len(), test.len()], [7, 2, 1]);
    assert_eq!(report.moved, 1);
    assert!(train.iter().any(|row| row["id"] == "post-9"));
    assert_eq!(test[0]["id"], "post-8");
    let first = &train[0];
    assert_eq!((&first["id"], &first["text"]), (&"post-0".into(), &STORIES[0].into()));
    assert_eq!((&first["sentiment"], &first["topic"]), (&"negative".into(), &"stock-movement".into()), "the latest");
    assert_eq!(first["sample_probability"], 0.25);
    assert_eq!(train[1]["sentiment"], "positive", "of another person, and later");
    assert!(train[1]["topic"].is_null());
    assert_eq!((report.labels.read, report.labels.superseded), (16, 1));
    assert_eq!((report.labels.unknown_task, report.labels.unknown_class), (1, 1));
    assert_eq!(report.unknown_posts, (1, vec!["post-77".into()]));
    let agreement = &report.agreement["sentiment"];
    assert_eq!((agreement.shared, agreement.agreed), (1, 0));
    let disputed = rows(&out, "disagreements.jsonl");
    assert_eq!(disputed.len(), 1);
    assert_eq!((&disputed[0]["id"], &disputed[0]["counts"]), (&"post-1".into(), &"positive".into()));
    assert_eq!(disputed[0]["answers"].as_array().unwrap().len(), 2);
    let others = rows(&out, "unlabelled.jsonl");
    assert_eq!((others.len(), report.unlabelled), (3, 3));
    assert!((others[0]["sentiment_probabilities"]["positive"].as_f64().unwrap() - 0.7).abs() < 1e-6);
    assert_eq!(others[0]["topic_probabilities"], serde_json::json!({}), "the model has no topic `merger`");
    let said: DatasetReport = serde_json::from_slice(&std::fs::read(out.join("dataset.json")).unwrap()).unwrap();
    assert_eq!(said, report);
    assert_eq!(said.splits["train"].classes["sentiment"]["neutral"], 5);
    let told = report.warnings();
    assert!(told.iter().any(|line| line.contains("disputed")) && told.len() == 4, "{told:?}");
}

#[test]
fn another_seed_keeps_other_samples_and_the_same_seed_the_same() {
    let folder = tempfile::tempdir().unwrap();
    labelled(folder.path());
    let kept = |seed: u64, name: &str| {
        let out = folder.path().join(name);
        make(folder.path(), &DatasetPlan { seed, ..plan() }, &out).unwrap();
        rows(&out, "unlabelled.jsonl").into_iter().map(|row| row["id"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kept(7, "one"), kept(7, "two"));
    assert!((8..12).any(|seed| kept(seed, &format!("of-{seed}")) != kept(7, &format!("beside-{seed}"))));
}

#[test]
fn of_too_many_labelled_posts_some_are_left_out_by_a_hash_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    labelled(folder.path());
    let made = |labelled_max: usize, name: &str| {
        let out = folder.path().join(name);
        let report = make(folder.path(), &DatasetPlan { labelled_max, ..plan() }, &out).unwrap();
        let sides = ["train", "validation", "test"].map(|side| rows(&out, &format!("data/{side}.jsonl")));
        let ids: std::collections::BTreeSet<String> = sides.iter().flatten().map(|row| row["id"].to_string()).collect();
        (report, ids)
    };
    let (all, everything) = made(11, "all");
    assert_eq!((all.labels.beyond, everything.len()), (0, 10), "the eleventh is not in the archive");
    let (few, six) = made(6, "few");
    let beyond = few.labels.beyond;
    assert!((5..=7).contains(&beyond), "five posts, two of which have two labels: {beyond}");
    assert_eq!(six.len() + few.unknown_posts.0, 6);
    assert!(
        few.warnings().iter().any(|it| it.starts_with(&format!("{beyond} labels are left out"))),
        "{:?}",
        few.warnings()
    );
    let (_, four) = made(4, "fewer");
    assert!(four.is_subset(&six), "who is kept among fewer is kept among more");
}

#[test]
fn of_a_post_its_latest_state_counts_and_a_deleted_one_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut samples: Vec<Sample> = (0..4).map(|n| post(n, STORIES[n as usize])).collect();
    let later = |number: i64, text: &str, action: Action| {
        let mut sample = post(number, text);
        sample.scored.revision = sample.scored.revision.plus(std::time::Duration::from_secs(60));
        sample.scored.action = action;
        sample
    };
    // The later state stands before the earlier one.
    samples.insert(0, later(1, "Brookwater misses after all", Action::Updated));
    samples.push(later(2, "", Action::Deleted));
    let labels: Vec<Label> = (0..4).map(|n| label(n, "sentiment", "neutral", "kim", 1)).collect();
    archive(folder.path(), &samples, &labels);
    let out = folder.path().join("set");
    let report = make(folder.path(), &DatasetPlan { validation_share: 0.0, test_share: 0.0, ..plan() }, &out).unwrap();
    let texts: Vec<String> = rows(&out, "data/train.jsonl").iter().map(|row| row["text"].to_string()).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts.contains(&"\"Brookwater misses after all\"".to_owned()), "{texts:?}");
    assert_eq!(report.left_out, 1);
    assert!(report.warnings()[0].contains("all training rows of sentiment are `neutral`"), "{:?}", report.warnings());
}

#[test]
fn where_nothing_can_be_learnt_it_says_so_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("set");
    let missing = make(&folder.path().join("nowhere"), &plan(), &out).unwrap_err();
    assert!(matches!(missing, DatasetError::Archive(ArchiveError::NotThere(_))), "{missing}");
    archive(folder.path(), &[post(0, STORIES[0])], &[]);
    let none = make(folder.path(), &plan(), &out).unwrap_err();
    assert!(matches!(none, DatasetError::NoLabels { read: 0, unknown: 0 }), "{none}");
    let other = tempfile::tempdir().unwrap();
    archive(other.path(), &[post(0, STORIES[0])], &[label(5, "sentiment", "neutral", "kim", 1)]);
    let elsewhere = make(other.path(), &plan(), &out).unwrap_err();
    assert!(matches!(elsewhere, DatasetError::NoneInArchive { labelled: 1, samples: 1 }), "{elsewhere}");
    let torn = folder.path().join("labels/dt=2026-03-02");
    std::fs::create_dir_all(&torn).unwrap();
    std::fs::write(torn.join("market.labels+0+0.parquet"), b"PAR1 and no more").unwrap();
    let torn = make(folder.path(), &plan(), &out).unwrap_err();
    assert!(torn.to_string().contains("market.labels+0+0.parquet is not a segment"), "{torn}");
    assert!(!out.exists());
    labelled(tempfile::tempdir().unwrap().path());
    let full = tempfile::tempdir().unwrap();
    labelled(full.path());
    make(full.path(), &plan(), &out).unwrap();
    let taken = make(full.path(), &plan(), &out).unwrap_err();
    assert!(matches!(taken, DatasetError::Taken(_)), "{taken}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".set")), "{left:?}");
}

#[test]
fn it_opens_in_hugging_face_datasets_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    labelled(folder.path());
    let out = folder.path().join("set");
    make(folder.path(), &plan(), &out).unwrap();
    let python = std::env::var("BELLWETHER_TEST_PYTHON")
        .unwrap_or_else(|_| panic!("BELLWETHER_TEST_PYTHON names no Python with datasets: run make test"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dataset_reader.py");
    let output = Command::new(python).arg(script).arg(&out).env("HF_HUB_OFFLINE", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["rows"], serde_json::json!({ "train": 7, "validation": 2, "test": 1 }));
    assert_eq!(found["first"], STORIES[0]);
    let types = &found["types"];
    assert_eq!((&types["sentiment"], &types["sample_probability"]), (&"string".into(), &"float64".into()), "{types}");
}

#[test]
fn the_command_reads_the_archive_that_the_pipeline_file_names() {
    let folder = tempfile::tempdir().unwrap();
    labelled(folder.path());
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
    let file = folder.path().join("pipeline.toml");
    let source = "[[source]]\ntopic = \"posts\"\nkind = \"news\"";
    let url = settings(folder.path()).url;
    let text = format!(
        "name = \"market\"\n{source}\n[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n[model]\ndirectory = \"{models}\"\nname = \"tiny\"\n[archive]\nurl = \"{url}\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        command.arg("dataset").arg(&file).args(arguments).current_dir(folder.path()).output().unwrap()
    };
    let done = run(&["--out", "set", "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["splits"]["train"]["rows"], 7);
    let shown = run(&["--out", "other", "--test-share", "0.2", "--validation-share", "0.2"]);
    let said = String::from_utf8(shown.stdout).unwrap();
    assert!(said.contains("  train           7 rows, 2026-03-02 to 2026-03-02"), "{said}");
    assert!(said.contains("    sentiment neutral 5, negative 1, positive 1"), "{said}");
    assert!(said.contains("warning: 1 labelled posts are not in the archive"), "{said}");
    let taken = run(&["--out", "set"]);
    assert_eq!(taken.status.code(), Some(64));
    let share = run(&["--out", "more", "--test-share", "2"]);
    assert_eq!(share.status.code(), Some(64));
}
