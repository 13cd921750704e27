//! A model that takes its time: the tiny one with a loop beside it, that burns the processor for each row of a batch.
//!
//! An ONNX file is a protobuf message, and two of them written one behind the other are merged when they are read: what
//! stands here is a second message, with the loop's nodes, behind the bytes of the tiny model.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::trial::Trial;

/// Numbers of which each turn of the loop takes the sine.
const NUMBERS: i64 = 20_000;
const FLOAT: u64 = 1;
const INTEGER: u64 = 7;
const FLAG: u64 = 9;

/// The name under which the slow model stands in its directory.
pub const NAME: &str = "slow";

/// Makes a model that takes about `per_row` for each row of a batch, and more on a machine that is busy.
/// Returns the directory of models that it stands in.
pub fn model(trial: &Trial, per_row: Duration) -> PathBuf {
    const PROBE: i64 = 400;
    // One golden text when it is loaded, and one that is scored.
    const TEXTS: u32 = 2;
    let directory = trial.path("models");
    let (bare, probed) = (burnt(trial, &directory, 0), burnt(trial, &directory, PROBE));
    let turn = probed.saturating_sub(bare).max(Duration::from_millis(1)) / TEXTS / u32::try_from(PROBE).unwrap();
    let turns = per_row.as_nanos() / turn.as_nanos().max(1);
    write(&directory, i64::try_from(turns).unwrap().max(1));
    directory
}

/// The processor's time that a model of so many turns a row needs for one text, loading included; a clock on the wall
/// would count what others do meanwhile. The quickest of three times.
fn burnt(trial: &Trial, directory: &Path, turns: i64) -> Duration {
    write(directory, turns);
    let text = trial.path("text.jsonl");
    std::fs::write(&text, "{\"text\": \"Aurora Mills shares fall\"}\n").unwrap();
    let once = || {
        let (bare, log) = trial.bare(&["score"]);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "\"$@\" >\"$0\" 2>&1 && times"]).arg(&log).arg(bare.get_program());
        shell.arg("score").arg(&text).args(["--device", "cpu", "--model"]).arg(directory.join(NAME));
        let done = shell.output().unwrap();
        assert!(done.status.success(), "{}", std::fs::read_to_string(&log).unwrap());
        // The second line is of the children: user and system, as 0m1.250s.
        let said = String::from_utf8(done.stdout).unwrap();
        said.lines().nth(1).unwrap().split_whitespace().map(time).sum()
    };
    (0..3).map(|_| once()).min().unwrap()
}

fn time(text: &str) -> Duration {
    let (minutes, seconds) = text.trim_end_matches('s').split_once('m').unwrap();
    Duration::from_secs(60 * minutes.parse::<u64>().unwrap()) + Duration::from_secs_f64(seconds.parse().unwrap())
}

/// Writes the model with a loop of `turns` a row. It is checked against one golden text, which is one row.
fn write(directory: &Path, turns: i64) {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny/1");
    let folder = directory.join(NAME).join("1");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(tiny.join(file), folder.join(file)).unwrap();
    }
    let mut model = std::fs::read(tiny.join("model.fp32.onnx")).unwrap();
    model.extend(bytes(7, &graph(turns)));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(tiny.join("manifest.json")).unwrap()).unwrap();
    manifest["name"] = NAME.into();
    let variant = &mut manifest["variants"][0];
    let hash: String = Sha256::digest(&model).iter().map(|byte| format!("{byte:02x}")).collect();
    variant["sha256"] = hash.into();
    variant["golden"].as_array_mut().unwrap().truncate(1);
    std::fs::write(folder.join("model.fp32.onnx"), model).unwrap();
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(directory.join(NAME).join("champion"), "1\n").unwrap();
}

/// rows = Shape(input_ids)[0]; burnt = Loop(rows * turns) { numbers = Sin(numbers) }, an output of the graph.
fn graph(turns: i64) -> Vec<u8> {
    let body = [
        bytes(1, &node("Identity", &["burn/go"], &["burn/on"], None)),
        bytes(1, &node("Sin", &["burn/in"], &["burn/out"], None)),
        bytes(2, b"burn"),
        bytes(11, &value("burn/turn", INTEGER, &[])),
        bytes(11, &value("burn/go", FLAG, &[])),
        bytes(11, &value("burn/in", FLOAT, &[NUMBERS])),
        bytes(12, &value("burn/on", FLAG, &[])),
        bytes(12, &value("burn/out", FLOAT, &[NUMBERS])),
    ];
    let numbers: Vec<u8> = (0..NUMBERS).flat_map(|_| 0.5_f32.to_le_bytes()).collect();
    let graph = [
        bytes(1, &node("Shape", &["input_ids"], &["burn/shape"], None)),
        bytes(1, &node("Gather", &["burn/shape", "burn/zero"], &["burn/rows"], None)),
        bytes(1, &node("Mul", &["burn/rows", "burn/turns"], &["burn/all"], None)),
        bytes(1, &node("Loop", &["burn/all", "burn/true", "burn/numbers"], &["burn/burnt"], Some(&body.concat()))),
        bytes(5, &tensor("burn/zero", INTEGER, &[], &0_i64.to_le_bytes())),
        bytes(5, &tensor("burn/turns", INTEGER, &[], &turns.to_le_bytes())),
        bytes(5, &tensor("burn/true", FLAG, &[], &[1])),
        bytes(5, &tensor("burn/numbers", FLOAT, &[NUMBERS], &numbers)),
        bytes(12, &value("burn/burnt", FLOAT, &[NUMBERS])),
    ];
    graph.concat()
}

fn node(kind: &str, inputs: &[&str], outputs: &[&str], body: Option<&[u8]>) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name.as_bytes())).collect();
    node.extend(outputs.iter().flat_map(|name| bytes(2, name.as_bytes())));
    node.extend(bytes(3, outputs[0].as_bytes()));
    node.extend(bytes(4, kind.as_bytes()));
    if let Some(body) = body {
        // An attribute of type GRAPH.
        node.extend(bytes(5, &[bytes(1, b"body"), bytes(6, body), number(20, 5)].concat()));
    }
    node
}

fn tensor(name: &str, kind: u64, shape: &[i64], raw: &[u8]) -> Vec<u8> {
    let sides = shape.iter().flat_map(|side| number(1, u64::try_from(*side).unwrap()));
    sides.chain(number(2, kind)).chain(bytes(8, name.as_bytes())).chain(bytes(9, raw)).collect()
}

fn value(name: &str, kind: u64, shape: &[i64]) -> Vec<u8> {
    let sides: Vec<u8> = shape.iter().flat_map(|side| bytes(1, &number(1, u64::try_from(*side).unwrap()))).collect();
    let tensor = [number(1, kind), bytes(2, &sides)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// A field with a length: text, raw bytes or a message.
fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}
