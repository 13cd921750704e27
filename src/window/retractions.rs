//! What has been taken back, remembered for a while: a mention that comes after its own retraction does not count.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

/// Retractions that are remembered a partition, as long as their posts have ids of 80 bytes at most; beyond, the oldest are
/// forgotten.
pub const RETRACTIONS_MAX: usize = 100_000;
/// Bytes that a retraction takes: its entries, and its post's id in two tables.
pub const RETRACTION_BYTES: usize = 400;

/// The retractions of one partition.
#[derive(Debug)]
pub struct Retractions {
    memory: Duration,
    /// By post: when it was said and before which revision; later ones reach less far (else they replace).
    posts: HashMap<Arc<str>, Vec<(Timestamp, Timestamp)>>,
    order: VecDeque<(Timestamp, Arc<str>)>,
    bytes: usize,
}

impl Retractions {
    /// Nothing is taken back. Each retraction is remembered for `memory` of log time.
    #[must_use]
    pub fn new(memory: Duration) -> Self {
        Self { memory, posts: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    /// At `now` all mentions of `post` with a revision earlier than `before` are void. Returns how many older
    /// retractions had to be forgotten early.
    pub fn remember(&mut self, post: &Arc<str>, before: Timestamp, now: Timestamp) -> u64 {
        self.forget(now);
        let said = self.posts.entry(post.clone()).or_default();
        said.retain(|(_, earlier)| *earlier > before);
        said.push((now, before));
        self.order.push_back((now, post.clone()));
        self.bytes += bytes(post);
        let mut early = 0;
        while self.bytes > RETRACTIONS_MAX * RETRACTION_BYTES {
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
        self.bytes = self.bytes.saturating_sub(bytes(&post));
        if let Some(said) = self.posts.get_mut(&post) {
            said.retain(|(said_at, _)| *said_at > at);
            if said.is_empty() {
                self.posts.remove(&post);
            }
        }
    }
}

fn bytes(post: &str) -> usize {
    RETRACTION_BYTES + 2 * post.len().saturating_sub(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_when_the_bytes_are_too_many() {
        let at = Timestamp::from_micros(1_000_000);
        let mut retractions = Retractions::new(Duration::from_secs(60));
        let early = |retractions: &mut Retractions, count: usize, width: usize| -> u64 {
            (0..count).map(|number| retractions.remember(&format!("{number:0width$}").into(), at, at)).sum()
        };
        assert_eq!(early(&mut retractions, RETRACTIONS_MAX, 80), 0);
        // One of 1,080 bytes takes the place of six.
        assert_eq!(early(&mut retractions, 10, 1_080), 60);
    }
}
