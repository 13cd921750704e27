//! How each kind of client is set up. Three layers, lowest first: what suits us, what the user passes on, what the
//! guarantee needs; so nobody can switch the guarantee off, and everything else is open.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as Theirs;
use rdkafka::types::RDKafkaRespErr;

use crate::kafka::{KafkaError, KafkaSettings, desk, outlet, poller};
use crate::time::Clock;

/// What our records may be larger than the largest input: headers, and the JSON around a text.
pub(super) const RECORD_OVERHEAD: usize = 64 << 10;

/// How long one question to the broker may take before it is asked again.
pub(super) const ASK: Duration = Duration::from_secs(3);

/// `max.poll.interval.ms`: a source that does not poll for so long is put out of its group.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(300);

/// The largest record that our clients send, in bytes.
pub(super) const fn record_bytes_max(settings: &KafkaSettings) -> usize {
    settings.record_bytes_max + RECORD_OVERHEAD
}

fn layered(settings: &KafkaSettings, ours: &[(&str, String)], guarantee: &[(&str, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config.set("reconnect.backoff.max.ms", "2000");
    for (name, value) in ours {
        config.set(*name, value);
    }
    for (name, value) in &settings.properties {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &settings.bootstrap_servers);
    // A producer would make a topic that it asks for, and so one that somebody has deleted.
    config.set("allow.auto.create.topics", "false");
    for (name, value) in guarantee {
        config.set(*name, value);
    }
    config
}

fn text(value: impl ToString) -> String {
    value.to_string()
}

/// What a client's prefetch queue may hold, in bytes.
fn prefetch_bytes(settings: &KafkaSettings) -> usize {
    record_bytes_max(settings).max(16 << 20)
}

/// What one fetch may bring, in bytes.
fn fetch_bytes(settings: &KafkaSettings) -> usize {
    record_bytes_max(settings).max(4 << 20)
}

/// What a producer's queue may hold, in bytes.
const PRODUCER_BYTES: usize = 64 << 20;

/// The largest event of a source, in bytes: a hand-over is cut when it has passed its bound.
#[must_use]
pub fn event_bytes_max(settings: &KafkaSettings) -> usize {
    desk::BYTES_MAX + record_bytes_max(settings)
}

/// What a source may hold, in bytes: the client's queue and one fetch beyond it, one sweep, and the events in its queue.
/// `kafka.properties` can raise the client's part.
#[must_use]
pub fn source_bytes_max(settings: &KafkaSettings) -> usize {
    let sweep = poller::SWEEP_BYTES + event_bytes_max(settings);
    prefetch_bytes(settings) + fetch_bytes(settings) + sweep + (outlet::QUEUE + 1) * event_bytes_max(settings)
}

/// What a scout's queue may hold, in bytes; only one of its two clients reads, and one that is given up drops what it has.
pub(super) const SCOUT_BYTES: usize = 4 << 20;

/// What a scout may hold, in bytes.
#[must_use]
pub fn scout_bytes_max(settings: &KafkaSettings) -> usize {
    SCOUT_BYTES + fetch_bytes(settings)
}

/// What a producer may hold, in bytes.
#[must_use]
pub const fn producer_bytes_max() -> usize {
    PRODUCER_BYTES
}

/// A number that `kafka.properties` sets.
fn set_by_user<T: FromStr>(settings: &KafkaSettings, property: &str) -> Option<T> {
    settings.properties.get(property)?.parse().ok()
}

/// How long a broker may hold the answer to a fetch back.
pub(super) fn fetch_wait(settings: &KafkaSettings) -> Duration {
    Duration::from_millis(set_by_user(settings, "fetch.wait.max.ms").unwrap_or(500))
}

/// Bytes that a client may have fetched and not handed over: its queue, and one fetch beyond it.
pub(super) fn prefetched_max(settings: &KafkaSettings) -> usize {
    let queue = set_by_user(settings, "queued.max.messages.kbytes").map(|kbytes: usize| kbytes.saturating_mul(1024));
    let fetch = set_by_user(settings, "fetch.max.bytes");
    queue.unwrap_or_else(|| prefetch_bytes(settings)).saturating_add(fetch.unwrap_or_else(|| fetch_bytes(settings)))
}

/// A consumer. `group` is always named, joined only by who subscribes. The prefetch queue is bounded at 16 MiB over
/// all partitions, or one largest record if that is more.
pub(super) fn consumer(settings: &KafkaSettings, group: &str, client_id: &str) -> ClientConfig {
    let largest = record_bytes_max(settings);
    let fetch = fetch_bytes(settings);
    let ours = [
        ("client.id", text(client_id)),
        ("session.timeout.ms", text(6_000)),
        ("heartbeat.interval.ms", text(1_500)),
        ("fetch.max.bytes", text(fetch)),
        ("max.partition.fetch.bytes", text(largest)),
        ("fetch.queue.backoff.ms", text(20)),
        ("queued.min.messages", text(20_000)),
        // What rotted on a broker's disk is found, and not read as something else.
        ("check.crcs", text(true)),
        ("queued.max.messages.kbytes", text(prefetch_bytes(settings) / 1024)),
        // A partition that an input gets is found after this time at the latest.
        ("topic.metadata.refresh.interval.ms", text(30_000)),
    ];
    let guarantee = [
        ("group.id", text(group)),
        ("group.protocol", text("classic")),
        ("partition.assignment.strategy", text("cooperative-sticky")),
        ("enable.auto.commit", text(false)),
        ("enable.auto.offset.store", text(false)),
        ("isolation.level", text("read_committed")),
        ("auto.offset.reset", text("error")),
        ("max.poll.interval.ms", text(POLL_INTERVAL.as_millis())),
        ("message.max.bytes", text(fetch)),
        ("receive.message.max.bytes", text(fetch.saturating_mul(2).max(100_000_000))),
        // By them a source knows that its client still finds its brokers.
        ("statistics.interval.ms", text(1_000)),
    ];
    layered(settings, &ours, &guarantee)
}

/// Clients of this process that were replaced and have not ended, at most (a scout's two are one). They may hang for long,
/// and who makes no new one then hangs with them: as many as all stages make while they wait for a place on the log.
const ENDING_MAX: usize = 400;

/// How often is looked whether nobody uses such a client any more.
const GONE_EVERY: Duration = Duration::from_millis(200);

static ENDING: AtomicUsize = AtomicUsize::new(0);

/// Counts a client from its replacement to its end.
struct Ending;

impl Drop for Ending {
    fn drop(&mut self) {
        ENDING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether one more client may take the place of one that may hang.
pub(super) fn may_replace() -> bool {
    ENDING.load(Ordering::SeqCst) < ENDING_MAX
}

/// Ends what may hang: its end waits for what it still does.
pub(super) fn end_aside(old: impl Send + 'static) {
    end_shared(old, || true);
}

/// The same for what calls on threads of their own may still use: it counts until it `is_gone`.
pub(super) fn end_shared(old: impl Send + 'static, is_gone: impl Fn() -> bool + Send + 'static) {
    ENDING.fetch_add(1, Ordering::SeqCst);
    let counted = Ending;
    let ending = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || {
        drop(old);
        while !is_gone() {
            std::thread::park_timeout(GONE_EVERY);
        }
        drop(counted);
    });
    drop(ending.inspect_err(|error| tracing::debug!(%error, "ending an old client")));
}

/// A producer; with `transactional_id` one of transactions. At most 64 MiB wait in it.
pub(super) fn producer(settings: &KafkaSettings, client_id: &str, transactional_id: Option<&str>) -> ClientConfig {
    let ours = [
        ("client.id", text(client_id)),
        ("compression.type", text("lz4")),
        ("linger.ms", text(2)),
        ("queue.buffering.max.kbytes", text(PRODUCER_BYTES / 1024)),
        ("queue.buffering.max.messages", text(100_000)),
    ];
    let mut guarantee = vec![
        ("enable.idempotence", text(true)),
        ("acks", text("all")),
        ("max.in.flight.requests.per.connection", text(5)),
        ("message.max.bytes", text(record_bytes_max(settings))),
        ("message.timeout.ms", text(settings.transaction_timeout.as_millis())),
    ];
    if let Some(id) = transactional_id {
        guarantee.push(("transactional.id", text(id)));
        guarantee.push(("transaction.timeout.ms", text(settings.transaction_timeout.as_millis())));
    }
    layered(settings, &ours, &guarantee)
}

/// Only what reaches the brokers.
pub(super) fn plain(settings: &KafkaSettings, client_id: &str) -> ClientConfig {
    layered(settings, &[("client.id", text(client_id))], &[])
}

/// Why librdkafka does not take a property or its value; `None` where it does. Connects to nothing. The text may hold the
/// value.
#[must_use]
pub fn property_objection(property: &str, value: &str) -> Option<String> {
    match ClientConfig::new().set(property, value).create_native_config() {
        Err(Theirs::ClientConfig(_, why, _, _)) => Some(why),
        Err(other) => Some(other.to_string()),
        Ok(_) => None,
    }
}

/// A context that passes librdkafka's log on and does nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        pass_on(level, facility, message);
    }

    fn error(&self, error: Theirs, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Quiet {}

/// librdkafka's log in ours. What it calls an error is retried by it: a warning for us.
pub(super) fn pass_on(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        // A broker that has just started looks for the transactions that it coordinates.
        _ if facility == "GETPID" && message.ends_with("retrying") => tracing::debug!(facility, "{message}"),
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, "{message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "{message}"),
    }
}

/// Asks for the partition count of each topic until every one has answered; a topic that is not there has 0.
///
/// # Errors
/// [`KafkaError::Unavailable`] when no broker answered within `start_timeout`.
pub(super) fn reach<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    settings: &KafkaSettings,
    topics: &[Arc<str>],
    clock: &dyn Clock,
) -> Result<Vec<(Arc<str>, i32)>, KafkaError> {
    let began = clock.monotonic();
    let mut said = false;
    let mut found = Vec::with_capacity(topics.len());
    for topic in topics {
        loop {
            let left = settings.start_timeout.saturating_sub(clock.monotonic().saturating_sub(began));
            match client.fetch_metadata(Some(topic), left.min(ASK)) {
                Ok(metadata) => {
                    let it = metadata.topics().iter().find(|it| it.name() == &**topic);
                    // It is there, and has no leader while a broker starts or was not heard of for a while.
                    let leaderless = Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
                    if it.is_some_and(|it| it.error() == leaderless) && !left.is_zero() {
                        clock.pause(left.min(Duration::from_millis(200)));
                        continue;
                    }
                    let it = it.filter(|it| it.error().is_none());
                    found.push((topic.clone(), it.map_or(0, |it| i32::try_from(it.partitions().len()).unwrap_or(0))));
                    break;
                }
                Err(error) if left.is_zero() => {
                    let (servers, waited) = (settings.bootstrap_servers.clone(), settings.start_timeout);
                    return Err(KafkaError::Unavailable { servers, waited, last: error.to_string() });
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        let (servers, limit) = (&settings.bootstrap_servers, settings.start_timeout.as_secs());
                        tracing::warn!(%error, %servers, "waiting for the brokers, {limit} s at most");
                    }
                    clock.pause(left.min(Duration::from_millis(200)));
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_client_that_a_call_still_uses_counts_as_one_that_has_not_ended() {
        let client = Arc::new(());
        let (used, life) = (client.clone(), Arc::downgrade(&client));
        end_shared(client, move || life.strong_count() == 0);
        // Its thread has let go of it, and looks every now and then.
        while Arc::strong_count(&used) > 1 {
            std::thread::yield_now();
        }
        assert_eq!(ENDING.load(Ordering::SeqCst), 1);
        drop(used);
        while ENDING.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
    }
}
