//! Promise: `bellwether explain` says which words moved the shipped model's answer.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const TEXT: &str = "Oak & Sons cuts its outlook after a weak quarter, shares plunge 12%";

fn explain(arguments: &[&str], input: &str, colours: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.arg("explain").args(["--device", "cpu"]).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR").env("CLICOLOR_FORCE", colours);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[test]
fn the_runtime_reports_nothing_to_its_maker() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.args(["explain", "--device", "cpu", TEXT]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // As a user starts it, on no build server: there it is silent by itself.
    let runtime = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH is set by `make test`");
    command.env_clear().env("HOME", home.path()).env("ORT_DYLIB_PATH", runtime);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("negative"));
    // What it would report it keeps there until it is sent, beside an id of this machine.
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_words_that_moved_an_answer_are_named_for_programs() {
    let told: Value = serde_json::from_str(&explain(&["--json", TEXT], "", "0")).unwrap();
    assert_eq!(told["sentiment"]["label"], "negative");
    assert_eq!(told["model"]["name"], "finance-en");
    let words = told["words"].as_array().unwrap();
    let spelt: Vec<&str> = words.iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert_eq!(spelt, TEXT.split_whitespace().collect::<Vec<_>>());
    for word in words {
        let place = |name: &str| usize::try_from(word[name].as_u64().unwrap()).unwrap();
        assert_eq!(&told["text"].as_str().unwrap()[place("start")..place("end")], word["word"].as_str().unwrap());
    }
    let gloomiest = words.iter().min_by(|one, other| number(&one["sentiment"]).total_cmp(&number(&other["sentiment"])));
    let gloomiest = gloomiest.unwrap()["word"].as_str().unwrap();
    assert!(["cuts", "weak", "plunge", "outlook"].contains(&gloomiest), "{gloomiest}");
    // What a word is said to do is what a separate question finds without it.
    let place = spelt.iter().position(|word| *word == gloomiest).unwrap();
    let without = TEXT.replacen(&format!("{gloomiest} "), "", 1);
    assert_ne!(without, TEXT);
    let asked: Value = serde_json::from_str(&explain(&["--json", &without], "", "0")).unwrap();
    let lost = number(&told["log_odds"]["sentiment"]) - number(&asked["log_odds"]["sentiment"]);
    let share = number(&words[place]["sentiment"]);
    assert!(share < -0.05 && (share - lost).abs() < 1e-2, "{share} is said, {lost} is found");
    let sum: f64 = words.iter().map(|word| number(&word["sentiment"])).sum();
    assert!((sum - number(&told["log_odds"]["words_together"])).abs() < 1e-2);
    assert!(number(&told["log_odds"]["sentiment"]) < 0.0);
}

#[test]
fn a_person_sees_colours_in_a_terminal_and_a_table_everywhere() {
    let plain = explain(&["-"], TEXT, "0");
    assert!(plain.starts_with("sentiment  negative 0.9"), "{plain}");
    assert!(plain.contains(&format!("\n{TEXT}\n")) && plain.contains("word "), "{plain}");
    let coloured = explain(&[TEXT], "", "1");
    assert!(coloured.contains("\u{1b}[31m"), "some word is red: {coloured}");
    let bare: Vec<&str> = coloured
        .split('\u{1b}')
        .map(|part| part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |(_, rest)| rest))
        .collect();
    assert_eq!(bare.concat(), plain);
    let empty = explain(&["-"], "\n", "0");
    assert_eq!(empty, "sentiment  none (empty-text)\ntopic      none (empty-text)\n");
}
