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

    /// Hands over what waits; gives each item `limit` to get through. Returns whether nothing waits any more.
    pub(super) fn pump(&mut self, limit: Duration) -> bool {
        while let Some(feed) = self.waiting.pop_front() {
            let Some(stage) = &self.stage else { return true };
            match stage.send_timeout(feed, limit) {
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
