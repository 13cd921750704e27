//! How much memory a process may need: every queue, buffer, cache and table that grows with the input, with its bound.
//!
//! The bounds themselves stand where they are kept, and all of them in one table in GUARANTEES.md; here they are added up,
//! and `check` prints the sum. Figures are upper ends, for posts of any shape, not what a quiet pipeline takes.

use crate::clean::EXCERPT_CHARS_MAX;
use crate::codec::NAMES_BYTES_MAX;
use crate::entity::SUBJECTS_MAX;
use crate::kafka;
use crate::onnx::SESSION_FILES;
use crate::pipeline::Settings;
use crate::pipeline::flow::EPOCH_BYTES_MAX;
use crate::pipeline::shell::FEED_QUEUE;
use crate::pipeline::stage::WORK_MAX;
use crate::rule::EVIDENCE_MAX;
use crate::window::{MENTION_BYTES, RETRACTION_BYTES, RETRACTIONS_MAX};

/// Code, ONNX Runtime's library, the page, threads and instruments, before a model is loaded.
const PROCESS_BYTES: u64 = 96 << 20;
/// A text in the cache: its tokens and the probabilities of all classes.
const CACHED_TEXT_BYTES: u64 = 1_536;
/// A post on its way through the score stage, in times its record: the record, its fields, the cleaned text.
const DRAFT_RECORDS: u64 = 4;
/// A mention as a record with its headers and what is said about it, before what it repeats of its post.
const MENTION_RECORD_BYTES: u64 = 2_000;
/// What a mention, or an alert's evidence, repeats of its post, at most.
const REPEATED_BYTES: u64 = (NAMES_BYTES_MAX + 4 * EXCERPT_CHARS_MAX) as u64;
/// A subject with its windows and the alerts of its rules.
const DESK_BYTES: u64 = 4_096;
/// Subjects besides the instruments: topics and the market.
const OTHER_SUBJECTS: u64 = 64;
/// An alert's last record, with its evidence, and as much again decoded.
const ALERT_BYTES: u64 = 2 * (2_048 + EVIDENCE_MAX as u64 * REPEATED_BYTES);
/// Series of metrics, what the page shows, and lines of the log on their way.
const TOLD_BYTES: u64 = 24 << 20;
/// A row of a segment, in times its record: decoded, and in columns while it is written.
const SAMPLE_RECORDS: u64 = 3;

/// A part of the memory that a process may need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it holds.
    pub name: &'static str,
    /// The keys that bound it, or that it is fixed.
    pub bounded_by: &'static str,
    /// Bytes, at most.
    pub bytes: u64,
}

/// All parts for a process that runs every stage and holds every partition. `graph_bytes` is the size of the model's
/// graph, `instruments` their number, `cores` that of the processor's.
#[must_use]
pub fn footprint(settings: &Settings, graph_bytes: u64, instruments: usize, cores: usize) -> Vec<Part> {
    let part = |name, bounded_by, bytes| Part { name, bounded_by, bytes };
    let model = &settings.model;
    let sessions = if model.sessions == 0 { cores } else { model.sessions } as u64;
    let event = kafka::event_bytes_max(&settings.kafka) as u64;
    // Per stage: the client's queue, what one sweep gathers, and events before, in and behind the shell's queue.
    let source = kafka::source_bytes_max(&settings.kafka) as u64 + (FEED_QUEUE as u64 + 2) * event;
    // One beside the source, one that looks for what has no marker.
    let scout = 2 * kafka::scout_bytes_max(&settings.kafka) as u64;
    let pool = model.pool_bytes_max.max(settings.kafka.record_bytes_max) as u64;
    // Two pools wait, and one event more; as many as there are jobs are under way.
    let pools = 2 * pool + event + WORK_MAX as u64 * DRAFT_RECORDS * pool;
    // Each mention repeats something of its post, and nothing that its record has not.
    let posts = model.pool_posts_max as u64;
    let mentions = posts * MENTION_RECORD_BYTES + pool.min(posts * REPEATED_BYTES);
    let outputs = (SUBJECTS_MAX as u64 + 2) * mentions + 4 * pool;
    // One epoch is open and one is being committed; each may pass its bound by what comes in at once.
    let score = 2 * (EPOCH_BYTES_MAX as u64 + WORK_MAX as u64 * outputs);
    let signal = 2 * (EPOCH_BYTES_MAX as u64 + 4 * event);
    let partitions = u64::try_from(settings.kafka.partitions).unwrap_or(1).max(1);
    let mentions = settings.index.partition_mentions_max * MENTION_BYTES;
    let windows = partitions * (mentions + RETRACTIONS_MAX * RETRACTION_BYTES) as u64;
    // Open segments may reach twice the bound before the source waits, and as many jobs hold one each.
    let segments = (2 + 2 * WORK_MAX as u64) * settings.archive.segment_bytes as u64 * SAMPLE_RECORDS;
    // Of each partition of the inputs, the scored posts, the labels and the mentions, a byte a record.
    let fates = (settings.sources.len() as u64 + 3) * partitions * settings.dead_letters.window_records as u64;
    let subjects = instruments as u64 + OTHER_SUBJECTS;
    let desks = subjects * (DESK_BYTES + settings.rules.len() as u64 * ALERT_BYTES);
    let producers = 3 * kafka::producer_bytes_max() as u64;
    // The next champion is loaded beside the one that answers.
    let challenger = u64::from(model.challenger_share > 0.0);
    let bundles = if model.version.is_some() { 1 } else { 2 };
    vec![
        part("the process with ONNX Runtime", "fixed", PROCESS_BYTES),
        part(
            "the model's sessions, the next one's, a challenger",
            "model.sessions",
            (bundles * sessions + challenger) * SESSION_FILES * graph_bytes,
        ),
        part("texts scored a moment ago", "model.cache_texts", bundles * model.cache_texts as u64 * CACHED_TEXT_BYTES),
        part("records read ahead, three stages", "kafka.record_bytes_max", 3 * (source + scout)),
        part("posts being scored", "model.pool_bytes_max, pool_posts_max", pools),
        part("epochs of scored posts and mentions", "model.pool_posts_max", score),
        part("epochs of indices and alerts", "fixed, kafka.record_bytes_max", signal),
        part("mentions in windows", "index.partition_mentions_max, kafka.partitions", windows),
        part("subjects, and their alerts read back", "instruments.file, rules", desks),
        part("which of the last records were dead", "dead_letters.window_records", fates),
        part("open segments", "archive.segment_bytes", segments),
        part("records on their way to the brokers", "fixed", producers),
        part("metrics, page and log", "fixed", TOLD_BYTES),
    ]
}

/// What an input takes for each partition that it has beyond `kafka.partitions`, which [`footprint`] reckons with.
#[must_use]
pub fn input_partition_bytes(settings: &Settings) -> u64 {
    settings.dead_letters.window_records as u64
}

/// The sum of the parts, in bytes.
#[must_use]
pub fn total(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.bytes).sum()
}
