//! Promise: alerting rules ask for metrics that exist, and every alert has a page that says what to do and a test.

use bellwether::metrics::{self, Kind};
use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring").join(path)).unwrap()
}

/// Every series that a Prometheus server can get from us.
fn series() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for family in metrics::ALL {
        match family.kind {
            Kind::Counter | Kind::Gauge => {
                names.insert(family.name.to_owned());
            }
            Kind::Histogram(_) => {
                names.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", family.name)));
            }
        }
    }
    names
}

/// The words of a text that name one of our series. A name behind a colon belongs to a recording rule.
fn series_named(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).filter(|word| word.starts_with("bellwether_"))
}

/// Names that follow `key` in a YAML text.
fn values<'a>(text: &'a str, key: &'a str) -> BTreeSet<&'a str> {
    text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key)).map(str::trim).collect()
}

/// The series in `text` that nobody writes.
fn unknown(text: &str) -> Vec<String> {
    let known = series();
    series_named(text).filter(|name| !known.contains(*name)).map(str::to_owned).collect()
}

#[test]
fn rules_and_their_tests_ask_for_series_that_exist() {
    assert_eq!(unknown(&read("prometheus/rules.yml")), Vec::<String>::new());
    assert_eq!(unknown(&read("prometheus/rules_test.yml")), Vec::<String>::new());
}

#[test]
fn a_series_that_nobody_writes_is_seen() {
    assert_eq!(unknown("rate(bellwether_posts_totals[5m]) > 0"), ["bellwether_posts_totals"]);
    assert_eq!(unknown("bellwether_inference_seconds > 0"), ["bellwether_inference_seconds"]);
    assert_eq!(unknown("rate(bellwether_posts_total[5m]) + stage:bellwether_any:rate5m"), Vec::<String>::new());
}

/// The Rust text of `src/`, without the contract itself and without the room that registers all of it.
fn writers() -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("telemetry") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("metrics.rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

#[test]
fn somebody_writes_every_series_that_an_alert_asks_for() {
    let contract = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics.rs")).unwrap();
    let rules = read("prometheus/rules.yml");
    let writers = writers();
    let mut asked = 0;
    for item in contract.split("pub const ").filter(|item| item.contains(": Family")) {
        let constant = item.split(':').next().unwrap();
        let name = item.split('"').nth(1).unwrap();
        let is_asked = series_named(&rules).any(|series| {
            series == name || ["_bucket", "_sum", "_count"].iter().any(|end| series.strip_suffix(end) == Some(name))
        });
        if is_asked {
            asked += 1;
            let word = format!("metrics::{constant}");
            let is_written = writers.match_indices(&word).any(|(at, _)| {
                !writers[at + word.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
            });
            assert!(is_written, "alerts ask for {name}, but nothing in src/ names {word}");
        }
    }
    assert!(asked > 10, "only {asked} families were found: has src/metrics.rs another form now?");
}

#[test]
fn every_alert_has_a_section_in_the_runbook_and_the_runbook_no_other() {
    let rules = read("prometheus/rules.yml");
    let runbook = read("runbook.md");
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(values(&rules, "alert:"), sections);
    for alert in &sections {
        assert!(rules.contains(&format!("monitoring/runbook.md#{}\"", alert.to_lowercase())), "{alert} has no link");
    }
}

#[test]
fn every_alert_is_tested_firing_and_quiet() {
    let rules = read("prometheus/rules.yml");
    let tests = read("prometheus/rules_test.yml");
    let cases: Vec<&str> = tests.split("alertname:").skip(1).collect();
    for alert in values(&rules, "alert:") {
        let of_alert: Vec<&&str> = cases.iter().filter(|case| case.split_whitespace().next() == Some(alert)).collect();
        assert!(of_alert.iter().any(|case| case.contains("exp_labels:")), "{alert} is never tested firing");
        assert!(of_alert.iter().any(|case| case.contains("exp_alerts: []")), "{alert} is never tested quiet");
    }
}
