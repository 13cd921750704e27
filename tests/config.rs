//! Promise: a pipeline file is checked as a whole, and every mistake is told at once with its place and a remedy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bellwether::config::{self, Loaded, Problem};
use bellwether::model::Device;
use bellwether::rule::Bound;
use bellwether::sample::{Policy, Quota, Strategy};
use bellwether::stream::Delivery;

const SMALL: &str = r#"
name = "small"
[[source]]
topic = "posts"
[archive]
url = "archive"
"#;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines").join(name)
}

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    load_in(tempfile::tempdir().unwrap().path(), text, environment)
}

fn load_in(folder: &Path, text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let path = folder.join("file.toml");
    std::fs::write(&path, text).unwrap();
    let owned = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config::load(&path, owned)
}

/// The report with the folder's name taken out.
fn report(text: &str, environment: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let problems = load_in(folder.path(), text, environment).expect_err("there are mistakes");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n").replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_mixed_policy_has_strategies_each_with_its_share_and_no_other_has() {
    let mixed = |strategies: &str| format!("{SMALL}\n[sample]\npolicy = \"mixed\"\n{strategies}");
    let two = "[[sample.strategy]]\nby = \"random\"\n[[sample.strategy]]\nby = \"margin\"\nshare = 0.1\n";
    let quota = |strategy, share| Quota { strategy, share };
    let wanted = Policy::Mixed([quota(Strategy::Random, 0.02), quota(Strategy::Margin, 0.1)].into());
    assert_eq!(load_with(&mixed(two), &[]).unwrap().settings.sample, wanted);
    for (text, message) in [
        (mixed(""), "the policy `mixed` has no strategy"),
        (mixed(&format!("share = 0.1\n{two}")), "a share of its own belongs to the policy `hash`"),
        (mixed(&format!("{two}[[sample.strategy]]\nby = \"random\"")), "\"random\" stands twice"),
        (
            mixed("[[sample.strategy]]\nby = \"doubt\""),
            "use one of random, margin, entropy, disagreement, rare, novelty",
        ),
        (mixed("[[sample.strategy]]\nby = \"rare\"\nshare = 1.5"), "a share lies above 0 and not above 1"),
        (mixed(two).replace("mixed", "hash"), "strategies belong to the policy `mixed`"),
    ] {
        let told = report(&text, &[]);
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn the_shipped_pipelines_have_no_mistakes() {
    for name in ["market.toml", "demo.toml"] {
        let loaded = config::load(&shipped(name), []).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        assert_eq!(&*loaded.settings.name, name.trim_end_matches(".toml"));
        assert_eq!(loaded.settings.sources.len(), 2);
        assert!(loaded.settings.rules.len() >= 4);
    }
}

#[test]
fn the_market_is_read_as_it_is_written() {
    let settings = config::load(&shipped("market.toml"), []).unwrap().settings;
    assert_eq!(settings.kafka.delivery, Delivery::ExactlyOnce);
    assert_eq!(settings.kafka.retention, Duration::from_secs(7 * 86_400));
    let news = &settings.sources[0];
    assert_eq!((&*news.topic, &*news.kind), ("posts.news", "news"));
    assert_eq!(news.fields.text, ["/headline", "/summary", "/text", "/body"]);
    assert_eq!(news.fields.published_at, ["/created_at", "/published_at"]);
    assert_eq!(news.fields.id, ["/id"]);
    assert_eq!(settings.sources[1].fields.text, ["/title", "/text"]);
    assert_eq!(settings.model.device, Device::Auto);
    assert!(settings.model.directory.ends_with("models"), "{:?}", settings.model.directory);
    assert!(settings.instruments.unwrap().ends_with("pipelines/instruments/us-large.csv"));
    let gloom = &settings.rules[0];
    assert_eq!(&*gloom.name, "sudden-gloom");
    assert_eq!(gloom.bound, Bound::Below(-0.4));
    assert_eq!((gloom.over, gloom.half_life), (Duration::from_secs(1_800), Duration::from_secs(900)));
    assert_eq!((gloom.hold, gloom.mentions_min), (Duration::from_secs(120), 8));
    assert_eq!(settings.sample, Policy::Hash(0.05));
    assert!(settings.archive.url.ends_with("data/market"), "{}", settings.archive.url);
}

#[test]
fn what_a_file_leaves_out_has_a_default() {
    let settings = load_with(SMALL, &[]).unwrap().settings;
    assert_eq!(settings.kafka, bellwether::kafka::KafkaSettings::default());
    assert_eq!(settings.index, bellwether::window::IndexSettings::default());
    assert_eq!(settings.web.listen.to_string(), "127.0.0.1:9898");
    assert_eq!(settings.instruments, None);
    assert!(settings.archive.url.starts_with("file:///"), "{}", settings.archive.url);
    assert!(settings.archive.url.ends_with("/archive"), "{}", settings.archive.url);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"
name = "five mistakes"
[kafka]
boostrap_servers = "localhost:9092"
commit_interval = "fast"
[kafka.properties]
"enable.auto.commit" = true
"sasl.password" = "hunter2"
[[source]]
topic = "posts"
[source.fields]
text = "headline"
[[source]]
topic = "posts"
[[rule]]
name = "gloom"
subjects = ["XNAS:*:x"]
when = { index_below = -1.4, index_above = 0.1, over = "30m" }
severity = "fatal"
[[rule]]
name = "gloom"
subjects = []
[archive]
url = "s3://bucket/x"
[index]
novelty_window = "14d"
[web]
listen = "localhost"
[model]
device = "gpu"
"#;
    insta::assert_snapshot!(report(text, &[]));
}

#[test]
fn a_rule_about_nobody_and_a_wrong_instruments_file_are_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{SMALL}[instruments]\nfile = \"list.csv\"\n[[rule]]\nname = \"gloom\"\nsubjects = [\"XNAS:APPL\", \"XLON:*\", \"topic:*\", \"XNAS:*\"]\nwhen = {{ index_below = -0.4, over = \"30m\" }}\n"
    );
    let shown = |csv: &str| {
        std::fs::write(folder.path().join("list.csv"), csv).unwrap();
        let problems = load_in(folder.path(), &text, &[]).expect_err("there are mistakes");
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&format!("{}/", folder.path().display()), "")
    };
    let header = "id,name,aliases,common_word,common_name\n";
    insta::assert_snapshot!(shown(&format!("{header}XNAS:AAPL,Apple,,false,false\n")));
    let wrong = shown(&format!("{header}XNAS:AAPL,Apple,,maybe,false\n"));
    assert!(wrong.starts_with("list.csv:2: "), "{wrong}");
    assert!(!wrong.contains("no known instrument"), "{wrong}");
}

#[test]
fn the_limit_of_dead_letters_is_read_and_checked() {
    let set = format!("{SMALL}[dead_letters]\nwindow_records = 50\nshare_max = 1\n");
    let limit = load_with(&set, &[]).unwrap().settings.dead_letters;
    assert_eq!((limit.window_records, limit.share_max), (50, 1.0));
    let default = load_with(SMALL, &[]).unwrap().settings.dead_letters;
    assert_eq!((default.window_records, default.share_max), (1_000, 0.5));
    let wrong = format!("{SMALL}[dead_letters]\nwindow_records = 3\nshare_max = 1.5\nshare = 1\n");
    let told = report(&wrong, &[]);
    assert!(told.contains("`dead_letters.window_records`: 3 is out of range"), "{told}");
    assert!(told.contains("`dead_letters.share_max`: 1.5 is out of range"), "{told}");
    assert!(told.contains("`dead_letters.share` is not a setting"), "{told}");
    assert_eq!(told.matches("file.toml:").count(), 3, "{told}");
}

#[test]
fn the_environment_is_laid_over_the_file() {
    let loaded = load_with(
        SMALL,
        &[
            ("BELLWETHER__KAFKA__BOOTSTRAP_SERVERS", "broker:9093"),
            ("BELLWETHER__SOURCE__0__TOPIC", "others"),
            ("BELLWETHER__SOURCE__0__FIELDS__TEXT", "[\"/a\", \"/b\"]"),
            ("BELLWETHER__KAFKA__PARTITIONS", "12"),
            ("BELLWETHER__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2"),
            ("BELLWETHER__WEB__LISTEN", "127.0.0.1:0"),
            ("bellwether__archive__url", "/elsewhere"),
            ("BELLWETHER_TEST_BROKER", "ignored"),
        ],
    );
    let loaded = loaded.unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.kafka.bootstrap_servers, "broker:9093");
    assert_eq!(settings.kafka.partitions, 12);
    assert_eq!(&*settings.sources[0].topic, "others");
    assert_eq!(settings.sources[0].fields.text, ["/a", "/b"]);
    assert_eq!(settings.kafka.properties["sasl.password"], "hunter2");
    assert_eq!(settings.archive.url, "file:///elsewhere");
    assert!(loaded.effective.contains("\"broker:9093\"  # environment BELLWETHER__KAFKA__BOOTSTRAP_SERVERS"));
    assert!(!loaded.effective.contains("hunter2") && loaded.effective.contains("\"sasl.password\" = \"****\""));
}

#[test]
fn a_wrong_variable_is_a_mistake_with_its_name() {
    let environment =
        [("BELLWETHER__KAFKA__BOOTSTRAP", "x"), ("BELLWETHER__GRACE", "soon"), ("BELLWETHER__SOURCE__7__TOPIC", "x")];
    insta::assert_snapshot!(report(SMALL, &environment));
}

#[test]
fn a_secret_comes_from_a_file_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let text = format!("{SMALL}[kafka.properties]\n\"sasl.password_file\" = {:?}\n", secret.display().to_string());
    let loaded = load_with(&text, &[]).unwrap();
    assert_eq!(loaded.settings.kafka.properties["sasl.password"], "hunter2");
    assert!(!format!("{:?}{}", loaded.settings, loaded.effective).contains("hunter2"));
}

#[test]
fn what_is_printed_reads_back_as_the_same_settings() {
    let loaded = config::load(&shipped("market.toml"), []).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("instruments")).unwrap();
    let instruments = "instruments/us-large.csv";
    std::fs::copy(shipped(instruments), folder.path().join(instruments)).unwrap();
    let path = folder.path().join("again.toml");
    std::fs::write(&path, &loaded.effective).unwrap();
    let mut again =
        config::load(&path, []).unwrap_or_else(|problems| panic!("{problems:#?}\n{}", loaded.effective)).settings;
    // Relative paths start at the file that names them, and this one lies elsewhere.
    again.model.directory.clone_from(&loaded.settings.model.directory);
    again.instruments.clone_from(&loaded.settings.instruments);
    again.archive.url.clone_from(&loaded.settings.archive.url);
    assert_eq!(again, loaded.settings);
}

#[test]
fn no_file_is_one_mistake_with_a_remedy() {
    let problems = config::load(Path::new("/nowhere/market.toml"), []).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().starts_with("/nowhere/market.toml: cannot be read"), "{}", problems[0]);
}

#[test]
fn a_model_that_is_not_in_its_directory_is_a_mistake_with_its_place() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let with = |more: &str| format!("{SMALL}[model]\ndirectory = {:?}\n{more}\n", models.display().to_string());
    let told = report(&with("name = \"finance-xx\""), &[]);
    assert!(told.starts_with("file.toml:9: `model.name`: "), "{told}");
    assert!(told.contains("has no model \"finance-xx\"") && told.contains("did you mean \"finance-en\"?"), "{told}");
    let told = report(&with("name = \"tiny\"\nversion = \"7\""), &[]);
    assert!(told.starts_with("file.toml:10: `model.version`: ") && told.contains("use \"1\""), "{told}");
    assert!(load_with(&with("name = \"tiny\"\nversion = \"1\""), &[]).is_ok());
    // A file is also checked where the models are not.
    assert!(load_with(&format!("{SMALL}[model]\ndirectory = \"elsewhere\"\nname = \"finance-xx\"\n"), &[]).is_ok());
}

#[test]
fn a_gpus_memory_is_bounded_and_the_bound_has_a_least_value() {
    let read = |size: &str| load_with(&format!("{SMALL}\n[model]\ncuda_memory_max = {size:?}"), &[]);
    assert_eq!(load_with(SMALL, &[]).unwrap().settings.model.cuda_memory_max, 2 << 30);
    assert_eq!(read("3GiB").unwrap().settings.model.cuda_memory_max, 3 << 30);
    assert!(read("63MiB").is_err());
}

#[test]
fn nobody_is_tried_beside_a_version_that_the_file_names() {
    let version = format!("version = \"{}\"", include_str!("../models/finance-en/champion").trim());
    let share =
        |model: &str| load_with(&format!("{SMALL}\n[model]\n{model}"), &[]).unwrap().settings.model.challenger_share;
    assert_eq!((share(""), share(&version)), (0.1, 0.0));
    let disagreement = "[sample]\npolicy = \"mixed\"\n[[sample.strategy]]\nby = \"disagreement\"\n";
    assert!(load_with(&format!("{SMALL}\n{disagreement}"), &[]).is_ok());
    let told = report(&format!("{SMALL}\n[model]\n{version}\n{disagreement}"), &[]);
    assert!(told.contains("there is no challenger to disagree with"), "{told}");
    let told = report(&format!("{SMALL}\n[model]\n{version}\nchallenger_share = 0.1"), &[]);
    assert!(told.contains("a model whose version is named here has no challenger"), "{told}");
}

#[test]
fn a_rule_about_a_topic_that_the_model_does_not_know_is_a_mistake() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let with = |directory: &str, subjects: &str| {
        format!(
            "{SMALL}[model]\ndirectory = {directory:?}\nname = \"tiny\"\n[[rule]]\nname = \"gloom\"\n\
             subjects = [{subjects}]\nwhen = {{ index_below = -0.4, over = \"30m\" }}\n"
        )
    };
    let here = models.display().to_string();
    let told = report(
        &with(&here, "\"topic:earning\", \"topic:nosuch\", \"topic:earnings\", \"topic:ma*\", \"topic:zz*\""),
        &[],
    );
    assert_eq!(told.matches("file.toml:12: `rule[0].subjects`: ").count(), 3, "{told}");
    assert!(
        told.contains("\"topic:earning\" is no topic of the model")
            && told.contains("did you mean \"topic:earnings\"?"),
        "{told}"
    );
    assert!(told.contains("\"topic:nosuch\" is no topic of the model") && told.contains("\"topic:zz*\""), "{told}");
    assert!(load_with(&with("elsewhere", "\"topic:nosuch\""), &[]).is_ok(), "nobody knows");
}

#[test]
fn a_property_that_librdkafka_refuses_is_a_mistake_with_its_place() {
    let text = format!(
        "{SMALL}[kafka.properties]\n\"sesion.timeout.ms\" = 6000\n\"fetch.min.bytes\" = \"many\"\n\"client.rack\" = \"a\"\n"
    );
    let told = report(&text, &[]);
    assert_eq!(told.matches("librdkafka refuses it").count(), 2, "{told}");
    assert!(told.contains("file.toml:8: ") && told.contains("sesion.timeout.ms"), "{told}");
    assert!(told.contains("file.toml:9: ") && told.contains("fetch.min.bytes"), "{told}");
}
