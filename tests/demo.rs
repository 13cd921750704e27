//! The shipped demo, with the shipped model, as a stranger runs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

fn demo(arguments: &[&str], archive: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .args(["demo", "--exit", "--speed", "max"])
        .args(arguments)
        .env("BELLWETHER__ARCHIVE__URL", format!("file://{}", archive.display()))
        .env("BELLWETHER__WEB__LISTEN", "127.0.0.1:0")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_demo_tells_its_story() {
    let archive = tempfile::tempdir().expect("a folder");
    let summary: serde_json::Value =
        serde_json::from_str(demo(&["--json"], archive.path()).lines().last().expect("a last line")).expect("JSON");
    let figure = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {summary}"));
    assert_eq!(figure("posts"), 462);
    assert_eq!((figure("scored"), figure("dead_letters")), (457, 5));
    assert_eq!(figure("samples"), figure("scored"), "the demo keeps everything");
    assert!(figure("alerts_firing") >= 2, "the story and the bid: {summary}");
    assert!(figure("alerts_resolved") >= 1, "and it calms down: {summary}");
    assert!(figure("mentions") > 2 * figure("scored"), "market, topics and companies");
}

#[test]
fn the_tape_shows_the_alert_with_its_evidence() {
    let archive = tempfile::tempdir().expect("a folder");
    let tape = demo(&[], archive.path());
    let lines: Vec<&str> = tape.lines().collect();
    let fired = lines.iter().position(|line| line.contains("FIRING") && line.contains("XDEM:NRVA"));
    let fired = fired.unwrap_or_else(|| panic!("Norvane's alert is not on the tape:\n{tape}"));
    assert!(lines[fired + 1].contains(" % "), "evidence follows: {}", lines[fired + 1]);
    assert!(tape.contains("RESOLVED"), "{tape}");
    assert!(tape.contains("Look at next:"));
}

#[test]
fn what_is_played_again_gives_the_same_each_time() {
    let play = |archive: &Path| {
        let tape = demo(&[], archive);
        // What follows the counts is how long it took, and where the samples are.
        let (told, _) = tape.split_once(" posts/s in ").expect("how long it took");
        let (told, _) = told.rsplit_once('\n').expect("lines before");
        let dataset = archive.join("play-1/samples");
        let partitions = fs::read_dir(&dataset).unwrap().map(|partition| partition.unwrap().path());
        let files = partitions.flat_map(|partition| fs::read_dir(partition).unwrap().map(|file| file.unwrap().path()));
        let name = |file: &Path| file.strip_prefix(archive).unwrap().to_owned();
        let rows: BTreeMap<_, _> = files.map(|file| (name(&file), fs::read(&file).unwrap())).collect();
        (told.to_owned(), rows)
    };
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, again) = (play(one.path()), play(other.path()));
    assert_eq!(first.0, again.0, "the tape");
    assert!(first.0.contains("FIRING") && !first.1.is_empty());
    assert!(first.1 == again.1, "the archive, byte by byte");
}
