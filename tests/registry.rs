//! Promise: `bellwether model` names a champion only when it can answer, and remembers who named it and why.

use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::trial::Models;

fn champion(models: &Models) -> String {
    std::fs::read_to_string(models.tiny().join("champion")).unwrap().trim().to_owned()
}

fn run(models: &Models, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.arg("model").args(arguments).arg("--model").arg(models.tiny()).env("USER", "ada");
    let Output { status, stdout, stderr } = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn a_champion_is_named_and_taken_back() {
    let models = Models::with(&["1", "2"]);
    let (code, said) = run(&models, &["list"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("* 1 ") && said.contains("\n  2 ") && said.contains("version 1 answers"), "{said}");
    let (code, said) = run(&models, &["promote", "2"]);
    assert_eq!(code, 64, "a reason is asked for: {said}");
    let (code, said) = run(&models, &["promote", "2", "--reason", "better on filings", "--device", "cpu"]);
    assert_eq!((code, champion(&models).as_str()), (20, "1"), "nobody judged it: {said}");
    let verdict = |passed: bool, champion: &str| {
        let text =
            format!("{{\"passed\": {passed}, \"champion\": \"{champion}\", \"reasons\": [\"worse on filings\"]}}");
        std::fs::write(models.tiny().join("2/verdict.json"), text).unwrap();
    };
    verdict(false, "1");
    let (code, said) = run(&models, &["promote", "2", "--reason", "better on filings", "--device", "cpu"]);
    assert!(code == 20 && said.contains("the gate refused version 2: worse on filings"), "{said}");
    verdict(true, "0");
    let (code, said) = run(&models, &["promote", "2", "--reason", "better on filings", "--device", "cpu"]);
    assert!(code == 20 && said.contains("judged against version 0, and version 1 answers now"), "{said}");
    verdict(true, "1");
    let (code, said) = run(&models, &["promote", "2", "--reason", "better on filings", "--device", "cpu"]);
    assert_eq!((code, champion(&models).as_str()), (0, "2"), "{said}");
    assert!(said.contains("version 2 is the champion after version 1"), "{said}");
    let (code, said) = run(&models, &["promote", "2", "--force", "--reason", "again", "--device", "cpu"]);
    assert!(code == 64 && said.contains("is the champion already"), "{said}");
    let (code, said) = run(&models, &["rollback", "--reason", "it shouts", "--by", "grace", "--device", "cpu"]);
    assert_eq!((code, champion(&models).as_str()), (0, "1"), "{said}");
    let (code, said) = run(&models, &["show"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("tiny version 1, the champion\n"), "{said}");
    assert!(said.contains("promoted 2 (before: 1) by ada: better on filings"), "{said}");
    assert!(said.contains("rolled back to 1 (before: 2) by grace: it shouts"), "{said}");
    let (_, said) = run(&models, &["show", "2", "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["champion"], &told["manifest"]["version"]), (&false.into(), &"2".into()));
    assert_eq!(told["history"].as_array().unwrap().len(), 2);
    let (code, said) = run(&models, &["promote", "2", "--reason", "it was good", "--device", "cpu"]);
    assert_eq!((code, champion(&models).as_str()), (20, "1"), "the gate let it pass, a person took it back: {said}");
    assert!(said.contains("version 2 was taken back at") && said.contains("add --force"), "{said}");
    // Half a line that a crash left does not stand in the way.
    let history = models.tiny().join("history.jsonl");
    let text = std::fs::read_to_string(&history).unwrap();
    std::fs::write(&history, format!("{text}{{\"at\": \"2026-")).unwrap();
    let again = ["rollback", "--reason", "oops", "--device", "cpu"];
    let (code, said) = run(&models, &again);
    assert_eq!((code, champion(&models).as_str()), (20, "1"), "{said}");
    assert!(said.contains("version 2 was taken back at") && said.contains("by grace: it shouts"), "{said}");
    let (code, said) = run(&models, &[&again[..], &["--force"]].concat());
    assert_eq!((code, champion(&models).as_str()), (0, "2"), "{said}");
}

#[test]
fn a_version_is_tried_beside_the_champion_and_given_up() {
    let models = Models::with(&["1", "2"]);
    let tried = || std::fs::read_to_string(models.tiny().join("challenger")).ok();
    let (code, said) = run(&models, &["challenge", "--reason", "curious"]);
    assert_eq!(code, 64, "a version or --none is asked for: {said}");
    let (code, said) = run(&models, &["challenge", "1", "--reason", "curious", "--device", "cpu"]);
    assert!(code == 64 && said.contains("is the champion already"), "{said}");
    let (code, said) = run(&models, &["challenge", "2", "--reason", "curious", "--device", "cpu"]);
    assert_eq!((code, tried().as_deref()), (0, Some("2\n")), "{said}");
    let (_, said) = run(&models, &["list"]);
    assert!(said.contains("\n? 2 ") && said.contains("version 2 is tried beside it"), "{said}");
    let (code, said) = run(&models, &["challenge", "--none", "--reason", "seen enough", "--by", "grace"]);
    assert_eq!((code, tried(), champion(&models).as_str()), (0, None, "1"), "{said}");
    let (code, said) = run(&models, &["rollback", "--reason", "try"]);
    assert!(
        code == 64 && said.contains("does not say who answered before"),
        "a trial is no change of champion: {said}"
    );
    let (_, said) = run(&models, &["show"]);
    assert!(said.contains("tried 2 beside 1 by ada: curious"), "{said}");
    assert!(said.contains("tried none beside 1 by grace: seen enough"), "{said}");
}

#[test]
fn a_version_that_cannot_answer_is_refused_and_the_old_one_stays() {
    let models = Models::with(&["1", "2", "3"]);
    let graph = models.tiny().join("2/model.fp32.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(graph, bytes).unwrap();
    std::fs::rename(models.tiny().join("3"), models.tiny().join("4")).unwrap();
    std::fs::write(models.tiny().join("note.txt"), "no version").unwrap();
    std::fs::create_dir(models.tiny().join("5")).unwrap();
    for (version, code, reason) in [
        ("2", 69, "was altered"),
        ("4", 69, "says that it is tiny 3"),
        ("5", 69, "there is no model"),
        ("9", 64, "there is no version `9`"),
        ("../1", 64, "there is no version `../1`"),
    ] {
        let (found, said) = run(&models, &["promote", version, "--force", "--reason", "try", "--device", "cpu"]);
        assert_eq!((found, champion(&models).as_str()), (code, "1"), "{version}: {said}");
        assert!(said.contains(reason), "{version}: {said}");
    }
    let (code, said) = run(&models, &["rollback", "--reason", "try"]);
    assert!(code == 64 && said.contains("does not say who answered before version 1"), "{said}");
    assert!(!models.tiny().join("history.jsonl").exists(), "nothing happened, and nothing is told");
    let (_, said) = run(&models, &["list"]);
    assert!(said.contains("there is no model at"), "a folder that is no version says why: {said}");
}

#[test]
fn a_graph_or_a_file_that_a_stranger_made_is_refused_before_it_runs() {
    let root = env!("CARGO_MANIFEST_DIR");
    let made = tempfile::tempdir().unwrap();
    let mut python = Command::new(format!("{root}/trainer/.venv/bin/python"));
    let graph = format!("{root}/models/tiny/1/model.fp32.onnx");
    let done = python.arg(format!("{root}/tests/strange_graphs.py")).arg(&graph).arg(made.path()).output();
    let done = done.expect("the trainer's environment: run scripts/python-env.sh");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let sha256 = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let old = sha256(&std::fs::read(&graph).unwrap());
    for (kind, opset, reason) in [
        ("circle", "17", "cannot be used"),
        ("future", "17", "it is made of operator set 999, the manifest says 17"),
        ("future", "999", "cannot be used"),
        ("foreign", "17", "cannot be used"),
        ("outside", "17", "its weights lie in a file beside it"),
        ("endless", "17", "which may never end"),
    ] {
        let models = Models::with(&["1", "2"]);
        let bytes = std::fs::read(made.path().join(format!("{kind}.onnx"))).unwrap();
        std::fs::write(models.tiny().join("2/model.fp32.onnx"), &bytes).unwrap();
        models.edit("2", &old, &sha256(&bytes));
        models.edit("2", "\"opset\": 17", &format!("\"opset\": {opset}"));
        let (code, said) = run(&models, &["promote", "2", "--force", "--reason", "try", "--device", "cpu"]);
        assert_eq!((code, champion(&models).as_str()), (69, "1"), "{kind}: {said}");
        assert!(said.contains("model.fp32.onnx cannot be used") && said.contains(reason), "{kind}: {said}");
    }
    // What has no end is not read.
    for file in ["tokenizer.json", "model.fp32.onnx", "reference.json"] {
        let models = Models::with(&["1", "2"]);
        let path = models.tiny().join("2").join(file);
        drop(std::fs::remove_file(&path));
        std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        let (code, said) = run(&models, &["promote", "2", "--force", "--reason", "try", "--device", "cpu"]);
        assert_eq!((code, champion(&models).as_str()), (69, "1"), "{file}: {said}");
        assert!(said.contains(file) && said.contains("it is no file"), "{file}: {said}");
    }
    let models = Models::with(&["1"]);
    std::fs::remove_file(models.tiny().join("champion")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", models.tiny().join("champion")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", models.tiny().join("challenger")).unwrap();
    let (_, said) = run(&models, &["list"]);
    assert!(said.contains("no version answers"), "{said}");
}
