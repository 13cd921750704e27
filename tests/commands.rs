//! Promise: the command line does what it says, names every mistake, and ends with the right code.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const FIVE_MISTAKES: &str = r#"name = "five"
[kafka]
delivery = "exactly_once"
drain_timeout = "20"
[[source]]
topic = "posts"
kind = "news"
[source.fields]
txet = "/headline"
[[rule]]
name = "gloom"
subjects = ["topic:*"]
when = { index_below = -4, over = "30m" }
[archive]
url = "s3://bucket"
"#;

const SMALL: &str = "name = \"small\"\n[[source]]\ntopic = \"posts\"\n[archive]\nurl = \"archive\"\n";

fn bellwether(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("RUST_LOG");
    for (name, _) in std::env::vars().filter(|(name, _)| name.to_ascii_uppercase().starts_with("BELLWETHER__")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = bellwether(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    // A command that ends before it has read everything is no fault of the test.
    drop(child.stdin.take().unwrap().write_all(input));
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// What went to standard error, with the folder's name taken out.
fn report(output: &Output, folder: &Path) -> String {
    stderr(output).replace(&format!("{}/", folder.display()), "")
}

#[test]
fn five_mistakes_are_five_reports_and_nothing_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "five.toml", FIVE_MISTAKES);
    let path = path.to_str().unwrap();
    let checked = run(&["check", path], b"");
    assert_eq!(code(&checked), 64);
    assert_eq!(stdout(&checked), "");
    insta::assert_snapshot!(report(&checked, folder.path()));
    for command in [
        &["run", path][..],
        &["watch", path],
        &["topics", path],
        &["doctor", path],
        &["play", path, "--input", "-"],
        &["replay", path, "--input", "-"],
        &["dead-letters", "list", path],
        &["dead-letters", "replay", path],
    ] {
        let output = run(command, b"");
        assert_eq!(code(&output), 64, "{command:?}");
        assert_eq!(stderr(&output), stderr(&checked), "{command:?} says the same");
    }
}

#[test]
fn problems_can_be_read_by_machines() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "five.toml", FIVE_MISTAKES);
    let output = run(&["check", path.to_str().unwrap(), "--json"], b"");
    assert_eq!(code(&output), 64);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["problems"].as_array().unwrap().len(), 5);
    assert!(report["problems"][0]["place"].as_str().unwrap().ends_with("five.toml:3"));
}

#[test]
fn the_shipped_pipelines_pass_their_own_tests() {
    for name in ["pipelines/market.toml", "pipelines/demo.toml"] {
        let output = run(&["check", name], b"");
        assert_eq!(code(&output), 0, "{name}\n{}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).contains("tests, all passed"), "{}", stdout(&output));
    }
}

#[test]
fn a_test_case_that_fails_is_named_with_what_happened_instead() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        r#"{SMALL}
[[rule]]
name = "gloom"
subjects = ["topic:*"]
when = {{ index_below = -0.4, over = "10m", mentions_min = 3 }}
for = "1m"
[[test]]
name = "expects the wrong subject"
posts = [{{ at = "+0m", count = 5, every = "10s", subjects = ["topic:a"], sentiment = "negative" }}]
alerts = [{{ rule = "gloom", subject = "topic:b", state = "firing" }}]
"#
    );
    let path = file(folder.path(), "small.toml", &text);
    let output = run(&["check", path.to_str().unwrap()], b"");
    assert_eq!(code(&output), 64);
    let said = stdout(&output).replace(&format!("{}/", folder.path().display()), "");
    // What memory it may take depends on the cores of the machine.
    let (memory, rest): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.contains(" MiB "));
    insta::assert_snapshot!(rest.join("\n"));
    let mib = |line: &str| line.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap();
    let (total, parts) = memory.split_first().unwrap();
    let (more, parts) = parts.split_last().unwrap();
    assert!(more.contains("takes 1 MiB more for each"), "{more}");
    let sum: u64 = parts.iter().map(|part| mib(part)).sum();
    assert!(parts.len() > 8 && sum.abs_diff(mib(total)) <= parts.len() as u64, "{memory:#?}");
}

#[test]
fn a_check_where_the_models_are_not_says_what_it_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "small.toml", &format!("{SMALL}[model]\ndirectory = \"none\"\nname = \"other\"\n"));
    let output = run(&["check", path.to_str().unwrap()], b"");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("not checked: whether there is a model other"), "{}", stdout(&output));
}

#[test]
fn printed_settings_mask_secrets_and_tell_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "small.toml", SMALL);
    let output = bellwether(&["check", path.to_str().unwrap(), "--print"])
        .env("BELLWETHER__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2")
        .env("BELLWETHER__GRACE", "45s")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let printed = stdout(&output);
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("\"sasl.password\" = \"****\""), "{printed}");
    assert!(printed.contains("grace = \"45s\"  # environment BELLWETHER__GRACE"), "{printed}");
    assert!(printed.contains("tick_interval = \"5s\"  # default"), "{printed}");
    assert!(printed.contains("small.toml:1"), "{printed}");
}

#[test]
fn clean_is_a_filter_that_keeps_what_it_does_not_know() {
    let input = "{\"z\":1.50,\"text\":\"  A &amp; B\\u200b <b>rise</b>  https://x.example/1 \",\"a\":[1,{\"b\":null}]}\n\n{\"text\":\"\"}\n";
    let output = run(&["clean"], input.as_bytes());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let cleaned = stdout(&output);
    let lines: Vec<&str> = cleaned.lines().collect();
    assert_eq!(lines.len(), 2, "{cleaned}");
    assert!(lines[0].starts_with("{\"z\":1.50,\"text\":\"A & B rise"), "{cleaned}");
    assert!(lines[0].ends_with("\"a\":[1,{\"b\":null}]}"), "{cleaned}");
    assert_eq!(lines[1], "{\"text\":\"\"}");
    let again = run(&["clean", "-"], cleaned.as_bytes());
    assert_eq!(stdout(&again), cleaned, "cleaning twice changes nothing");
}

#[test]
fn a_bad_line_is_named_with_its_file_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "posts.jsonl", "{\"text\":\"a\"}\n\n{\"text\":\n");
    let output = run(&["clean", path.to_str().unwrap()], b"");
    assert_eq!(code(&output), 65);
    assert!(report(&output, folder.path()).starts_with("posts.jsonl:3: not a JSON object"), "{}", stderr(&output));
    let output = run(&["clean"], b"{\"text\":\"a\"}\n{\"body\":\"b\"}\n");
    assert_eq!(code(&output), 65);
    assert!(stderr(&output).starts_with("standard input:2: the field `text` is missing"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "{\"text\":\"a\"}\n", "what came before is not lost");
    let output = run(&["clean"], b"{\"text\":\"\xff\"}\n");
    assert_eq!(code(&output), 65);
    let output = run(&["clean", "/nowhere/posts.jsonl"], b"");
    assert_eq!(code(&output), 65);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = bellwether(&["clean"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let line = format!("{{\"text\":\"{}\"}}\n", "word ".repeat(100));
    for _ in 0..2_000 {
        if stdin.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_wrong_command_line_ends_with_64() {
    for wrong in [
        &["frobnicate"][..],
        &[],
        &["run"],
        &["run", "pipelines/demo.toml", "--stages", "score,cook"],
        &["replay", "pipelines/demo.toml", "--input", "-", "--speed", "fast"],
        &["play", "pipelines/demo.toml"],
        &["score", "--device", "gpu"],
        &["run", "/nowhere/market.toml"],
        &["dead-letters"],
        &["dead-letters", "list", "pipelines/demo.toml", "--reason", "bad"],
        &["dead-letters", "list", "pipelines/demo.toml", "--since", "yesterday"],
    ] {
        assert_eq!(code(&run(wrong, b"")), 64, "{wrong:?}");
    }
    for right in [&["--help"][..], &["--version"], &["run", "--help"]] {
        assert_eq!(code(&run(right, b"")), 0, "{right:?}");
    }
}

#[test]
fn a_missing_library_or_model_is_named_with_a_remedy() {
    let score = |path: Option<&str>| {
        let mut command = bellwether(&["score", "--model", "/nowhere/finance-en/1", "/dev/null"]);
        match path {
            Some(path) => command.env("ORT_DYLIB_PATH", path),
            None => &mut command,
        };
        command.output().unwrap()
    };
    let output = score(Some("/nowhere/libonnxruntime.so"));
    assert_eq!(code(&output), 69);
    assert!(stderr(&output).contains("ORT_DYLIB_PATH names /nowhere/libonnxruntime.so"), "{}", stderr(&output));
    let output = score(None);
    assert_eq!(code(&output), 69, "{}", stderr(&output));
}

#[test]
fn a_broker_that_is_away_ends_with_69_after_the_time_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{SMALL}[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\nstart_timeout = \"1s\"\n");
    let path = file(folder.path(), "small.toml", &text);
    let output = run(&["topics", path.to_str().unwrap()], b"");
    assert_eq!(code(&output), 69, "{}", stderr(&output));
    assert!(stderr(&output).contains("127.0.0.1:1"), "{}", stderr(&output));
}

#[test]
fn the_doctor_says_of_each_thing_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{SMALL}[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\nstart_timeout = \"1s\"\n[model]\ndirectory = \"none\"\n"
    );
    let path = file(folder.path(), "small.toml", &text);
    let output = run(&["doctor", path.to_str().unwrap(), "--json"], b"");
    assert_eq!(code(&output), 69, "{}", stderr(&output));
    let findings: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let ok = |what: &str| {
        let found = findings.as_array().unwrap().iter().find(|finding| finding["what"] == what);
        found.unwrap_or_else(|| panic!("{what} in {findings}"))["ok"].as_bool().unwrap()
    };
    assert!(!ok("model") && !ok("Kafka"), "{findings}");
    assert!(ok("archive"), "{findings}");
}

/// A pipeline file on the tiny model, whose weights are random: what it answers means nothing, that it answers does.
fn tiny(folder: &Path, more: &str) -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let text = format!(
        "name = \"tiny\"\n[[source]]\ntopic = \"tiny.posts\"\n[model]\nname = \"tiny\"\ndirectory = {:?}\n\
         [sample]\npolicy = \"all\"\n[web]\nlisten = \"127.0.0.1:0\"\n[archive]\nurl = \"archive\"\n{more}",
        models.display().to_string()
    );
    file(folder, "tiny.toml", &text).to_str().unwrap().to_owned()
}

#[test]
fn score_is_a_filter_that_keeps_order_and_says_why_it_abstains() {
    let rows = [
        r#"{"id":"long","text":"The company raised its forecast for the year after a strong quarter in all its regions"}"#,
        r#"{"id":"none","text":"  "}"#,
        r#"{"id":"short","text":"Shares fall"}"#,
    ];
    let output = run(&["score", "--model", "models/tiny", "--device", "cpu"], rows.join("\n").as_bytes());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let scored: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(scored.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ["long", "none", "short"]);
    assert_eq!(scored[1]["sentiment"]["reason"], "empty-text");
    assert_eq!(scored[1]["sentiment"]["label"], serde_json::Value::Null);
    for row in [&scored[0], &scored[2]] {
        let probabilities = row["sentiment"]["probabilities"].as_object().unwrap();
        let sum: f64 = probabilities.values().map(|value| value.as_f64().unwrap()).sum();
        assert!(probabilities.len() == 3 && (sum - 1.0).abs() < 1e-3, "{row}");
        assert_eq!(row["model"]["name"], "tiny");
    }
}

#[test]
fn evaluate_prints_a_key_a_task_and_refuses_a_label_that_the_model_does_not_know() {
    let good = b"{\"text\":\"Shares rise\",\"sentiment\":\"positive\"}\n{\"text\":\"Shares fall\",\"sentiment\":\"negative\",\"topic\":\"earnings\"}\n";
    let output = run(&["evaluate", "--model", "models/tiny/1", "--data", "-", "--json", "--device", "cpu"], good);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((report["sentiment"]["n"].as_u64(), report["topic"]["n"].as_u64()), (Some(2), Some(1)));
    for key in ["accuracy", "macro_f1", "weighted_f1", "ece", "per_class", "confusion"] {
        assert!(!report["sentiment"][key].is_null(), "{key} in {report}");
    }
    let table = run(&["evaluate", "--model", "models/tiny/1", "--data", "-", "--device", "cpu"], good);
    assert!(stdout(&table).contains("sentiment: 2 rows"), "{}", stdout(&table));
    let unknown = b"{\"text\":\"a\",\"sentiment\":\"positive\"}\n{\"text\":\"b\",\"sentiment\":\"bullish\"}\n";
    let output = run(&["evaluate", "--model", "models/tiny/1", "--data", "-", "--device", "cpu"], unknown);
    assert_eq!(code(&output), 65);
    let said = stderr(&output);
    assert!(said.starts_with("standard input:2: ") && said.contains("`bullish`"), "{said}");
}

#[test]
fn evaluate_tells_abstentions_by_reason_and_counts_what_was_not_answered_as_a_miss() {
    let rows = "{\"text\":\"Shares rise after strong results\",\"sentiment\":\"positive\"}\n\
                {\"text\":\"Las acciones de la empresa subieron después de los resultados trimestrales\",\"sentiment\":\"positive\"}\n\
                {\"text\":\" <br> \",\"sentiment\":\"neutral\"}\n";
    let asked = ["evaluate", "--model", "models/tiny/1", "--data", "-", "--device", "cpu"];
    let output = run(&[&asked[..], &["--json"]].concat(), rows.as_bytes());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let sentiment = &report["sentiment"];
    assert_eq!((&sentiment["n"], &sentiment["abstained"]), (&3.into(), &2.into()), "{report}");
    assert_eq!(sentiment["abstained_by_reason"], serde_json::json!({ "empty-text": 1, "unknown-language": 1 }));
    assert_eq!(sentiment["per_class"]["neutral"]["recall"], 0.0);
    let table = stdout(&run(&asked, rows.as_bytes()));
    assert!(table.contains("abstained    2 rows (1 empty-text, 1 unknown-language)"), "{table}");
}

#[test]
fn play_ends_with_a_summary_as_its_last_line_and_names_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), "");
    let posts = "{\"id\":\"1\",\"text\":\"Shares rise\",\"published_at\":\"2026-03-02T13:30:00Z\"}\n\
                 {\"id\":\"2\",\"published_at\":\"2026-03-02T13:31:00Z\"}\n\
                 {\"id\":\"3\",\"text\":\"Shares fall\",\"published_at\":\"2026-03-02T13:32:00Z\"}\n";
    let output = run(&["play", &path, "--input", "-", "--exit", "--json"], posts.as_bytes());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let summary: serde_json::Value = serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    let figures = ["posts", "scored", "dead_letters", "samples"].map(|key| summary[key].as_u64());
    assert_eq!(figures, [Some(3), Some(2), Some(1), Some(2)], "{summary}");
    for key in ["mentions", "alerts_firing", "alerts_resolved", "posts_per_second"] {
        assert!(summary[key].is_number(), "{key} in {summary}");
    }
    // What a play made never stands where `run` archives.
    assert!(summary["archive"].as_str().unwrap().ends_with("/play-1"), "{summary}");
    assert_eq!(summary["without_time"], 1, "the dead letter's time is not read: {summary}");
    let bad = file(folder.path(), "bad.jsonl", "{\"id\":\"1\",\"text\":\"Shares rise\"}\nShares fall\n");
    let output = run(&["play", &path, "--input", bad.to_str().unwrap(), "--exit"], b"");
    assert_eq!(code(&output), 65, "{}", stderr(&output));
    assert!(stderr(&output).contains("bad.jsonl:2: "), "{}", stderr(&output));
}

#[test]
fn a_play_says_what_looks_wrong_with_its_posts() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), "");
    let empty = run(&["play", &path, "--input", "-", "--exit"], b"");
    assert!(stdout(&empty).contains("- holds no record: is it the file that was meant?"), "{}", stdout(&empty));
    let posts = b"{\"id\":\"1\",\"text\":\"Shares rise\",\"date\":\"2026-03-02T13:30:00Z\"}\n";
    let said = stdout(&run(&["play", &path, "--input", "-", "--exit"], posts));
    assert!(said.contains("no post says when it was published"), "{said}");
    assert!(!said.contains("the page"), "it has ended: {said}");
}

#[test]
fn a_play_of_records_that_cannot_be_read_stops_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), "[dead_letters]\nwindow_records = 50\n");
    let posts: String = (0..100).map(|number| format!("{{\"id\":\"{number}\",\"body\":\"Shares rise\"}}\n")).collect();
    let output = run(&["play", &path, "--input", "-", "--exit"], posts.as_bytes());
    assert_eq!(code(&output), 65, "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("26 of the last 50 records of tiny.posts/0 are dead letters and 25 may be"), "{said}");
    assert!(said.contains("mend the mapping in [source.fields]"), "{said}");
}

#[test]
fn topics_are_made_once_and_a_replay_is_keyed_by_id() {
    let servers = std::env::var("BELLWETHER_TEST_KAFKA")
        .expect("BELLWETHER_TEST_KAFKA is not set: run the tests with `make test`, which starts a broker for them");
    let folder = tempfile::tempdir().unwrap();
    let name = format!("commands{}", std::process::id());
    let path = tiny(folder.path(), &format!("[kafka]\nbootstrap_servers = \"{servers}\"\npartitions = 2\n"));
    let with_names = std::fs::read_to_string(&path).unwrap().replace("\"tiny\"\n[[", &format!("{name:?}\n[["));
    std::fs::write(&path, with_names.replace("tiny.posts", &format!("{name}.posts"))).unwrap();

    let dry = run(&["topics", &path, "--dry-run", "--json"], b"");
    let report: serde_json::Value = serde_json::from_str(&stdout(&dry)).unwrap_or_else(|_| panic!("{}", stderr(&dry)));
    assert_eq!(report["missing"].as_array().unwrap().len(), 7, "{report}");
    let made = run(&["topics", &path], b"");
    assert_eq!((code(&made), stdout(&made).matches("created").count()), (0, 7), "{}{}", stdout(&made), stderr(&made));
    let again = run(&["topics", &path], b"");
    assert_eq!((code(&again), stdout(&again).matches("ok  ").count()), (0, 7), "{}", stdout(&again));

    let posts =
        "{\"id\":\"a\",\"text\":\"Shares rise\",\"published_at\":\"2020-01-01T00:00:00Z\"}\n{\"@raw\":\"not json\"}\n";
    let sent = run(&["replay", &path, "--input", "-", "--rebase"], posts.as_bytes());
    assert_eq!(code(&sent), 0, "{}", stderr(&sent));
    assert_eq!(stdout(&sent), format!("acknowledged: 2 on {name}.posts\n"));
    let settings =
        bellwether::kafka::KafkaSettings { bootstrap_servers: servers, ..bellwether::kafka::KafkaSettings::default() };
    let topic: std::sync::Arc<str> = format!("{name}.posts").into();
    let clock = bellwether::time::SystemClock::new();
    let tail = bellwether::kafka::Tail::start(&settings, &[topic], 10, &clock).unwrap();
    let mut records = Vec::new();
    for _ in 0..150 {
        records.extend(tail.next(std::time::Duration::from_millis(200)).unwrap());
        if records.len() == 2 {
            break;
        }
    }
    records.sort_by(|one, other| other.key.cmp(&one.key));
    assert_eq!(records[0].key.as_deref(), Some(&b"a"[..]));
    let post: serde_json::Value = serde_json::from_slice(records[0].value.as_deref().unwrap()).unwrap();
    assert!(post["published_at"].as_str().unwrap() > "2026", "rebased: {post}");
    assert_eq!((records[1].key.as_deref(), records[1].value.as_deref()), (None, Some(&b"not json"[..])));

    let broken = "{\"id\":\"b\",\"text\":\"Shares fall\"}\n{\"id\":\"c\"\n{\"id\":\"d\",\"text\":\"Shares rise\"}\n";
    let sent = run(&["replay", &path, "--input", "-"], broken.as_bytes());
    assert_eq!((code(&sent), stdout(&sent)), (65, format!("acknowledged: 1 on {name}.posts\n")));
    assert!(stderr(&sent).contains("standard input:2"), "{}", stderr(&sent));
}

#[test]
fn score_answers_the_lines_before_a_bad_one() {
    let rows = "{\"id\":\"a\",\"text\":\"Shares rise\"}\n{\"id\":\"b\",\"text\":\"Shares fall\"}\n{\"id\":\"c\"}\n";
    let output = run(&["score", "--model", "models/tiny", "--device", "cpu"], rows.as_bytes());
    assert_eq!(code(&output), 65);
    assert!(stderr(&output).starts_with("standard input:3: the field `text` is missing"), "{}", stderr(&output));
    let ids: Vec<String> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["a", "b"], "what came before is not lost");
}

#[test]
fn a_model_named_on_the_command_line_has_a_remedy_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "manifest.json", "{}");
    let empty = folder.path().to_str().unwrap();
    for (command, says) in [
        (&["evaluate", "--model", "models/tiny/2", "--data", "/dev/null"][..], "models/tiny/2"),
        (&["score", "--model", "/nowhere", "/dev/null"], "/nowhere"),
        (&["score", "--model", "models", "/dev/null"], "models"),
        (&["score", "--model", empty, "/dev/null"], "export the model again"),
    ] {
        let output = run(command, b"");
        assert_eq!(code(&output), 69, "{command:?}");
        let said = stderr(&output);
        assert!(said.contains(says) && !said.contains("model.directory"), "{command:?}: {said}");
        assert!(said.contains("--model") || says.starts_with("export"), "{command:?}: {said}");
    }
    let output = run(&["score", "--model", "models/tiny", "--device", "cuda:0", "/dev/null"], b"");
    assert_eq!(code(&output), 69);
    assert!(stderr(&output).contains("--device") && !stderr(&output).contains("model.device"), "{}", stderr(&output));
}

#[test]
fn what_is_missing_is_said_before_anything_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), "");
    let output = run(&["play", &path, "--input", "/nowhere/posts.jsonl"], b"");
    assert_eq!(code(&output), 65, "{}", stderr(&output));
    assert!(stderr(&output).contains("/nowhere/posts.jsonl"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("the page is at"), "{}", stderr(&output));
    let posts = file(folder.path(), "posts.jsonl", "{\"id\":\"1\",\"text\":\"Shares rise\"}\n");
    for command in [&["play", &path, "--input", posts.to_str().unwrap(), "--exit"][..], &["run", &path]] {
        for (name, value, says) in [
            ("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so", "/nowhere/libonnxruntime.so"),
            ("BELLWETHER__MODEL__DIRECTORY", "/nowhere/models", "/nowhere/models"),
        ] {
            let output = bellwether(command).env(name, value).output().unwrap();
            assert_eq!(code(&output), 69, "{command:?} {name}: {}", stderr(&output));
            assert!(stderr(&output).contains(says), "{}", stderr(&output));
            assert!(!stderr(&output).contains("the page is at"), "{command:?} {name}: {}", stderr(&output));
        }
    }
}

#[test]
fn every_exit_code_is_told_where_people_look() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for text in [readme, stdout(&run(&["--help"], b""))] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let codes = text.split_once("Exit codes: ").unwrap().1;
        for code in ["0 done", "20 ", "21 ", "22 ", "64 ", "65 ", "69 ", "70 ", "130 asked twice to stop"] {
            assert!(codes.contains(code), "{code} in {}", &codes[..200]);
        }
    }
}

#[test]
fn a_second_sigterm_ends_at_once_with_130() {
    let folder = tempfile::tempdir().unwrap();
    // It waits for a broker that is not there, and hears of a first signal only when that is over.
    let path = tiny(folder.path(), "[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\nstart_timeout = \"5m\"\n");
    let log = folder.path().join("log");
    let mut child = bellwether(&["run", &path]).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    for wanted in ["waiting for the brokers", "asked once more, it ends at once"] {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !std::fs::read_to_string(&log).unwrap().contains(wanted) {
            if std::time::Instant::now() > until || child.try_wait().unwrap().is_some() {
                drop(child.kill());
                panic!("no {wanted:?}: {}", std::fs::read_to_string(&log).unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_partition_count_that_differs_from_the_file_is_said_and_stops_the_run() {
    let servers = std::env::var("BELLWETHER_TEST_KAFKA")
        .expect("BELLWETHER_TEST_KAFKA is not set: run the tests with `make test`, which starts a broker for them");
    let folder = tempfile::tempdir().unwrap();
    let name = format!("counts{}", std::process::id());
    let path = tiny(folder.path(), &format!("[kafka]\nbootstrap_servers = \"{servers}\"\npartitions = 2\n"));
    let text = std::fs::read_to_string(&path).unwrap().replace("\"tiny\"\n[[", &format!("{name:?}\n[["));
    std::fs::write(&path, text.replace("tiny.posts", &format!("{name}.posts"))).unwrap();
    assert_eq!(code(&run(&["topics", &path], b"")), 0);
    let grown = |arguments: &[&str]| bellwether(arguments).env("BELLWETHER__KAFKA__PARTITIONS", "3").output().unwrap();
    let output = grown(&["topics", &path]);
    assert_eq!(code(&output), 64, "{}{}", stdout(&output), stderr(&output));
    let said = stdout(&output);
    let mention = format!("wrong    {name}.mentions: it has 2 partitions and kafka.partitions is 3");
    assert!(said.contains(&mention) && said.contains("set kafka.partitions = 2"), "{said}");
    assert_eq!(said.matches("wrong ").count(), 3, "inputs and what is not kept by subject may differ: {said}");
    let output = grown(&["run", &path, "--until-end"]);
    assert_eq!(code(&output), 64, "{}", stderr(&output));
    assert!(stderr(&output).contains("it has 2 partitions and kafka.partitions is 3"), "{}", stderr(&output));
}

#[test]
fn the_bench_takes_the_demos_posts_as_they_are_broken_ones_among_them() {
    let servers = std::env::var("BELLWETHER_TEST_KAFKA")
        .expect("BELLWETHER_TEST_KAFKA is not set: run the tests with `make test`, which starts a broker for them");
    let mut bench = bellwether(&["bench", "--only", "state", "--rebuild-mentions", "1000"]);
    let output = bench.env("BELLWETHER__KAFKA__BOOTSTRAP_SERVERS", servers).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("mentions in one partition, read back"), "{said}");
    assert!(said.contains("start to the first commit after it"), "{said}");
}
