//! The sections `[archive]` and `[sample]`.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::problem::Place;
use super::reader::Section;
use super::setting::quoted;
use super::units::ByteSize;
use crate::archive::ArchiveSettings;
use crate::sample::{Policy, Quota, Strategy};

/// Reads `[archive]`.
pub(super) fn read(mut archive: Section<'_>) -> ArchiveSettings {
    let is = ArchiveSettings::default();
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let bytes = archive_bytes(&mut archive, is.segment_bytes);
    let settings = ArchiveSettings {
        url: location(&mut archive).unwrap_or_default(),
        segment_rows: archive.within("segment_rows", is.segment_rows, 1..=10_000_000),
        segment_bytes: bytes,
        segment_age: archive.within("segment_age", is.segment_age, second..=day),
    };
    archive.finish();
    settings
}

fn archive_bytes(archive: &mut Section<'_>, default: usize) -> usize {
    archive.within("segment_bytes", ByteSize(default), ByteSize(1 << 16)..=ByteSize(4 << 30)).0
}

/// `file:///absolute` or a plain path, as `file:///absolute`.
fn location(archive: &mut Section<'_>) -> Option<String> {
    let text: String = archive.required("url", "\"file:///var/lib/bellwether\"")?;
    match Url::parse(&text) {
        Ok(url) if url.scheme() == "file" => {
            let path = url.to_file_path().ok();
            if path.is_none() || !text.starts_with("file:///") {
                let message = format!("{} names a host or is relative", quoted(&text));
                archive.problem("url", message, "write file:/// and an absolute path, or a plain path without file:");
            }
            path.and_then(|path| Url::from_directory_path(path).ok()).map(without_slash)
        }
        Ok(url) if url.scheme().len() > 1 => {
            let message = format!("a store of the kind `{}` is not built in", url.scheme());
            archive.problem("url", message, "write file:/// and an absolute path, or a plain path");
            None
        }
        _ => {
            let start = match archive.place("url") {
                Place::Environment(_) => Path::new("."),
                Place::File { .. } | Place::Whole(_) => archive.desk().folder,
            };
            let path = std::path::absolute(start.join(&text)).ok()?;
            Url::from_directory_path(straight(&path)).ok().map(without_slash)
        }
    }
}

fn without_slash(url: Url) -> String {
    let text = String::from(url);
    text.strip_suffix('/').filter(|rest| *rest != "file://").map_or(text.clone(), str::to_owned)
}

/// The path without `.` and `..`.
fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                straight.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => straight.push(part),
        }
    }
    straight
}

/// Reads `[sample]`.
pub(super) fn read_sample(mut sample: Section<'_>, challenger_asked: bool) -> Policy {
    let policy = sample.or("policy", "hash".to_owned());
    let share = if sample.has("share") || policy == "hash" { Some(sample.or("share", 0.05_f64)) } else { None };
    if let Some(share) = share {
        check_share(&sample, share);
    }
    let _ = sample.value("share");
    let quotas = read_strategies(&mut sample, challenger_asked);
    if policy != "hash" && share.is_some() {
        sample.problem(
            "share",
            "a share of its own belongs to the policy `hash`",
            "remove it, or use policy = \"hash\"",
        );
    }
    if policy != "mixed" && !quotas.is_empty() {
        sample.problem("strategy", "strategies belong to the policy `mixed`", "use policy = \"mixed\", or remove them");
    }
    let chosen = match policy.as_str() {
        "hash" => Policy::Hash(share.unwrap_or(1.0)),
        "all" => Policy::All,
        "mixed" => {
            if quotas.is_empty() {
                let remedy = "add [[sample.strategy]] with by = \"random\" and share = 0.02, and others beside it";
                sample.problem("strategy", "the policy `mixed` has no strategy", remedy);
            }
            Policy::Mixed(quotas.into())
        }
        other => {
            let message = format!("{} is no policy", quoted(other));
            sample.problem("policy", message, "use \"hash\" with a share, \"mixed\" with strategies, or \"all\"");
            Policy::All
        }
    };
    sample.finish();
    chosen
}

fn read_strategies(sample: &mut Section<'_>, challenger_asked: bool) -> Vec<Quota> {
    let mut quotas: Vec<Quota> = Vec::new();
    for mut section in sample.sections("strategy") {
        let by = section.required::<String>("by", "\"margin\"");
        let share = section.or("share", 0.02_f64);
        check_share(&section, share);
        let strategy = by.as_deref().and_then(|by| Strategy::ALL.into_iter().find(|it| it.as_str() == by));
        match (by, strategy) {
            (Some(by), None) => {
                let known: Vec<&str> = Strategy::ALL.iter().map(|it| it.as_str()).collect();
                section.problem(
                    "by",
                    format!("{} is no strategy", quoted(&by)),
                    format!("use one of {}", known.join(", ")),
                );
            }
            (_, Some(strategy)) if quotas.iter().any(|quota| quota.strategy == strategy) => {
                section.problem("by", format!("{} stands twice", quoted(strategy.as_str())), "give it one share");
            }
            (_, Some(Strategy::Disagreement)) if !challenger_asked => {
                let message = "there is no challenger to disagree with: model.challenger_share is 0";
                section.problem("by", message, "give it a share (and name no model.version), or remove the strategy");
            }
            (_, Some(strategy)) => quotas.push(Quota { strategy, share }),
            (None, None) => {}
        }
        section.finish();
    }
    quotas
}

fn check_share(section: &Section<'_>, share: f64) {
    if !(share > 0.0 && share <= 1.0) {
        section.problem("share", "a share lies above 0 and not above 1", "use 0.05 to keep five in a hundred");
    }
}
