//! The sections `[model]` and `[index]`.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::nearest;
use super::reader::Section;
use super::setting::{Setting, quoted};
use super::units::ByteSize;
use crate::event::Subject;
use crate::model::{Manifest, ModelSettings};
use crate::onnx::{BundleError, manifest};
use crate::rule::SubjectPattern;
use crate::window::IndexSettings;

const DAY: Duration = Duration::from_secs(86_400);

/// Reads `[model]`. Without `directory` the models are looked for in the folder `models` of the working directory.
/// The manifest is there where the directory is, and nothing is wrong: a file may be checked where the models are not.
pub(super) fn read(mut model: Section<'_>) -> (ModelSettings, Option<Manifest>) {
    let is = ModelSettings::default();
    let version: Option<String> = model.optional("version");
    // Nobody is tried beside a version that is named here: there is no file to say who.
    let challenger_share = if version.is_some() { 0.0 } else { is.challenger_share };
    let settings = ModelSettings {
        directory: directory(&mut model, is.directory),
        name: model.or("name", is.name),
        version,
        device: model.or("device", is.device),
        sessions: model.within("sessions", is.sessions, 0..=256),
        threads: model.within("threads", is.threads, 0..=256),
        cuda_memory_max: bytes(&mut model, "cuda_memory_max", is.cuda_memory_max, 64 << 20..=1 << 40),
        batch_tokens_max: model.within("batch_tokens_max", is.batch_tokens_max, 64..=1_048_576),
        batch_rows_max: model.within("batch_rows_max", is.batch_rows_max, 1..=4_096),
        pool_posts_max: model.within("pool_posts_max", is.pool_posts_max, 1..=65_536),
        pool_bytes_max: bytes(&mut model, "pool_bytes_max", is.pool_bytes_max, 1 << 16..=1 << 30),
        pool_wait_max: model.within("pool_wait_max", is.pool_wait_max, Duration::ZERO..=Duration::from_secs(10)),
        cache_texts: model.within("cache_texts", is.cache_texts, 0..=10_000_000),
        challenger_share: model.within("challenger_share", challenger_share, 0.0..=1.0),
    };
    if settings.version.is_some() && settings.challenger_share > 0.0 {
        let message = "a model whose version is named here has no challenger".to_owned();
        model.problem(
            "challenger_share",
            message,
            "take it out, or `version`: then the file champion says who answers",
        );
    }
    let mut plain = true;
    for (key, name) in [("name", Some(&settings.name)), ("version", settings.version.as_ref())] {
        if name.is_some_and(|name| !super::is_kafka_name(name, 64) || name.starts_with('.')) {
            let message = format!("{} cannot be the name of a folder of models", quoted(name.map_or("", |name| name)));
            model.problem(key, message, "use letters, digits, `.`, `_` and `-`, not starting with a point");
            plain = false;
        }
    }
    let manifest = if plain && settings.directory.is_dir() { look(&model, &settings) } else { None };
    model.finish();
    (settings, manifest)
}

/// The manifest of the model that the settings name, in a directory that is there.
fn look(model: &Section<'_>, settings: &ModelSettings) -> Option<Manifest> {
    let folder = settings.directory.join(&settings.name);
    match (manifest(settings), &settings.version) {
        (Ok(manifest), _) => return Some(manifest),
        (Err(BundleError::NoModel { .. }), _) if !folder.is_dir() => {
            let message = format!("{} has no model {}", settings.directory.display(), quoted(&settings.name));
            model.problem("name", message, instead(&settings.name, &folders(&settings.directory)));
        }
        (Err(BundleError::NoModel { .. }), Some(version)) => {
            let message = format!("{} has no version {}", folder.display(), quoted(version));
            model.problem("version", message, instead(version, &folders(&folder)));
        }
        (Err(BundleError::NoModel { path, reason }), None) => {
            let message = format!("{} has no version that answers: {}: {reason}", folder.display(), path.display());
            model.problem(
                "name",
                message,
                "write one of its versions into its file champion, or name it: version = \"…\"",
            );
        }
        (Err(error), _) => model.problem("name", error.to_string(), "or name another model or version"),
    }
    None
}

/// What may have been meant, else what there is.
fn instead(word: &str, there: &[String]) -> String {
    match (nearest(word, there.iter().map(String::as_str)), there) {
        (Some(meant), _) if word.len() > 1 => format!("did you mean {}?", quoted(meant)),
        (_, []) => "put the model there, or correct the directory".to_owned(),
        (_, there) => {
            let names: Vec<String> = there.iter().map(|name| quoted(name)).collect();
            format!("use {}, or correct the directory", names.join(" or "))
        }
    }
}

/// The names of the folders in a folder, sorted.
fn folders(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_folder = |entry: &std::fs::DirEntry| entry.path().is_dir();
    let mut names: Vec<String> = entries.filter(is_folder).filter_map(|it| it.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Why no post can ever be about a pattern of topics, and what may have been meant.
pub(super) fn objection(manifest: &Manifest, pattern: &str) -> Option<(String, String)> {
    let wanted = pattern.strip_prefix("topic:")?;
    let labels = manifest.task("topic").map(|task| task.labels.as_slice()).unwrap_or_default();
    let matcher = SubjectPattern(pattern.to_owned());
    if labels.iter().any(|label| matcher.matches(&Subject::topic(label))) {
        return None;
    }
    let message = format!("{} is no topic of the model {} {}", quoted(pattern), manifest.name, manifest.version);
    let remedy = match nearest(wanted.trim_end_matches('*'), labels.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {}?", quoted(&format!("topic:{meant}"))),
        None if labels.is_empty() => "it gives no topics: take the pattern out, or use another model".to_owned(),
        None => format!("its topics are {}", labels.join(", ")),
    };
    Some((message, remedy))
}

fn bytes(model: &mut Section<'_>, key: &'static str, default: usize, range: RangeInclusive<usize>) -> usize {
    model.within(key, ByteSize(default), ByteSize(*range.start())..=ByteSize(*range.end())).0
}

fn directory(model: &mut Section<'_>, default: PathBuf) -> PathBuf {
    if model.has("directory") {
        let text: Option<String> = model.optional("directory");
        return text.map_or(default, |text| model.path("directory", &text));
    }
    let _: Option<String> = model.optional("directory");
    model.show("directory", default.display().to_string().show(), None);
    default
}

/// Reads `[index]`.
pub(super) fn read_index(mut index: Section<'_>) -> IndexSettings {
    let is = IndexSettings::default();
    let minute = Duration::from_secs(60);
    let settings = IndexSettings {
        horizon: index.within("horizon", is.horizon, minute..=DAY * 30),
        half_life: index.within("half_life", is.half_life, Duration::from_secs(1)..=DAY * 30),
        novelty_window: index.within("novelty_window", is.novelty_window, Duration::ZERO..=DAY * 30),
        near_copy: index.within("near_copy", is.near_copy, 0.1..=1.0),
        mentions_max: index.within("mentions_max", is.mentions_max, 10..=10_000_000),
        partition_mentions_max: index.within("partition_mentions_max", is.partition_mentions_max, 10..=100_000_000),
        subjects_max: index.within("subjects_max", is.subjects_max, 10..=10_000_000),
    };
    index.finish();
    settings
}
