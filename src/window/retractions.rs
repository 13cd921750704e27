//! What has been taken back, remembered for a while: a mention that comes after its own retraction does not count.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

/// Retractions that are remembered a partition; beyond, the oldest are forgotten.
pub const RETRACTIONS_MAX: usize = 100_000;

/// The retractions of one partition.
#[derive(Debug)]
pub struct Retractions {
    memory: Duration,
    /// By post: when it was said and before which revision; later ones reach less far (else they replace).
    posts: HashMap<Arc<str>, Vec<(Timestamp, Timestamp)>>,
    order: VecDeque<(Timestamp, Arc<str>)>,
}

impl Retractions {
    /// Nothing is taken back. Each retraction is remembered for `memory` of log time.
    #[must_use]
    pub fn new(memory: Duration) -> Self {
        Self { memory, posts: HashMap::new(), order: VecDeque::new() }
    }

    /// At `now` all mentions of `post` with a revision earlier than `before` are void. Returns how many older
    /// retractions had to be forgotten early.
    pub fn remember(&mut self, post: &Arc<str>, before: Timestamp, now: Timestamp) -> u64 {
        self.forget(now);
        let said = self.posts.entry(post.clone()).or_default();
        said.retain(|(_, earlier)| *earlier > before);
        said.push((now, before));
        self.order.push_back((now, post.clone()));
        let mut early = 0;
        while self.order.len() > RETRACTIONS_MAX {
            early += 1;
            self.forget_first();
        }
        early
    }

    /// Whether a mention of `post` with this revision has been taken back already.
    #[must_use]
    pub fn cover(&self, post: &str, revision: Timestamp, now: Timestamp) -> bool {
        let since = now.minus(self.memory);
        let said = self.posts.get(post).into_iter().flatten();
        said.into_iter().any(|(at, before)| *at >= since && revision < *before)
    }

    fn forget(&mut self, now: Timestamp) {
        let since = now.minus(self.memory);
        while self.order.front().is_some_and(|(at, _)| *at < since) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((at, post)) = self.order.pop_front() else { return };
        if let Some(said) = self.posts.get_mut(&post) {
            said.retain(|(said_at, _)| *said_at > at);
            if said.is_empty() {
                self.posts.remove(&post);
            }
        }
    }
}
