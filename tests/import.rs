//! Promise: a classifier that others exported becomes a version that answers as it did there, or is refused with the
//! remedy and leaves nothing behind.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// An export with one head, made by the trainer, with torch's own answers beside it.
fn export(folder: &Path) {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut python = Command::new(format!("{root}/trainer/.venv/bin/python"));
    python.args(["-m", "bellwether_trainer", "one-head", "--out"]).arg(folder);
    let made = python.env("PYTHONPATH", format!("{root}/trainer")).output();
    let made = made.expect("the trainer's environment: run scripts/python-env.sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn run(arguments: &[&str], input: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("input.jsonl");
    std::fs::write(&lines, input).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.args(arguments).stdin(std::fs::File::open(&lines).unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

#[test]
fn a_classifier_with_one_head_answers_as_it_did_where_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let (from, model) = (folder.path().join("export"), folder.path().join("others"));
    export(&from);
    let (from_text, model_text) = (from.to_str().unwrap(), model.to_str().unwrap());
    // Through a link to the folder: the model has the folder's own name.
    std::fs::create_dir(&model).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&model, &link).unwrap();
    let link = link.to_str().unwrap();
    let (code, said) = run(&["model", "import", from_text, "1", "--model", link, "--language", "en"], "");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("sentiment (positive, negative, neutral), at most 48 tokens"), "{said}");

    let told: Value = serde_json::from_slice(&std::fs::read(from.join("answers.json")).unwrap()).unwrap();
    let texts: Vec<String> =
        told.as_array().unwrap().iter().map(|row| json!({ "text": row["text"] }).to_string()).collect();
    let (code, said) = run(&["score", "--model", &format!("{model_text}/1")], &texts.join("\n"));
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.lines().count(), texts.len(), "{said}");
    for (line, row) in said.lines().zip(told.as_array().unwrap()) {
        let scored: Value = serde_json::from_str(line).unwrap();
        for (ours, theirs) in [("positive", "Bullish"), ("negative", "Bearish"), ("neutral", "Neutral")] {
            let found = scored["sentiment"]["probabilities"][ours].as_f64().unwrap();
            let expected = row["answers"][theirs].as_f64().unwrap();
            assert!((found - expected).abs() <= 1e-3, "{ours}: {found}, torch says {expected}: {line}");
        }
    }
    // Labels under the model's own names are understood.
    let labelled = folder.path().join("labelled.jsonl");
    std::fs::write(&labelled, json!({ "text": "Oil rises", "sentiment": "Bullish" }).to_string()).unwrap();
    let data = labelled.to_str().unwrap();
    let (code, said) = run(&["evaluate", "--model", &format!("{model_text}/1"), "--data", data], "");
    assert_eq!(code, 0, "{said}");

    let promote = ["model", "promote", "1", "--model", model_text, "--force", "--reason", "tried by hand"];
    let (code, said) = run(&promote, "");
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&["score", "--model", link], &texts[0]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&["model", "import", from_text, "1", "--model", model_text], "");
    assert!(code == 64 && said.contains("it is there; choose another version"), "{code} {said}");
}

#[test]
fn an_export_that_cannot_be_taken_is_refused_with_the_remedy_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (from, model) = (folder.path().join("export"), folder.path().join("others"));
    export(&from);
    let config = from.join("config.json");
    let import = |more: &[&str]| {
        let (from, model) = (from.to_str().unwrap(), model.to_str().unwrap());
        let (code, said) = run(&[&["model", "import", from, "2", "--model", model], more].concat(), "");
        assert_eq!(code == 0, model_holds(Path::new(model)), "{code}: {said}");
        (code, said)
    };
    let refused = |more: &[&str], words: &str| {
        let (code, said) = import(more);
        assert!(code == 65 && said.contains(words), "{code}: {said}");
    };
    refused(&["--max-tokens", "64"], "it takes 48 tokens, fewer than --max-tokens 64");
    refused(&["--class", "Sideways=neutral"], "has no class `Sideways`");
    refused(&["--class", "Neutral=sideways"], "the labels of `sentiment` must be");
    let (code, said) = import(&["--graph", "other.onnx"]);
    assert!(code == 69 && said.contains("other.onnx: No such file"), "{code}: {said}");

    let graph = std::fs::read(from.join("model.onnx")).unwrap();
    std::fs::write(from.join("model.onnx"), b"no graph").unwrap();
    refused(&[], "it is no ONNX graph");
    std::fs::write(from.join("model.onnx"), graph).unwrap();

    edit(&config, |config| config["problem_type"] = "multi_label_classification".into());
    refused(&[], "only one class a text can be taken");
    edit(&config, |config| {
        config["problem_type"] = Value::Null;
        config["id2label"] = json!({ "0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2" });
    });
    refused(&[], "say it: --class LABEL_0=negative");
    edit(&config, |config| config["id2label"] = json!({ "0": "good", "1": "bad" }));
    let two = ["--class", "good=positive", "--class", "bad=negative"];
    refused(&two, "the labels of `sentiment` must be");

    let tokenizer = std::fs::read(from.join("tokenizer.json")).unwrap();
    std::fs::remove_file(from.join("tokenizer.json")).unwrap();
    refused(&["--task", "topic"], "save the tokeniser as one file");
    std::fs::write(from.join("tokenizer.json"), tokenizer).unwrap();
    refused(&["--task", "topic"], "has 3 classes, the manifest names 2 labels");
    for wrong in [["--max-tokens", "0"], ["--abstain-below", "NaN"], ["--language", "eng"], ["--class", "good"]] {
        let (code, said) = import(&wrong);
        assert!(code == 64 && (said.contains("expected") || said.contains("3..=8192")), "{code}: {said}");
    }
    let (code, said) = import(&["--class", "good=positive", "--class", "good=negative"]);
    assert!(code == 64 && said.contains("names a class twice"), "{code}: {said}");
    edit(&config, |config| config["id2label"] = json!({ "0": "Fed | Banks", "1": "Oil", "2": "LABEL_2" }));
    let (code, said) = import(&["--task", "topic", "--class", "LABEL_2=other"]);
    assert!(code == 0 && said.contains("topic (fed-banks, oil, other)"), "{code}: {said}");
}

/// Whether anything stands in the model's folder.
fn model_holds(model: &Path) -> bool {
    std::fs::read_dir(model).is_ok_and(|mut entries| entries.next().is_some())
}
