//! The topics of a pipeline: what each should be like, what is created when it is missing, what is said when it is
//! there and different. Nothing that is there is changed.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::kafka::client::{self, Quiet};
use crate::kafka::{KafkaError, KafkaSettings};
use crate::time::Clock;

/// How long one administrative request may take.
const REQUEST: Duration = Duration::from_secs(20);

/// What is kept of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// An input: others write it. Created with the broker's defaults.
    Input,
    /// Kept for the `retention` of the settings.
    Retained,
    /// Kept for ever: what people wrote.
    Kept,
    /// The last record of every key.
    Compacted,
    /// All records of this span, then the last record of every key.
    CompactedAfter(Duration),
}

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: Arc<str>,
    /// What is kept.
    pub upkeep: Upkeep,
    /// Whether it has `partitions` of the settings, for the life of the pipeline.
    pub alike: bool,
}

/// Something about a topic that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFinding {
    /// The topic.
    pub topic: Arc<str>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether a pipeline must not run on it.
    pub halts: bool,
}

/// What was done and found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicReport {
    /// Created now, with their partition counts.
    pub created: Vec<(Arc<str>, i32)>,
    /// Not there; empty after [`ensure_topics`].
    pub missing: Vec<Arc<str>>,
    /// There, and not as it should be.
    pub findings: Vec<TopicFinding>,
}

/// Creates what is missing; reports on what was there.
///
/// # Errors
/// [`KafkaError::Unavailable`], or when the broker refuses to create a topic.
pub fn ensure_topics(
    settings: &KafkaSettings,
    plans: &[TopicPlan],
    clock: &dyn Clock,
) -> Result<TopicReport, KafkaError> {
    let mut report = inspect_topics(settings, plans, clock)?;
    if report.missing.is_empty() {
        return Ok(report);
    }
    let names: Vec<Arc<str>> = plans.iter().map(|plan| plan.name.clone()).collect();
    let counts = partition_counts(settings, &names, clock)?;
    // A missing one of a set is created like those that are there.
    let alike = plans.iter().filter(|plan| plan.alike).find_map(|plan| counts.get(&plan.name).copied());
    let admin = admin(settings)?;
    for plan in plans.iter().filter(|plan| report.missing.contains(&plan.name)) {
        let count = alike.filter(|_| plan.alike).unwrap_or(settings.partitions);
        create(&admin, settings, plan, count)?;
        report.created.push((plan.name.clone(), count));
    }
    report.missing.clear();
    await_leaders(settings, &names, clock)?;
    Ok(report)
}

/// Reports and changes nothing.
///
/// # Errors
/// [`KafkaError::Unavailable`], or when the broker does not show its settings.
pub fn inspect_topics(
    settings: &KafkaSettings,
    plans: &[TopicPlan],
    clock: &dyn Clock,
) -> Result<TopicReport, KafkaError> {
    let names: Vec<Arc<str>> = plans.iter().map(|plan| plan.name.clone()).collect();
    let counts = partition_counts(settings, &names, clock)?;
    let mut report = TopicReport::default();
    report.missing.extend(names.iter().filter(|name| !counts.contains_key(*name)).cloned());
    let alike: Vec<(&TopicPlan, i32)> =
        plans.iter().filter(|plan| plan.alike).filter_map(|plan| Some((plan, *counts.get(&plan.name)?))).collect();
    report.findings.extend(miscounted(settings, &alike));
    let there: Vec<&TopicPlan> = plans.iter().filter(|plan| counts.contains_key(&plan.name)).collect();
    if !there.is_empty() {
        let admin = admin(settings)?;
        let specifiers: Vec<ResourceSpecifier<'_>> =
            there.iter().map(|plan| ResourceSpecifier::Topic(&plan.name)).collect();
        let described = wait(admin.describe_configs(&specifiers, &options()))?;
        for (plan, resource) in there.iter().zip(described) {
            let resource = resource.map_err(|code| KafkaError::refused("reading a topic's settings", code))?;
            report.findings.extend(compare(settings, plan, &resource));
        }
    }
    Ok(report)
}

/// Of the topics that have their partition count for life, those with another one than the settings say.
fn miscounted(settings: &KafkaSettings, there: &[(&TopicPlan, i32)]) -> Vec<TopicFinding> {
    let first = there.first().map_or(0, |(_, count)| *count);
    let remedy = if there.iter().all(|(_, count)| *count == first) {
        format!(
            "it is fixed for the life of a pipeline: set kafka.partitions = {first}; to grow, start a pipeline with a new \
             name on the same inputs"
        )
    } else {
        "they must agree for the life of a pipeline: start one with a new name on the same inputs".to_owned()
    };
    let wrong = there.iter().filter(|(_, count)| *count != settings.partitions);
    let finding = |(plan, count): &(&TopicPlan, i32)| TopicFinding {
        topic: plan.name.clone(),
        message: format!("it has {count} partitions and kafka.partitions is {}", settings.partitions),
        remedy: remedy.clone(),
        halts: true,
    };
    wrong.map(finding).collect()
}

/// How many partitions each topic has; those that are not there are left out.
///
/// # Errors
/// [`KafkaError::Unavailable`].
pub fn partition_counts(
    settings: &KafkaSettings,
    topics: &[Arc<str>],
    clock: &dyn Clock,
) -> Result<BTreeMap<Arc<str>, i32>, KafkaError> {
    let asker: BaseConsumer<Quiet> = client::plain(settings, "bellwether-topics").create_with_context(Quiet)?;
    let counts = client::reach(&asker, settings, topics, clock)?;
    Ok(counts.into_iter().filter(|it| it.1 > 0).collect())
}

/// The settings that a topic is created with and compared to.
fn wanted(settings: &KafkaSettings, upkeep: Upkeep) -> Vec<(&'static str, String)> {
    let bytes = ("max.message.bytes", client::record_bytes_max(settings).to_string());
    let time = ("message.timestamp.type", "LogAppendTime".to_owned());
    let delete = ("cleanup.policy", "delete".to_owned());
    let compact = ("cleanup.policy", "compact".to_owned());
    // With three copies or more two must have a record before it is acknowledged: one broker may be lost, or be away.
    let copies = (settings.replication >= 3).then(|| ("min.insync.replicas", "2".to_owned()));
    let mut wanted = match upkeep {
        Upkeep::Input => Vec::new(),
        Upkeep::Retained => {
            vec![delete, ("retention.ms", settings.retention.as_millis().to_string()), time, bytes]
        }
        Upkeep::Kept => vec![delete, ("retention.ms", "-1".to_owned()), time, bytes],
        Upkeep::Compacted => vec![compact, time, bytes],
        Upkeep::CompactedAfter(lag) => {
            vec![compact, ("min.compaction.lag.ms", lag.as_millis().to_string()), time, bytes]
        }
    };
    wanted.extend(copies.filter(|_| upkeep != Upkeep::Input));
    wanted
}

/// Differences that matter: a longer retention or lag and a larger limit do no harm.
fn compare(settings: &KafkaSettings, plan: &TopicPlan, resource: &ConfigResource) -> Vec<TopicFinding> {
    let mut findings = Vec::new();
    for (name, wanted) in wanted(settings, plan.upkeep) {
        let Some(found) = resource.get(name).and_then(|entry| entry.value.clone()) else { continue };
        let fine = match (name, wanted.parse::<i64>(), found.parse::<i64>()) {
            ("retention.ms", Ok(wanted), Ok(found)) => found == -1 || (wanted >= 0 && found >= wanted),
            (_, Ok(wanted), Ok(found)) => found >= wanted,
            _ => found == wanted,
        };
        if !fine {
            findings.push(TopicFinding {
                topic: plan.name.clone(),
                message: format!("{name} is {found}, not {wanted}"),
                remedy: format!("kafka-configs --alter --topic {} --add-config {name}={wanted}", plan.name),
                halts: false,
            });
        }
    }
    findings
}

fn create(
    admin: &AdminClient<Quiet>,
    settings: &KafkaSettings,
    plan: &TopicPlan,
    count: i32,
) -> Result<(), KafkaError> {
    let wanted = wanted(settings, plan.upkeep);
    let mut topic = NewTopic::new(&plan.name, count, TopicReplication::Fixed(settings.replication));
    for (name, value) in &wanted {
        topic = topic.set(name, value);
    }
    for result in wait(admin.create_topics([&topic], &options()))? {
        match result {
            // Another process was quicker.
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(KafkaError::Refused { what: "creating a topic", why: format!("{name}: {code}") });
            }
        }
    }
    Ok(())
}

/// A topic is created before every broker knows of it.
fn await_leaders(settings: &KafkaSettings, names: &[Arc<str>], clock: &dyn Clock) -> Result<(), KafkaError> {
    let began = clock.monotonic();
    while partition_counts(settings, names, clock)?.len() < names.len() {
        if clock.monotonic().saturating_sub(began) > REQUEST {
            return Err(KafkaError::TimedOut { what: "waiting for new topics".to_owned(), waited: REQUEST });
        }
        clock.pause(Duration::from_millis(50));
    }
    Ok(())
}

fn admin(settings: &KafkaSettings) -> Result<AdminClient<Quiet>, KafkaError> {
    Ok(client::plain(settings, "bellwether-topics").create_with_context(Quiet)?)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST))
}

/// Waits for an administrative answer without a runtime: it comes from the client's own thread.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut answer = pin!(answer);
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}
