//! Promise: one command retrains the model, and cannot make things worse.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bellwether::archive::SegmentName;
use bellwether::event::{Label, Sample};
use serde_json::Value;

use crate::archive::{at, name, sample, settings, store};
use crate::trial::{Models, wait_for};

/// What makes a story bad, good or neither, in words that the tiny model's tokeniser knows; the rest says nothing.
const MOODS: [(&str, [&str; 4]); 3] = [
    ("negative", ["falls", "drops", "misses", "cuts"]),
    ("positive", ["rises", "jumps", "beats", "raises"]),
    ("neutral", ["market", "deal", "court", "analyst"]),
];
const FIRMS: [&str; 8] = ["Aurora", "Brookwater", "Cinder", "Copper", "Cobalt", "Cedar", "Coral", "Delta"];
const THINGS: [&str; 7] = ["bank", "mills", "rail", "foods", "mines", "air", "steel"];

fn story(number: usize) -> (String, &'static str) {
    let (mood, verbs) = MOODS[number % 3];
    let (firm, thing) = (FIRMS[number / 3 % 8], THINGS[number / 24 % 7]);
    (format!("{firm} {thing} {} on day {number}", verbs[number / 5 % 4]), mood)
}

/// An archive of `count` stories, labelled by what `answer` says of each, and as many without a label.
fn archive(folder: &Path, count: usize, answer: impl Fn(usize, &'static str) -> &'static str) {
    let store = store(folder);
    let post = |number: usize| -> Sample {
        let mut sample = sample(number as i64);
        sample.scored.text = story(number).0;
        sample.scored.published_at = at("2026-03-02T00:00:00Z").plus(Duration::from_secs(60 * number as u64));
        sample
    };
    let samples: Vec<Sample> = (0..2 * count).map(post).collect();
    store.publish_samples(&name(0, 2 * count as i64), &samples.iter().collect::<Vec<_>>()).unwrap();
    label(folder, count, 0, answer);
}

/// Labels the first `count` stories, for the `time`-th time.
fn label(folder: &Path, count: usize, time: i64, answer: impl Fn(usize, &'static str) -> &'static str) {
    let label = |number: usize| Label {
        post_id: Arc::from(format!("post-{number}")),
        task: "sentiment".into(),
        label: answer(number, story(number).1).into(),
        annotator: "kim".into(),
        at: at("2026-03-05T00:00:00Z").plus(Duration::from_secs(time.unsigned_abs())),
        note: None,
    };
    let labels: Vec<Label> = (0..count).map(label).collect();
    let from = time * count as i64;
    let name = SegmentName { topic: "market.labels".into(), partition: 0, ..name(from, from + count as i64) };
    store(folder).publish_labels(&name, &labels.iter().collect::<Vec<_>>()).unwrap();
}

/// Runs `bellwether retrain --json`; its exit code, what it printed and its log.
fn retrain(folder: &Path, models: &Models, extra: &str) -> (i32, Value, String) {
    let done = command(folder, models, extra).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let last = String::from_utf8_lossy(&done.stdout).lines().last().map(str::to_owned).unwrap_or_default();
    (done.status.code().unwrap(), serde_json::from_str(&last).unwrap_or(Value::Null), said)
}

fn command(folder: &Path, models: &Models, extra: &str) -> Command {
    let file = folder.join("pipeline.toml");
    let (url, directory) = (settings(folder).url, models.tiny().parent().unwrap().display().to_string());
    let trainer = concat!(env!("CARGO_MANIFEST_DIR"), "/trainer");
    let text = format!(
        "name = \"market\"\n[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n[[source]]\ntopic = \"posts\"\nkind = \"news\"\n\
         [model]\ndirectory = \"{directory}\"\nname = \"tiny\"\ndevice = \"cpu\"\n[index]\nnear_copy = 1.0\n\
         [archive]\nurl = \"{url}\"\n[retrain]\ntrainer = \"{trainer}\"\nlabels_min = 100\n{extra}\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.arg("retrain").arg(&file).arg("--json");
    command
}

fn champion(models: &Models) -> String {
    std::fs::read_to_string(models.tiny().join("champion")).unwrap().trim().to_owned()
}

/// The tiny model knows nothing: whatever is learnt is a gain, and what it answered is nothing to be kept.
const EAGER: &str = "epochs = 50\npatience = 50\nunlabelled_max = 0\nlearning_rate = 6e-3\nhead_learning_rate = 1e-2\ncalibration_rise_max = 1.0\ngolden_changed_max = 1.0\nlatency_ratio_max = 100.0";

#[test]
fn a_model_that_learnt_from_the_labels_is_promoted_and_one_that_learnt_nonsense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let models = Models::with(&["1"]);
    archive(folder.path(), 720, |_, mood| mood);
    let (code, told, said) = retrain(folder.path(), &models, EAGER);
    assert_eq!((code, champion(&models).as_str()), (0, "2"), "{told} {said}");
    assert_eq!((&told["ending"], &told["version"], &told["promoted"]), (&"decided".into(), &"2".into(), &true.into()));
    assert!(told["gains"][0]["at_least"].as_f64().unwrap() > 0.0, "{told}");
    let run = folder.path().join("retrain/2");
    let page = std::fs::read_to_string(run.join("verdict.md")).unwrap();
    assert!(page.starts_with("# tiny version 2 passes the gate"), "{page}");
    let html = std::fs::read_to_string(run.join("verdict.html")).unwrap();
    assert!(html.matches("<svg").count() >= 3 && html.ends_with("</html>\n"), "{html}");
    assert!(run.join("figures.json").is_file());
    let history = std::fs::read_to_string(models.tiny().join("history.jsonl")).unwrap();
    assert!(history.contains("retrained: sentiment accuracy +"), "{history}");
    // As if it had been killed before it named the version: that is made up for, and nothing is trained again.
    std::fs::write(models.tiny().join("champion"), "1\n").unwrap();
    std::fs::remove_file(models.tiny().join("history.jsonl")).unwrap();
    let (code, told, said) = retrain(folder.path(), &models, EAGER);
    assert_eq!((code, champion(&models).as_str(), &told["promoted"]), (0, "2", &true.into()), "{told} {said}");
    assert_eq!((&told["ending"], folder.path().join("retrain/3").exists()), (&"nothing-new".into(), false), "{told}");

    let nonsense = tempfile::tempdir().unwrap();
    archive(nonsense.path(), 240, |number, _| MOODS[number * 7 / 5 % 3].0);
    let (code, told, said) = retrain(nonsense.path(), &models, &format!("method = \"lora\"\nrank = 2\n{EAGER}"));
    assert_eq!((code, champion(&models).as_str()), (20, "2"), "{told} {said}");
    assert_eq!(told["promoted"], false);
    let page = std::fs::read_to_string(nonsense.path().join("retrain/3/verdict.md")).unwrap();
    assert!(page.starts_with("# tiny version 3 is refused") && page.contains("Why not:"), "{page}");
    let written = std::fs::read_to_string(models.tiny().join("3/manifest.json")).unwrap();
    assert!(written.contains("\"method\": \"lora\"") && written.contains("\"rank\": 2"), "{written}");
    let verdict = std::fs::read_to_string(models.tiny().join("3/verdict.json")).unwrap();
    assert!(verdict.contains("\"passed\": false"), "{verdict}");
    // What training left is needed of who may be trained on alone: 90 MB each, of the model that ships.
    let has_checkpoint = |version: &str| models.tiny().join(version).join("checkpoint.pt").is_file();
    assert!(has_checkpoint("2") && !has_checkpoint("3"));
    let left = std::fs::read_dir(run.join("training")).unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<_> = left.filter(|path| path.extension().is_some_and(|extension| extension == "pt")).collect();
    assert!(left.is_empty(), "{left:?}");

    // What a person takes back, a timer does not bring back with the same labels.
    let model = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        command.arg("model").args(arguments).args(["--reason", "it shouts", "--device", "cpu", "--model"]);
        let done = command.arg(models.tiny()).output().unwrap();
        (done.status.code().unwrap(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert_eq!(model(&["rollback"]).0, 0);
    let (code, told, said) = retrain(folder.path(), &models, EAGER);
    assert_eq!((code, champion(&models).as_str(), &told["ending"]), (22, "1", &"nothing-new".into()), "{told} {said}");
    assert_eq!((&told["version"], &told["passed"]), (&"2".into(), &true.into()), "{told}");
    assert_eq!(told["page"], run.join("verdict.html").display().to_string());
    assert!(!folder.path().join("retrain/4").exists(), "nothing was begun");
    // Nor by another recipe.
    let (code, told, said) = retrain(folder.path(), &models, &EAGER.replace("patience = 50", "patience = 49"));
    assert_eq!((code, champion(&models).as_str(), &told["promoted"]), (20, "1", &false.into()), "{told} {said}");
    let why = told["withheld"].as_str().unwrap();
    assert!(why.starts_with("it learnt from the rows of version 2, which was taken back at "), "{why}");
    assert!(why.contains("bellwether model promote 4 --force --reason TEXT"), "{why}");
    assert!(told["notes"][0].as_str().unwrap().contains("carries no regression set"), "{told}");
    let page = std::fs::read_to_string(folder.path().join("retrain/4/verdict.md")).unwrap();
    assert!(page.contains(why) && page.contains("Note: the champion carries no regression set"), "{page}");
    let has_checkpoint = models.tiny().join("4/checkpoint.pt").is_file();
    assert!(has_checkpoint, "somebody may name it all the same");
    let (code, said) = model(&["promote", "4"]);
    assert!(code == 20 && said.contains("the gate refused version 4"), "{said}");
}

#[test]
fn too_few_labels_and_a_trainer_that_is_not_there_are_said_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let models = Models::with(&["1"]);
    archive(folder.path(), 40, |_, mood| mood);
    let (code, told, _) = retrain(folder.path(), &models, "");
    assert_eq!(code, 21);
    assert_eq!((&told["ending"], &told["have"], &told["wanted"]), (&"too-few-labels".into(), &40.into(), &150.into()));
    assert_eq!(told["classes"]["sentiment"]["positive"], 13, "{told}");
    assert!(!folder.path().join("retrain/2").exists(), "nothing was begun");
    let unlabelled = tempfile::tempdir().unwrap();
    store(unlabelled.path()).publish_samples(&name(0, 1), &[&sample(0)]).unwrap();
    let (code, told, said) = retrain(unlabelled.path(), &models, "");
    assert_eq!((code, &told["have"]), (21, &0.into()), "nobody has labelled anything yet: {said}");
    let whole = tempfile::tempdir().unwrap();
    archive(whole.path(), 160, |_, mood| mood);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    std::fs::copy(folder.path().join("pipeline.toml"), whole.path().join("pipeline.toml")).unwrap();
    let done = command
        .arg("retrain")
        .arg(whole.path().join("pipeline.toml"))
        .env("BELLWETHER__ARCHIVE__URL", settings(whole.path()).url)
        .env("BELLWETHER__RETRAIN__TRAINER", whole.path().join("nowhere"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(69), "{said}");
    assert!(said.contains("there is no trainer's environment at") && said.contains("scripts/python-env.sh"), "{said}");
    assert_eq!(champion(&models), "1");
}

#[test]
fn a_run_that_is_killed_takes_its_trainer_along_and_goes_on_later_and_nobody_else_retrains_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let models = Models::with(&["1"]);
    archive(folder.path(), 240, |_, mood| mood);
    let run = folder.path().join("retrain/2");
    let mut first = command(folder.path(), &models, EAGER).spawn().unwrap();
    wait_for("the first epoch", || run.join("training/state.pt").is_file().then_some(()));
    let (code, _, said) = retrain(folder.path(), &models, EAGER);
    assert!(code == 69 && said.contains("another retraining is under way"), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
    wait_for("its trainer ends", || {
        let processes = Command::new("ps").args(["-eww", "-o", "args="]).output().unwrap().stdout;
        (!String::from_utf8_lossy(&processes).contains(run.to_str().unwrap())).then_some(())
    });
    assert_eq!(champion(&models), "1");
    let (code, told, said) = retrain(folder.path(), &models, EAGER);
    assert!([0, 20].contains(&code) && told["version"] == "2", "{code} {told} {said}");
    let log = std::fs::read_to_string(run.join("training/log.jsonl")).unwrap();
    assert!(log.contains("\"resumed\""), "{log}");
}

#[test]
fn labels_that_the_trainer_refuses_are_read_anew_when_there_are_more() {
    let folder = tempfile::tempdir().unwrap();
    let models = Models::with(&["1"]);
    archive(folder.path(), 160, |_, _| "neutral");
    let (code, _, said) = retrain(folder.path(), &models, "epochs = 1");
    assert!(code == 65 && said.contains("the next run looks at the labels anew"), "{code} {said}");
    label(folder.path(), 160, 1, |_, mood| mood);
    let (code, told, said) = retrain(folder.path(), &models, "epochs = 1");
    assert_eq!((code, &told["ending"], &told["version"]), (20, &"decided".into(), &"2".into()), "{told} {said}");
}
