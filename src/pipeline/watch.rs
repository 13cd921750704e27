//! The watch over the topics of a running pipeline. A topic that is deleted, or a partition count that is fixed for the
//! life of a pipeline and changed, ends the run with its name: going on would mean to work for nobody, or to look for
//! a subject's mentions where they are not.
//!
//! A partition more of an input, of the scored posts or of the labels is none of that: whoever reads them hears of it.
//! And brokers that hang are found here: their connections stand, so nobody else sees it before long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::kafka::{Census, KafkaError, TopicPlan};
use crate::pipeline::{Assembly, RunError, Settings, topic_plans};

/// How often the topics are looked at.
const LOOK: Duration = Duration::from_secs(3);

/// How long a topic that is missed is waited for before it is missed once more, when a stage has stopped already.
const AGAIN: Duration = Duration::from_millis(500);

/// Whether the brokers answer, as the watch saw it last.
#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct Pulse(Arc<Mutex<Option<String>>>);

impl Pulse {
    /// Why they do not.
    pub(in crate::pipeline) fn trouble(&self) -> Option<String> {
        self.hold().clone()
    }

    /// Remembers how it is now; a change is said once.
    fn feel(&self, trouble: Option<String>) {
        let mut last = self.hold();
        match (&*last, &trouble) {
            (None, Some(why)) => tracing::warn!(why, "the brokers do not answer"),
            (Some(_), None) => tracing::info!("the brokers answer again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *last = trouble;
    }

    fn hold(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of the topics.
struct Watch {
    /// The topics whose partition count is fixed.
    fixed: BTreeSet<Arc<str>>,
    /// The partition counts at the last look.
    counts: BTreeMap<Arc<str>, i32>,
    /// Topics that were not there at the last look: a broker that has just started may not know them yet.
    missing: BTreeSet<Arc<str>>,
}

impl Watch {
    fn new(plans: &[TopicPlan]) -> Self {
        let fixed = plans.iter().filter(|plan| plan.alike).map(|plan| plan.name.clone()).collect();
        Self { fixed, counts: BTreeMap::new(), missing: BTreeSet::new() }
    }

    /// Compares what is there now with what was there; the reason to stop.
    fn look(&mut self, found: BTreeMap<Arc<str>, i32>) -> Option<RunError> {
        let missing: BTreeSet<Arc<str>> = found.iter().filter(|it| *it.1 == 0).map(|it| it.0.clone()).collect();
        let gone: Vec<String> = missing.intersection(&self.missing).map(ToString::to_string).collect();
        self.missing = missing;
        if !gone.is_empty() {
            return Some(RunError::Kafka(KafkaError::TopicsGone(gone)));
        }
        let mut wrong = Vec::new();
        for (topic, count) in found.into_iter().filter(|it| it.1 > 0) {
            let before = self.counts.insert(topic.clone(), count).unwrap_or(count);
            if before == count {
                continue;
            }
            if self.fixed.contains(&topic) {
                wrong.push(format!(
                    "{topic}: it has {count} partitions and had {before}; the count is fixed for the life of a \
                     pipeline: start one with a new name on the same inputs"
                ));
            } else {
                tracing::info!(%topic, before, count, "the partition count has changed");
            }
        }
        (!wrong.is_empty()).then_some(RunError::Topics(wrong))
    }
}

/// Watches until `stopped` is disconnected, and feels the pulse of the brokers; the receiver gets the reason to stop, if
/// there ever is one.
///
/// # Errors
/// When the client cannot be made.
pub(in crate::pipeline) fn watch(
    settings: &Settings,
    pulse: Pulse,
    stopped: Receiver<()>,
) -> Result<Receiver<RunError>, KafkaError> {
    let plans = topic_plans(settings);
    let mut census = Census::new(&settings.kafka, plans.iter().map(|plan| plan.name.clone()).collect())?;
    let mut watch = Watch::new(&plans);
    // What is there now; a topic that is missed has a second chance.
    let mut reason = watch.look(census.take().unwrap_or_default());
    let (notice, noticed) = bounded(1);
    thread::spawn(move || {
        while reason.is_none() && stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let (found, trouble) = match census.take() {
                Ok(found) => (found, None),
                Err(error) => (BTreeMap::new(), Some(format!("no broker answers: {error}"))),
            };
            pulse.feel(trouble);
            reason = watch.look(found);
        }
        if let Some(reason) = reason {
            drop(notice.send(reason));
        }
    });
    Ok(noticed)
}

/// What a stage says that has to do with a topic which is gone is hard to read: then that is the reason.
pub(in crate::pipeline) fn explain(assembly: &Assembly, error: RunError) -> RunError {
    let RunError::Halted { stage, why } = &error else { return error };
    let plans = topic_plans(&assembly.settings);
    let names = plans.iter().map(|plan| plan.name.clone()).collect();
    let Ok(mut census) = Census::new(&assembly.settings.kafka, names) else { return error };
    let mut watch = Watch::new(&plans);
    drop(watch.look(census.take().unwrap_or_default()));
    assembly.clock.pause(AGAIN);
    let Some(reason) = watch.look(census.take().unwrap_or_default()) else { return error };
    tracing::error!(stage, why, "stopped by a topic that is gone");
    reason
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::kafka::Upkeep;

    fn watch() -> Watch {
        let plan = |name: &str, alike| TopicPlan { name: name.into(), upkeep: Upkeep::Retained, alike };
        Watch::new(&[plan("mentions", true), plan("posts", false)])
    }

    fn found(mentions: i32, posts: Option<i32>) -> BTreeMap<Arc<str>, i32> {
        let posts = posts.map(|count| ("posts".into(), count));
        std::iter::once(("mentions".into(), mentions)).chain(posts).collect()
    }

    #[test]
    fn a_topic_is_gone_when_it_is_missed_twice_running() {
        let mut watch = watch();
        assert!(watch.look(found(2, Some(0))).is_none());
        // Nobody can say anything about it: that is no second time.
        assert!(watch.look(found(2, None)).is_none());
        assert!(watch.look(found(2, Some(0))).is_none());
        let reason = watch.look(found(2, Some(0))).unwrap().to_string();
        assert!(reason.contains("posts") && !reason.contains("mentions"), "{reason}");
    }

    #[test]
    fn only_a_count_that_is_fixed_must_not_change() {
        let mut watch = watch();
        assert!(watch.look(found(2, Some(1))).is_none());
        assert!(watch.look(found(2, Some(5))).is_none());
        let reason = watch.look(found(3, Some(5))).unwrap().to_string();
        assert!(reason.contains("mentions: it has 3 partitions and had 2"), "{reason}");
    }
}
