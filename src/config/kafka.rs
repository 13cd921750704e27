//! The section `[kafka]`, with the properties that are passed on to librdkafka and those that are refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::problem::Place;
use super::reader::Section;
use super::setting::quoted;
use super::tree::{Node, Value};
use super::units::ByteSize;
use crate::kafka::{KafkaSettings, property_objection};

const DAY: Duration = Duration::from_secs(86_400);

/// Properties that decide the guarantee or that have a key of their own, and what to do instead.
const REFUSED: [(&str, &str); 17] = [
    ("auto.commit.enable", "positions are committed by bellwether alone"),
    ("auto.commit.interval.ms", "positions are committed by bellwether alone; see kafka.commit_interval"),
    ("auto.offset.reset", "a partition without a commit is placed by bellwether"),
    ("bootstrap.servers", "use kafka.bootstrap_servers"),
    ("client.id", "it is made from the pipeline's name, the stage and kafka.instance"),
    ("enable.auto.commit", "positions are committed by bellwether alone"),
    ("enable.auto.offset.store", "positions are stored by bellwether alone"),
    ("enable.idempotence", "the producer is always idempotent"),
    ("enable.partition.eof", "the end of a partition is asked for where it is needed"),
    ("group.id", "groups are named after the pipeline and the stage"),
    ("group.instance.id", "the leases of partitions do not work with static members"),
    ("group.protocol", "the classic protocol is the one that was tried"),
    ("isolation.level", "only committed records are ever read"),
    ("message.max.bytes", "use kafka.record_bytes_max"),
    ("metadata.broker.list", "use kafka.bootstrap_servers"),
    ("partition.assignment.strategy", "it is cooperative-sticky"),
    ("transactional.id", "it is made from the pipeline's name, the stage and kafka.instance"),
];

/// More of them, with one reason: they are part of the guarantee.
const REFUSED_TOO: [&str; 7] = [
    "acks",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.send.max.retries",
    "request.required.acks",
    "retries",
    "transaction.timeout.ms",
];

/// Reads `[kafka]`.
pub(super) fn read(mut kafka: Section<'_>) -> KafkaSettings {
    let is = KafkaSettings::default();
    let seconds = Duration::from_secs;
    let settings = KafkaSettings {
        bootstrap_servers: kafka.or("bootstrap_servers", is.bootstrap_servers),
        delivery: kafka.or("delivery", is.delivery),
        instance: kafka.optional("instance"),
        commit_interval: kafka.within("commit_interval", is.commit_interval, Duration::from_millis(10)..=seconds(10)),
        start_timeout: kafka.within("start_timeout", is.start_timeout, seconds(1)..=seconds(3_600)),
        drain_timeout: kafka.within("drain_timeout", is.drain_timeout, seconds(1)..=seconds(100)),
        transaction_timeout: kafka.within("transaction_timeout", is.transaction_timeout, seconds(5)..=seconds(60)),
        record_bytes_max: record_bytes_max(&mut kafka, is.record_bytes_max),
        partitions: kafka.within("partitions", is.partitions, 1..=1_000),
        replication: kafka.within("replication", is.replication, 1..=16),
        retention: kafka.within("retention", is.retention, seconds(60)..=DAY * 3_650),
        properties: properties(kafka.section("properties")),
    };
    check_names(&kafka, &settings);
    kafka.finish();
    settings
}

fn record_bytes_max(kafka: &mut Section<'_>, default: usize) -> usize {
    kafka.within("record_bytes_max", ByteSize(default), ByteSize(1 << 10)..=ByteSize(100 << 20)).0
}

fn check_names(kafka: &Section<'_>, settings: &KafkaSettings) {
    for server in settings.bootstrap_servers.split(',').map(str::trim) {
        let port = server.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            let message = format!("{} is not host:port", quoted(server));
            kafka.problem("bootstrap_servers", message, "write \"host:9092\", several separated by commas");
        }
    }
    if let Some(instance) = &settings.instance
        && !super::is_kafka_name(instance, 60)
    {
        let message = format!("{} cannot be part of a transactional id", quoted(instance));
        kafka.problem("instance", message, "use letters, digits, `.`, `_` and `-`, at most 60");
    }
}

fn properties(section: Section<'_>) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for (name, value) in section.entries() {
        if let Some((property, text)) = property(&section, name, value) {
            check_property(&section, name, (&property, &text));
            let shown = if KafkaSettings::is_secret(&property) { quoted("****") } else { quoted(&text) };
            section.show(&quoted(&property), shown, Some(value.place.clone()));
            properties.insert(property, text);
        }
    }
    properties
}

/// One property with its value; `NAME_file` takes the value from a file.
fn property(section: &Section<'_>, name: &str, value: &Value) -> Option<(String, String)> {
    let text = match &value.node {
        Node::Text(text) | Node::Raw(text) => text.clone(),
        Node::Integer(number) => number.to_string(),
        Node::Float(number) => number.to_string(),
        Node::Flag(flag) => flag.to_string(),
        node @ (Node::Moment(_) | Node::List(_) | Node::Table(_)) => {
            let remedy = format!("write \"{name}\" = \"value\": the names of properties stand in quotes");
            section.problem(name, format!("expected a text, a number or a flag, found {}", node.kind()), remedy);
            return None;
        }
    };
    let property = name.strip_suffix("_file").unwrap_or(name);
    if let Some(instead) = refusal(property) {
        section.problem(name, "the delivery guarantee needs this property as it is", format!("remove it: {instead}"));
        return None;
    }
    if property != name {
        return secret_file(section, name, &text).map(|secret| (property.to_owned(), secret));
    }
    if KafkaSettings::is_secret(property) && !matches!(value.place, Place::Environment(_)) {
        let variable = property.to_ascii_uppercase().replace('.', "_");
        let remedy = format!(
            "name a file with \"{property}_file\" = \"/path\", or set BELLWETHER__KAFKA__PROPERTIES__{variable}"
        );
        section.problem(name, "a secret does not belong into a pipeline file", remedy);
        return None;
    }
    Some((property.to_owned(), text))
}

/// Librdkafka knows its properties itself; a value that it refuses is shown unless it is a secret.
fn check_property(section: &Section<'_>, name: &str, (property, text): (&str, &str)) {
    let Some(why) = property_objection(property, text) else { return };
    let why = if KafkaSettings::is_secret(property) { "its value is not one of those that it takes" } else { &why };
    let remedy = "take a name and a value from librdkafka's list of configuration properties, or take it out";
    section.problem(name, format!("librdkafka refuses it: {why}"), remedy);
}

fn refusal(property: &str) -> Option<&'static str> {
    let named = REFUSED.iter().find(|(name, _)| *name == property).map(|(_, instead)| *instead);
    named.or_else(|| REFUSED_TOO.contains(&property).then_some("it is set as the guarantee needs it"))
}

fn secret_file(section: &Section<'_>, name: &str, text: &str) -> Option<String> {
    let path = section.path(name, text);
    match std::fs::read_to_string(&path) {
        Ok(secret) => Some(secret.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            section.problem(name, message, "make the file readable for this user, or correct the path");
            None
        }
    }
}
