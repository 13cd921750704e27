//! Promise: the house keeps its floors. The table below is the law, `rules` applies it to every file of `src/`,
//! and `snippets` shows of each rule that it can fail.

mod rules;
mod snippets;
mod source;

use source::Source;
use std::path::{Path, PathBuf};

/// One room: a folder or a file directly below `src/`.
pub struct Room {
    name: &'static str,
    floor: u8,
    /// Rooms of its own floor that it may use as well; every other room must be on a floor below.
    also: &'static [&'static str],
}

const fn room(name: &'static str, floor: u8, also: &'static [&'static str]) -> Room {
    Room { name, floor, also }
}

/// The floors. A room uses the floors below it and what is named here, nothing else.
pub const ROOMS: &[Room] = &[
    // 4, entry
    room("main", 4, &["cli"]),
    room("cli", 4, &[]),
    // 3, assembly. Settings live beside what they configure, so config knows the rooms and they do not know it.
    room("config", 3, &["pipeline", "retrain"]),
    room("pipeline", 3, &[]),
    room("retrain", 3, &[]),
    // 2, adapters: each owns an outside library, none knows another
    room("kafka", 2, &[]),
    room("onnx", 2, &[]),
    room("archive", 2, &[]),
    room("memory", 2, &[]),
    room("web", 2, &[]),
    room("telemetry", 2, &[]),
    // 1, logic: pure and synchronous
    room("codec", 1, &["clean"]), // what is decoded is cut to size on the way in
    room("clean", 1, &[]),
    room("entity", 1, &[]),
    room("model", 1, &["clean"]), // what a model is asked depends on the language of the text
    room("window", 1, &[]),
    room("rule", 1, &["window"]),            // a rule is a condition on what a window holds
    room("sample", 1, &["clean", "window"]), // novelty is likeness of texts, and `window` knows how to count copies
    // 0, vocabulary
    room("event", 0, &["stream", "time"]),
    room("stream", 0, &["time"]),
    room("time", 0, &[]),
    room("metrics", 0, &[]),
];

/// Outside libraries that belong to named rooms.
pub const OWNED: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka"]),
    ("ort", &["onnx"]),
    ("tokenizers", &["onnx"]),
    ("prost", &["onnx"]),
    ("arrow", &["archive"]),
    ("parquet", &["archive"]),
    ("object_store", &["archive"]),
    ("axum", &["web"]),
    ("tracing_subscriber", &["telemetry"]),
    ("prometheus", &["telemetry"]),
    ("clap", &["cli", "main"]),
    ("indicatif", &["cli"]),
    ("console", &["cli"]),
    ("mimalloc", &["main"]),
    ("signal_hook", &["cli"]),
    ("toml", &["config"]),
    ("anyhow", &["cli", "main", "retrain"]),
    ("aho_corasick", &["entity"]),
    ("html_escape", &["clean", "retrain"]),
    ("unicode_normalization", &["clean"]),
    ("whatlang", &["clean"]),
    ("whichlang", &["clean"]),
];

/// Outside libraries that the lower floors do without: floors 0 and 1 have no runtime, no threads and no log.
pub const FROM_FLOOR_2: &[&str] = &["tokio", "tokio_util", "futures_util", "tracing", "crossbeam_channel"];

/// Parts of `std` that floors 0 and 1 do without, for the same reason.
pub const STD_FROM_FLOOR_2: &[&str] = &["fs", "thread", "env", "net", "process"];

/// What a room of the lower floors may use nevertheless: the system's clock waits by putting its thread to sleep.
pub const STD_NEVERTHELESS: &[(&str, &str)] = &[("time", "thread")];

/// Names that say nothing about what is inside.
pub const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "types", "manager", "handler", "engine", "misc"];

pub const FILE_LINES_MAX: usize = 400;
pub const FUNCTION_LINES_MAX: usize = 70;
pub const OPENING_LINES_MAX: usize = 8;

/// Every Rust file below a folder, sorted.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The files of `src/`, without those that are compiled for tests only.
fn house() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources: Vec<Source> = rust_files(&root)
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            Source::new(name, &std::fs::read_to_string(path).unwrap())
        })
        .collect();
    let only_tests: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    sources.into_iter().filter(|source| !only_tests.iter().any(|module| source.lies_in(module))).collect()
}

/// Applies a rule to the whole house and shows all that it found.
fn keep(rule: impl Fn(&Source) -> Vec<String>) {
    let faults: Vec<String> = house().iter().flat_map(rule).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_file_lies_in_a_room() {
    keep(rules::rooms);
}

#[test]
fn a_room_uses_the_floors_below_it_and_what_the_table_names() {
    keep(rules::floors);
}

#[test]
fn an_outside_library_stays_in_its_room() {
    keep(rules::libraries);
}

#[test]
fn the_lower_floors_have_no_runtime_no_threads_and_no_files() {
    keep(rules::purity);
}

#[test]
fn files_and_functions_stay_short() {
    keep(rules::sizes);
}

#[test]
fn names_say_what_is_inside() {
    keep(rules::names);
}

#[test]
fn a_file_opens_with_what_it_is_for() {
    keep(rules::opening);
}

#[test]
fn nothing_unwraps_outside_tests() {
    keep(rules::unwraps);
}

#[test]
fn every_promise_is_compiled() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let main = Source::new("main.rs", &std::fs::read_to_string(tests.join("main.rs")).unwrap());
    for entry in std::fs::read_dir(&tests).unwrap() {
        let path = entry.unwrap().path();
        let is_module = path.join("mod.rs").exists() || path.extension().is_some_and(|extension| extension == "rs");
        let name = path.file_stem().unwrap().to_str().unwrap();
        if is_module && name != "main" {
            assert!(main.declares(name), "tests/main.rs has no line `mod {name};`, so that promise never runs");
        }
    }
}
