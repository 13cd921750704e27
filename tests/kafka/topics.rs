//! The topics of a pipeline.

use super::*;
use bellwether::kafka::{Producer, inspect_topics, partition_counts};
use bellwether::stream::Transaction as _;

#[test]
fn missing_topics_are_created_as_they_should_be_and_wrong_ones_are_reported() {
    let corner = Corner::new("topics");
    let plan =
        |name: &str, upkeep, alike| TopicPlan { name: format!("{}.{name}", corner.prefix).into(), upkeep, alike };
    let week = Duration::from_secs(604_800);
    let plans = vec![
        plan("posts", Upkeep::Input, false),
        plan("scored", Upkeep::Retained, false),
        plan("mentions", Upkeep::Retained, true),
        plan("index", Upkeep::Compacted, true),
        plan("alerts", Upkeep::CompactedAfter(week), true),
        plan("labels", Upkeep::Kept, false),
    ];
    let clock = corner.clock.as_ref();
    let before = inspect_topics(&corner.settings, &plans, clock).unwrap();
    assert_eq!((before.missing.len(), before.findings.len()), (6, 0));
    let made = ensure_topics(&corner.settings, &plans, clock).unwrap();
    assert_eq!((made.created.len(), made.missing.len(), made.findings.len()), (6, 0, 0), "{made:?}");
    let again = ensure_topics(&corner.settings, &plans, clock).unwrap();
    assert_eq!((again.created.len(), again.findings.len()), (0, 0), "{again:?}");
    let names: Vec<Arc<str>> = plans.iter().map(|plan| plan.name.clone()).collect();
    assert!(partition_counts(&corner.settings, &names, clock).unwrap().values().all(|count| *count == 4));

    // The same names with other wishes: what is there is reported, and not changed.
    let mut other = corner.settings.clone();
    other.record_bytes_max *= 2;
    other.retention *= 2;
    let mut wishes = plans.clone();
    wishes[2].upkeep = Upkeep::Compacted;
    let found = inspect_topics(&other, &wishes, clock).unwrap().findings;
    let said = |topic: &str, what: &str| {
        found.iter().any(|it| it.topic.ends_with(topic) && it.message.contains(what) && !it.remedy.is_empty())
    };
    assert!(said("scored", "retention.ms is 604800000, not 1209600000"), "{found:?}");
    assert!(said("mentions", "cleanup.policy is delete, not compact"), "{found:?}");
    assert!(said("alerts", "max.message.bytes"), "{found:?}");
    assert!(!found.iter().any(|it| it.topic.ends_with("posts")), "{found:?}");
}

#[test]
fn a_count_that_all_agree_on_and_the_file_does_not_is_said_with_what_to_do() {
    let corner = Corner::new("counted");
    let plan = |name: &str, upkeep, alike| TopicPlan { name: corner.topic(name, 2, upkeep), upkeep, alike };
    let plans = [
        plan("posts", Upkeep::Input, false),
        plan("scored", Upkeep::Retained, false),
        plan("mentions", Upkeep::Retained, true),
        plan("index", Upkeep::Compacted, true),
    ];
    let report = inspect_topics(&corner.settings, &plans, corner.clock.as_ref()).unwrap();
    let halting: Vec<_> = report.findings.iter().filter(|it| it.halts).collect();
    assert_eq!(halting.len(), 2, "{halting:?}");
    for (finding, name) in halting.iter().zip(["mentions", "index"]) {
        assert!(finding.topic.ends_with(name), "{finding:?}");
        assert_eq!(finding.message, "it has 2 partitions and kafka.partitions is 4");
        assert!(finding.remedy.contains("set kafka.partitions = 2") && finding.remedy.contains("new name"));
    }
}

#[test]
fn a_topic_that_others_made_shows_its_time_and_its_count() {
    let corner = Corner::new("foreign");
    let index = corner.topic("index", 2, Upkeep::Input);
    let alerts = corner.topic("alerts", 3, Upkeep::Compacted);
    let mentions: Arc<str> = format!("{}.mentions", corner.prefix).into();
    let plan = |name: &Arc<str>, upkeep| TopicPlan { name: name.clone(), upkeep, alike: true };
    let plans = [plan(&mentions, Upkeep::Retained), plan(&index, Upkeep::Compacted), plan(&alerts, Upkeep::Compacted)];
    let report = ensure_topics(&corner.settings, &plans, corner.clock.as_ref()).unwrap();
    // The missing one is made like the first of those that must agree.
    assert_eq!(report.created, [(mentions, 2)]);
    let messages: Vec<&str> = report.findings.iter().map(|it| it.message.as_str()).collect();
    assert!(messages.contains(&"it has 2 partitions and kafka.partitions is 4"), "{messages:?}");
    assert!(messages.contains(&"it has 3 partitions and kafka.partitions is 4"), "{messages:?}");
    assert!(report.findings.iter().all(|it| it.halts == it.remedy.contains("for the life of a pipeline")));
    assert!(messages.contains(&"message.timestamp.type is CreateTime, not LogAppendTime"), "{messages:?}");
}

#[test]
fn topics_with_three_copies_ask_for_two_of_them() {
    let corner = Corner::new("copies");
    let plan = |name: &str, upkeep| TopicPlan { name: corner.topic(name, 4, upkeep), upkeep, alike: false };
    let plans = [plan("posts", Upkeep::Input), plan("scored", Upkeep::Retained)];
    let thrice = KafkaSettings { replication: 3, ..corner.settings.clone() };
    let found = inspect_topics(&thrice, &plans, corner.clock.as_ref()).unwrap().findings;
    let said: Vec<&str> = found.iter().map(|finding| &*finding.message).collect();
    assert_eq!(said, ["min.insync.replicas is 1, not 2"], "the input is whoever's who writes it: {found:?}");
    assert!(found[0].remedy.contains("--add-config min.insync.replicas=2"), "{found:?}");
    assert!(inspect_topics(&corner.settings, &plans, corner.clock.as_ref()).unwrap().findings.is_empty());
}

#[test]
fn a_producer_that_asks_for_a_topic_that_is_gone_does_not_make_it() {
    let corner = Corner::new("gone");
    let gone: Arc<str> = format!("{}.gone", corner.prefix).into();
    let mut port = Producer::alone(&corner.settings, &corner.prefix, corner.clock.clone()).unwrap();
    port.begin().unwrap();
    // It takes what it cannot deliver.
    let given_up = port.produce(&Corner::output(&gone, "a")).and_then(|()| port.commit());
    assert!(given_up.is_err(), "the brokers of these tests make a topic for whoever asks: {given_up:?}");
    let counts = partition_counts(&corner.settings, std::slice::from_ref(&gone), corner.clock.as_ref()).unwrap();
    assert!(counts.is_empty(), "{counts:?}");
}
