//! Promise: what people answer reaches the topic of labels, once each, and nothing that the model does not know.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::trial::{Trial, header, json_of, text};

/// A pipeline that has scored and archived twelve posts.
fn worked_off(name: &str) -> Trial {
    let trial = Trial::new(name);
    trial.done(&["topics"]);
    trial.pile_up(12);
    trial.done(&["run", "--until-end"]);
    trial
}

fn labels(trial: &Trial) -> Vec<Value> {
    trial.read(&trial.own("labels")).iter().map(json_of).collect()
}

/// Runs `bellwether label` in a terminal of its own and types these keys; what it showed.
fn type_keys(trial: &Trial, options: &str, keys: &str) -> String {
    let (command, _) = trial.command(&["label"]);
    let line = format!("{:?} label {:?} {options}", command.get_program(), trial.path("pipeline.toml"));
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = terminal.spawn().expect("script (util-linux) gives a terminal: install it");
    let mut stdin = terminal.stdin.take().unwrap();
    // A key at a time, as a person would: what is typed ahead of a question is lost.
    for key in keys.chars() {
        std::thread::sleep(std::time::Duration::from_millis(700));
        // It may have ended already: what it said tells why.
        drop(stdin.write_all(key.to_string().as_bytes()));
    }
    let done = terminal.wait_with_output().unwrap();
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn a_key_is_an_answer_and_can_be_taken_back() {
    let trial = worked_off("label");
    let said = type_keys(&trial, "--task sentiment --annotator kim --count 5", "1s2u3q");
    assert!(
        said.contains("1 of 3")
            && said.contains("that was the last one")
            && said.contains("1 negative   2 neutral   3 positive"),
        "{said}"
    );
    assert!(said.contains("acknowledged: 2 labels on"), "{said}");
    let labels = labels(&trial);
    let mut told: Vec<(&str, &str)> =
        labels.iter().map(|label| (label["label"].as_str().unwrap(), label["annotator"].as_str().unwrap())).collect();
    told.sort_unstable();
    assert_eq!(told, [("negative", "kim"), ("positive", "kim")], "the neutral one was taken back");
    assert_ne!(labels[0]["post_id"], labels[1]["post_id"]);
    // What is labelled is not asked for again.
    trial.done(&["run", "--until-end"]);
    let again = type_keys(&trial, "--task sentiment --count 50", "q");
    assert!(again.contains("1 of "), "{again}");
    for label in &labels {
        // The id ends its line, and a style ends there.
        let shown = format!("  {}\u{1b}[0m", text(&label["post_id"]));
        assert!(said.contains(&shown), "it was asked for: {said}");
        assert!(!again.contains(&shown), "{again}");
    }
}

#[test]
fn what_was_answered_is_sent_when_somebody_ends_it_with_control_c() {
    let trial = worked_off("label-interrupt");
    let said = type_keys(&trial, "--task sentiment --annotator kim --count 5", "13\u{3}");
    assert!(said.contains("acknowledged: 2 labels on"), "{said}");
    let mut told: Vec<String> = labels(&trial).iter().map(|label| text(&label["label"])).collect();
    told.sort_unstable();
    assert_eq!(told, ["negative", "positive"]);
}

#[test]
fn labels_of_a_file_are_checked_and_sent_with_their_headers() {
    let trial = worked_off("label-import");
    let file = trial.path("labels.jsonl");
    let import = |lines: &str| {
        std::fs::write(&file, lines).unwrap();
        let mut running = trial.start(&["label", "--annotator", "lee", "--import", file.to_str().unwrap()]);
        (running.wait().code().unwrap(), running.said())
    };
    let good = "{\"post_id\": \"post-1\", \"task\": \"sentiment\", \"label\": \"negative\"}\n\n\
                {\"post_id\": \"post-2\", \"task\": \"topic\", \"label\": \"earnings\", \"annotator\": \"sets\", \"at\": \"2026-03-02T10:00:00Z\"}\n";
    let (code, said) = import(good);
    assert!(code == 0 && said.contains("acknowledged: 2 labels"), "{said}");
    let mut sent = trial.read(&trial.own("labels"));
    sent.sort_by_key(|message| header(message, "ce_id"));
    assert!(sent.iter().all(|message| header(message, "ce_type").as_deref() == Some("bellwether.label.v1")));
    let told: Vec<Value> = sent.iter().map(json_of).collect();
    assert_eq!((&told[0]["annotator"], &told[1]["annotator"]), (&"lee".into(), &"sets".into()));
    assert_eq!(told[1]["at"], "2026-03-02T10:00:00Z");
    for (line, why) in [
        ("{\"post_id\": \"a\", \"task\": \"mood\", \"label\": \"sad\"}", "the model has no task `mood`"),
        ("{\"post_id\": \"a\", \"task\": \"sentiment\", \"label\": \"sad\"}", "`sad` is no class of sentiment"),
        ("{\"post_id\": \"a\", \"task\": \"sentiment\"}", "missing field `label`"),
        ("{\"post_id\": \"a\", \"task\": \"sentiment\", \"label\": \"neutral\", \"by\": \"me\"}", "unknown field `by`"),
        ("not json", "expected"),
    ] {
        let good = "{\"post_id\": \"b\", \"task\": \"sentiment\", \"label\": \"neutral\"}";
        let (code, said) = import(&format!("{good}\n{line}\n"));
        assert!(code == 65 && said.contains("labels.jsonl:2: ") && said.contains(why), "{line}: {said}");
    }
    assert_eq!(labels(&trial).len(), 2, "nothing of those was sent");
}

#[test]
fn samples_go_to_annotation_tools_and_their_answers_come_back() {
    let python = std::env::var("BELLWETHER_TEST_PYTHON").expect("BELLWETHER_TEST_PYTHON: see CONTRIBUTING.md");
    let trial = worked_off("label-tools");
    let run = |arguments: &[&str]| {
        let mut running = trial.start(&[&["label", "--annotator", "lee"], arguments].concat());
        (running.wait().code().unwrap(), running.said())
    };
    let path = |name: &str| trial.path(name).to_str().unwrap().to_owned();
    let (code, said) = run(&["--export", &path("none.json")]);
    assert!(code == 64 && said.contains("add --tool"), "{said}");
    let (code, said) = run(&["--export", &path("none.json"), "--tool", "argilla", "--task", "mood"]);
    assert!(code == 64 && said.contains("the model has no task `mood`"), "{said}");
    for (tool, wanted) in [
        ("label-studio", vec!["kim@example.org", "label-studio-7"]),
        ("argilla", vec!["00000000-0000-0000-0000-000000000007"]),
    ] {
        let (export, answered) = (path(&format!("{tool}.json")), path(&format!("{tool}-answered.json")));
        let (code, said) = run(&["--export", &export, "--tool", tool, "--count", "5"]);
        assert!(code == 0 && said.contains("samples in"), "{said}");
        let interface = path(&format!("{tool}.xml"));
        let checked = Command::new(&python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/annotation_tools.py"))
            .args([tool, &export, &answered, &interface])
            .output()
            .unwrap();
        assert!(checked.status.success(), "{tool}: {}", String::from_utf8_lossy(&checked.stderr));
        let before = labels(&trial).len();
        let (code, said) = run(&["--import", &answered, "--tool", tool]);
        assert_eq!(code, 0, "{said}");
        let labels = labels(&trial);
        assert_eq!(labels.len(), before + wanted.len(), "{tool}: who skipped it, or left it, says nothing");
        let exported: Value = serde_json::from_slice(&std::fs::read(&export).unwrap()).unwrap();
        let ids = exported.as_array().unwrap().iter().map(|it| it.pointer("/data/post_id").unwrap_or(&it["id"]));
        let ids: Vec<String> = ids.map(text).collect();
        let mut annotators: Vec<String> = labels[before..].iter().map(|label| text(&label["annotator"])).collect();
        annotators.sort();
        assert_eq!(annotators, wanted);
        for label in &labels[before..] {
            assert!(ids.contains(&text(&label["post_id"])) && label["label"] == "positive", "{label}");
        }
    }
    // A class that the model does not have sends nothing.
    let wrong = std::fs::read_to_string(path("argilla-answered.json")).unwrap().replace("\"positive\"", "\"angry\"");
    std::fs::write(path("wrong.json"), wrong).unwrap();
    let before = labels(&trial).len();
    let (code, said) = run(&["--import", &path("wrong.json"), "--tool", "argilla"]);
    assert!(code == 65 && said.contains("`angry` is no class of sentiment"), "{said}");
    assert_eq!(labels(&trial).len(), before);
}
