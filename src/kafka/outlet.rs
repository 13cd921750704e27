//! The way from the polling thread to the stage. The stage's closure may block as long as it likes: it runs on a
//! thread of its own, behind a queue of [`QUEUE`] items, and the polling thread never waits for it without a limit.

use std::collections::VecDeque;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender, bounded};

use crate::kafka::KafkaError;
use crate::stream::{Feed, Partition};

/// Items between the polling thread and the stage's closure; each holds at most 500 records, or 1 MiB and a record.
pub(super) const QUEUE: usize = 4;

/// What waits for the stage, in order.
#[derive(Debug)]
pub(super) struct Outlet {
    waiting: VecDeque<Feed>,
    stage: Option<Sender<Feed>>,
}

impl Outlet {
    /// Starts the thread that calls `feed` until it returns false or the outlet is closed.
    pub(super) fn start(
        name: &str,
        mut feed: impl FnMut(Feed) -> bool + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), KafkaError> {
        let (stage, items) = bounded(QUEUE);
        let thread = std::thread::Builder::new()
            .name(format!("{name}-feed"))
            .spawn(move || while items.recv().is_ok_and(&mut feed) {})
            .map_err(|error| KafkaError::refused("starting a thread", error))?;
        Ok((Self { waiting: VecDeque::new(), stage: Some(stage) }, thread))
    }

    pub(super) fn push(&mut self, feed: Feed) {
        if self.stage.is_some() {
            self.waiting.push_back(feed);
        }
    }

    /// Hands over what waits; gives each item as long as `left` says then. Returns whether nothing waits any more.
    pub(super) fn pump(&mut self, left: impl Fn() -> Duration) -> bool {
        while let Some(feed) = self.waiting.pop_front() {
            let Some(stage) = &self.stage else { return true };
            match stage.send_timeout(feed, left()) {
                Ok(()) => {}
                Err(SendTimeoutError::Timeout(feed)) => {
                    self.waiting.push_front(feed);
                    return false;
                }
                Err(SendTimeoutError::Disconnected(_)) => self.stage = None,
            }
        }
        true
    }

    /// Drops records of these partitions that the stage has not seen: they will be read again by whoever has them.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        self.waiting.retain(|feed| match feed {
            Feed::Records { lease, .. } => !partitions.contains(lease.partition()),
            _ => true,
        });
    }

    /// Whether the stage takes nothing any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.stage.is_none()
    }

    /// Lets the closure's thread end after what was handed over.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
        self.stage = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::cell::Cell;

    use super::*;

    #[test]
    fn all_that_waits_has_one_span_to_get_through_together() {
        let (go, gone) = bounded::<()>(0);
        let (mut outlet, thread) = Outlet::start("test", move |_| gone.recv().is_ok()).unwrap();
        (0..3 * QUEUE).for_each(|number| outlet.push(Feed::Failed(number.to_string())));
        // The stage takes one and no other, so that the span is over with the first that finds no room.
        let asked = Cell::new(0);
        let left = || {
            asked.set(asked.get() + 1);
            if asked.get() > QUEUE + 1 { Duration::ZERO } else { Duration::from_secs(60) }
        };
        assert!(!outlet.pump(left));
        assert_eq!((asked.get(), outlet.waiting.len()), (QUEUE + 2, 2 * QUEUE - 1));
        drop(go);
        outlet.close();
        thread.join().unwrap();
    }
}
