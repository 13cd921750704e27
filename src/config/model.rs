//! The sections `[model]` and `[index]`.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::setting::{Setting, quoted};
use super::units::ByteSize;
use crate::model::ModelSettings;
use crate::window::IndexSettings;

const DAY: Duration = Duration::from_secs(86_400);

/// Reads `[model]`. Without `directory` the models are looked for in the folder `models` of the working directory.
pub(super) fn read(mut model: Section<'_>) -> ModelSettings {
    let is = ModelSettings::default();
    let settings = ModelSettings {
        directory: directory(&mut model, is.directory),
        name: model.or("name", is.name),
        version: model.optional("version"),
        device: model.or("device", is.device),
        sessions: model.within("sessions", is.sessions, 0..=256),
        threads: model.within("threads", is.threads, 0..=256),
        batch_tokens_max: model.within("batch_tokens_max", is.batch_tokens_max, 64..=1_048_576),
        batch_rows_max: model.within("batch_rows_max", is.batch_rows_max, 1..=4_096),
        pool_posts_max: model.within("pool_posts_max", is.pool_posts_max, 1..=65_536),
        pool_bytes_max: pool_bytes(&mut model, is.pool_bytes_max),
        pool_wait_max: model.within("pool_wait_max", is.pool_wait_max, Duration::ZERO..=Duration::from_secs(10)),
        cache_texts: model.within("cache_texts", is.cache_texts, 0..=10_000_000),
    };
    for (key, name) in [("name", Some(&settings.name)), ("version", settings.version.as_ref())] {
        if name.is_some_and(|name| !super::is_kafka_name(name, 64) || name.starts_with('.')) {
            let message = format!("{} cannot be the name of a folder of models", quoted(name.map_or("", |name| name)));
            model.problem(key, message, "use letters, digits, `.`, `_` and `-`, not starting with a point");
        }
    }
    model.finish();
    settings
}

fn pool_bytes(model: &mut Section<'_>, default: usize) -> usize {
    model.within("pool_bytes_max", ByteSize(default), ByteSize(1 << 16)..=ByteSize(1 << 30)).0
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
