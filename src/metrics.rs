//! Every metric family: name, help, labels and buckets. This file is the contract that dashboards and alerting rules
//! are written against; `telemetry` registers what stands here and nothing else.

/// What a family counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets (upper bounds, in the family's unit).
    Histogram(&'static [f64]),
}

/// A metric family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// Its name, with `bellwether_` in front and the unit at the end.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Label names; every label has a bounded set of values.
    pub labels: &'static [&'static str],
}

const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, help, kind: Kind::Counter, labels }
}

const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, help, kind: Kind::Gauge, labels }
}

const fn histogram(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    buckets: &'static [f64],
) -> Family {
    Family { name, help, kind: Kind::Histogram(buckets), labels }
}

const LATENCY: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0];
const SHORT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const SHARES: &[f64] = &[0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];

/// Records taken from the input, by stage (`score`, `signal`, `archive`).
pub const RECORDS: Family = counter("bellwether_records_total", "Records taken from the input of a stage.", &["stage"]);
/// Posts decoded, by kind of source.
pub const POSTS: Family = counter("bellwether_posts_total", "Posts decoded, by kind of source.", &["kind"]);
/// Posts scored and committed, by sentiment (`negative`, `neutral`, `positive`, `abstained`).
pub const SCORED: Family = counter("bellwether_scored_posts_total", "Posts scored and committed.", &["sentiment"]);
/// Abstentions by task and reason.
pub const ABSTENTIONS: Family =
    counter("bellwether_abstentions_total", "Tasks without a label, by reason.", &["task", "reason"]);
/// Mentions written and committed, by kind of subject (`instrument`, `topic`, `market`).
pub const MENTIONS: Family = counter("bellwether_mentions_total", "Mentions written and committed.", &["subject"]);
/// Symbols and instruments left out of posts that name too many.
pub const SUBJECTS_DROPPED: Family =
    counter("bellwether_subjects_dropped_total", "Symbols and instruments left out of posts that name too many.", &[]);
/// Posts with more text than is kept.
pub const TEXTS_TRUNCATED: Family =
    counter("bellwether_texts_truncated_total", "Posts with more text than is kept: the rest was cut off.", &[]);
/// Alert records committed, by rule, severity and state.
pub const ALERTS: Family =
    counter("bellwether_alerts_total", "Alert records committed.", &["rule", "severity", "state"]);
/// Alerts that are firing now, by severity.
pub const ALERTS_FIRING: Family = gauge("bellwether_alerts_firing", "Alerts that are firing now.", &["severity"]);
/// Dead letters committed, by stage and reason.
pub const DEAD_LETTERS: Family =
    counter("bellwether_dead_letters_total", "Records that could not be used.", &["stage", "reason"]);
/// How much of the allowed dead letters the worst partition has used, by stage: above 1 the stage stops.
pub const DEAD_LETTER_LIMIT: Family = gauge(
    "bellwether_dead_letter_limit_used_ratio",
    "Dead letters among the last records of the worst partition, as a part of those that are allowed.",
    &["stage"],
);
/// Posts in a scoring pool.
pub const POOL_POSTS: Family =
    histogram("bellwether_pool_posts", "Posts that were sorted and scored together.", &[], SIZES);
/// Rows in a batch of the model.
pub const BATCH_ROWS: Family = histogram("bellwether_batch_rows", "Rows in one batch of the model.", &[], SIZES);
/// Tokens given to the model, by kind (`text`, `padding`).
pub const TOKENS: Family = counter("bellwether_tokens_total", "Tokens given to the model.", &["kind"]);
/// Seconds of inference a batch.
pub const INFERENCE: Family =
    histogram("bellwether_inference_seconds", "Time that the model took for one batch.", &[], SHORT);
/// Texts answered from the cache of texts scored a moment ago, by result (`hit`, `miss`).
pub const CACHE: Family =
    counter("bellwether_cache_lookups_total", "Look-ups among recently scored texts.", &["result"]);
/// Published to scored and committed.
pub const PUBLISHED_TO_SCORED: Family = histogram(
    "bellwether_published_to_scored_seconds",
    "From a post's publication to its committed score.",
    &[],
    LATENCY,
);
/// Appended to scored and committed.
pub const APPENDED_TO_SCORED: Family = histogram(
    "bellwether_appended_to_scored_seconds",
    "From a post's arrival on the input topic to its committed score.",
    &[],
    LATENCY,
);
/// Published to alert.
pub const PUBLISHED_TO_ALERT: Family = histogram(
    "bellwether_published_to_alert_seconds",
    "From the publication of the mention that tipped a rule to the committed alert.",
    &[],
    LATENCY,
);
/// Items in a queue, by stage and queue.
pub const QUEUE_FILL: Family = gauge("bellwether_queue_items", "Items that wait in a queue.", &["stage", "queue"]);
/// Capacity of a queue, by stage and queue.
pub const QUEUE_CAPACITY: Family =
    gauge("bellwether_queue_capacity_items", "Items that a queue can hold.", &["stage", "queue"]);
/// Records between committed position and end, by stage, topic and partition.
pub const LAG: Family = gauge(
    "bellwether_consumer_lag_records",
    "Records between the committed position and the end of a partition.",
    &["stage", "topic", "partition"],
);
/// Seconds a commit took, by stage and outcome (`committed`; `fenced`; `dropped`: its partitions went before it;
/// `halted`).
pub const COMMIT: Family = histogram(
    "bellwether_commit_seconds",
    "Time from closing an epoch to the end of its commit.",
    &["stage", "outcome"],
    SHORT,
);
/// Partitions reset, by stage.
pub const RESETS: Family = counter(
    "bellwether_partition_resets_total",
    "Partitions that began again at their committed position.",
    &["stage"],
);
/// Rebalance events, by stage and kind (`assigned`, `revoked`, `lost`).
pub const REBALANCES: Family =
    counter("bellwether_rebalances_total", "Changes of the partitions of a stage.", &["stage", "kind"]);
/// Partitions assigned now, by stage.
pub const PARTITIONS: Family = gauge("bellwether_assigned_partitions", "Partitions assigned now.", &["stage"]);
/// Subjects with state in this process.
pub const SUBJECTS: Family = gauge("bellwether_subjects", "Subjects with mentions in the look-back.", &[]);
/// Mentions that were not counted, by reason (`late`, `overflow`, `retracted`, `stale`).
pub const MENTIONS_IGNORED: Family =
    counter("bellwether_mentions_ignored_total", "Mentions that did not enter a window.", &["reason"]);
/// Ticks written.
pub const TICKS: Family = counter("bellwether_ticks_total", "Ticks written to the mentions topic.", &[]);
/// Samples archived, by reason.
pub const SAMPLES: Family = counter("bellwether_samples_total", "Rows kept in published segments.", &["reason"]);
/// Segments published, by dataset (`samples`, `labels`) and result (`written`, `taken`).
pub const SEGMENTS: Family = counter("bellwether_segments_total", "Segments published.", &["dataset", "result"]);
/// Bytes of published segments, by dataset.
pub const SEGMENT_BYTES: Family =
    counter("bellwether_segment_bytes_total", "Bytes of published segments.", &["dataset"]);
/// Failed attempts to write a segment.
pub const SEGMENT_FAILURES: Family =
    counter("bellwether_segment_failures_total", "Attempts to write a segment that failed.", &[]);
/// The loaded model; always 1.
pub const MODEL_INFO: Family =
    gauge("bellwether_model_info", "The model that answers.", &["name", "version", "variant", "device"]);
/// Changes of the champion, by result (`swapped`, `refused`).
pub const MODEL_RELOADS: Family =
    counter("bellwether_model_reloads_total", "Changes of the champion that were seen.", &["result"]);
/// Whether the champion was refused and an older model answers (1) or not (0).
pub const MODEL_REFUSED: Family = gauge("bellwether_model_refused", "Whether the champion was refused.", &[]);
/// How far the last posts and answers are from those on which the model was judged, by feature (population stability
/// index, nats).
pub const DRIFT: Family =
    gauge("bellwether_drift", "Distance of the last posts from those that the model was judged on.", &["feature"]);
/// The share of right answers, by task: `judged` with labels, and `estimated` without for the last posts.
pub const ACCURACY: Family = gauge("bellwether_accuracy_ratio", "The share of right answers.", &["task", "kind"]);
/// The challenger; always 1.
pub const CHALLENGER_INFO: Family = gauge(
    "bellwether_challenger_info",
    "The model that is tried beside it.",
    &["name", "version", "variant", "device"],
);
/// Posts of the challenger's share, by outcome (`asked`, `failed`, `dropped` under load).
pub const CHALLENGER_POSTS: Family =
    counter("bellwether_challenger_posts_total", "Posts of the challenger's share.", &["outcome"]);
/// Answers of the challenger, by task and whether the champion's is the same (`yes`, `no`).
pub const CHALLENGER_ANSWERS: Family =
    counter("bellwether_challenger_answers_total", "Answers of the challenger.", &["task", "agrees"]);
/// Probability of the best class of posts that both answered, by task and model (`champion`, `challenger`).
pub const CHALLENGER_CONFIDENCE: Family = histogram(
    "bellwether_challenger_confidence",
    "How sure champion and challenger are of the same posts.",
    &["task", "model"],
    SHARES,
);
/// Seconds of the challenger's inference a batch.
pub const CHALLENGER_INFERENCE: Family =
    histogram("bellwether_challenger_inference_seconds", "Time that the challenger took for one batch.", &[], SHORT);
/// Whether the stage is ready (1) or not (0), by stage.
pub const READY: Family = gauge("bellwether_ready", "Whether a stage is ready.", &["stage"]);
/// This build; always 1.
pub const BUILD_INFO: Family = gauge("bellwether_build_info", "This build.", &["version"]);

/// Every family.
pub const ALL: &[&Family] = &[
    &RECORDS,
    &POSTS,
    &SCORED,
    &ABSTENTIONS,
    &MENTIONS,
    &SUBJECTS_DROPPED,
    &TEXTS_TRUNCATED,
    &ALERTS,
    &ALERTS_FIRING,
    &DEAD_LETTERS,
    &DEAD_LETTER_LIMIT,
    &POOL_POSTS,
    &BATCH_ROWS,
    &TOKENS,
    &INFERENCE,
    &CACHE,
    &PUBLISHED_TO_SCORED,
    &APPENDED_TO_SCORED,
    &PUBLISHED_TO_ALERT,
    &QUEUE_FILL,
    &QUEUE_CAPACITY,
    &LAG,
    &COMMIT,
    &RESETS,
    &REBALANCES,
    &PARTITIONS,
    &SUBJECTS,
    &MENTIONS_IGNORED,
    &TICKS,
    &SAMPLES,
    &SEGMENTS,
    &SEGMENT_BYTES,
    &SEGMENT_FAILURES,
    &MODEL_INFO,
    &MODEL_RELOADS,
    &MODEL_REFUSED,
    &DRIFT,
    &ACCURACY,
    &CHALLENGER_INFO,
    &CHALLENGER_POSTS,
    &CHALLENGER_ANSWERS,
    &CHALLENGER_CONFIDENCE,
    &CHALLENGER_INFERENCE,
    &READY,
    &BUILD_INFO,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_convention_and_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for family in ALL {
            assert!(family.name.starts_with("bellwether_"), "{}", family.name);
            assert!(seen.insert(family.name), "{} stands twice", family.name);
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
        }
    }
}
