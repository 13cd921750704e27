//! Reads a pipeline file as a whole and checks what spans several sections.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::problem::{Place, Problem};
use super::reader::{Desk, Report, Section};
use super::setting::quoted;
use super::{TestCase, archive, case, environment, instruments, kafka, model, retrain, rule, source, tree};
use crate::pipeline::signal::SignalSettings;
use crate::pipeline::{DeadLetterLimit, Settings};
use crate::retrain::RetrainSettings;
use crate::telemetry::LogSettings;
use crate::web::WebSettings;

/// The levels of the log.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A pipeline file without problems.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// How the model is retrained.
    pub retrain: RetrainSettings,
    /// The file's own tests.
    pub tests: Vec<TestCase>,
    /// The settings as TOML, each with the place that it comes from; secrets are masked.
    pub effective: String,
}

/// Reads and checks a pipeline file with the environment laid over it. Nothing is bound or connected.
///
/// # Errors
/// Every problem that was found, in the order of their places.
pub fn load(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, Vec<Problem>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let file = Arc::from(path.display().to_string());
        vec![unreadable(&file, &error)]
    })?;
    load_text(path, &text, environment)
}

/// The same with the text of the file at hand; `path` is where it lies, or would lie.
///
/// # Errors
/// As [`load`].
pub fn load_text(
    path: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    let file: Arc<str> = Arc::from(path.display().to_string());
    let (mut root, mut problems) = tree::parse(&file, text);
    problems.extend(environment::lay_over(&mut root, environment.into_iter()));
    let report = Report::default();
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let desk = Desk { report: &report, folder };
    let settings = read(Section::new("", Some(&root), Place::Whole(file), desk));
    problems.extend(report.problems.take());
    problems.sort();
    problems.dedup();
    match settings {
        (settings, retrain, tests) if problems.is_empty() => {
            Ok(Loaded { settings, retrain, tests, effective: effective(&report) })
        }
        _ => Err(problems),
    }
}

fn unreadable(file: &Arc<str>, error: &std::io::Error) -> Problem {
    Problem {
        place: Place::Whole(file.clone()),
        message: format!("cannot be read: {error}"),
        remedy: "give the path of a pipeline file, such as pipelines/market.toml".to_owned(),
    }
}

/// Where something is missing its place is filled with an empty value, and there is a problem.
fn read(mut root: Section<'_>) -> (Settings, RetrainSettings, Vec<TestCase>) {
    let name: Option<String> = root.required("name", "\"market\", the prefix of all that the pipeline owns");
    if let Some(name) = &name
        && !super::is_kafka_name(name, 100)
    {
        let message = format!("{} cannot be the start of topic names", quoted(name));
        root.problem("name", message, "use letters, digits, `.`, `_` and `-`, at most 100");
    }
    let kafka = kafka::read(root.section("kafka"));
    let sources = source::read(root.sections("source"), name.as_deref().unwrap_or_default());
    if !root.has("source") {
        root.problem("source", "there is no input", "add [[source]] with topic = \"posts.news\"");
    }
    let (model, manifest) = model::read(root.section("model"));
    let instruments = instruments::read(root.section("instruments"));
    let challenger_asked = model.challenger_share > 0.0;
    let settings = Settings {
        kafka,
        sources,
        model,
        index: model::read_index(root.section("index")),
        rules: rule::read(root.sections("rule"), rule::Known { instruments: &instruments, model: manifest.as_ref() }),
        instruments: instruments.path,
        archive: archive::read(root.section("archive")),
        sample: archive::read_sample(root.section("sample"), challenger_asked),
        dead_letters: dead_letters(root.section("dead_letters")),
        web: web(root.section("web")),
        log: log(root.section("log")),
        tick_interval: root.within("tick_interval", seconds(5), Duration::from_millis(100)..=seconds(60)),
        grace: root.within("grace", seconds(30), seconds(1)..=seconds(600)),
        name: Arc::from(name.unwrap_or_default()),
    };
    let retrain = retrain::read(root.section("retrain"));
    let tests = case::read(root.sections("test"), &settings.rules);
    check_look_back(&root, &settings);
    root.finish();
    (settings, retrain, tests)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn web(mut section: Section<'_>) -> WebSettings {
    let settings = WebSettings { listen: section.or("listen", WebSettings::default().listen) };
    section.finish();
    settings
}

fn dead_letters(mut section: Section<'_>) -> DeadLetterLimit {
    let is = DeadLetterLimit::default();
    let limit = DeadLetterLimit {
        window_records: section.within("window_records", is.window_records, 10..=100_000),
        share_max: section.within("share_max", is.share_max, 0.0..=1.0),
    };
    section.finish();
    limit
}

fn log(mut section: Section<'_>) -> LogSettings {
    let is = LogSettings::default();
    let settings = LogSettings { format: section.or("format", is.format), levels: section.or("levels", is.levels) };
    let word = |part: &str| part.rsplit('=').next().unwrap_or(part).trim().to_ascii_lowercase();
    if let Some(wrong) = settings.levels.split(',').find(|part| !LEVELS.contains(&word(part).as_str())) {
        let message = format!("{} is no level", quoted(wrong.trim()));
        section.problem("levels", message, format!("use one of {}, or module=level", LEVELS.join(", ")));
    }
    section.finish();
    settings
}

/// Windows are rebuilt from mentions, so these must be kept for longer than the windows look back.
fn check_look_back(root: &Section<'_>, settings: &Settings) {
    let look_back = SignalSettings::of(settings).look_back();
    if settings.kafka.retention <= look_back {
        let (kept, needed) =
            (super::units::show_duration(settings.kafka.retention), super::units::show_duration(look_back));
        let message = format!("mentions are kept for {kept}, but windows are rebuilt from the last {needed} of them");
        let remedy =
            format!("set kafka.retention above \"{needed}\", or shorten index.novelty_window or the rules' `over`");
        root.problem("kafka", message, remedy);
    }
}

/// Settings by section, in the order in which they were read; top-level keys first, as TOML wants them.
fn effective(report: &Report) -> String {
    let mut shown = report.shown.take();
    // The cases of the file are no settings.
    shown.retain(|setting| !setting.section.starts_with("test["));
    shown.sort_by_key(|setting| !setting.section.is_empty());
    let mut text = String::new();
    let mut section = String::new();
    for setting in shown {
        if setting.section != section {
            section.clone_from(&setting.section);
            text.push_str(&format!("\n{}\n", header(&section)));
        }
        let origin = setting.place.map_or_else(|| "default".to_owned(), |place| place.to_string());
        text.push_str(&format!("{} = {}  # {origin}\n", setting.key, setting.value));
    }
    text
}

/// `source[0]` is `[[source]]`, `source[0].fields` is `[source.fields]`.
fn header(section: &str) -> String {
    let plain: String = section.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect();
    if section.ends_with(']') { format!("[[{plain}]]") } else { format!("[{plain}]") }
}
