//! Which subjects something is due for: so that a record costs nothing for all the others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Timestamp;

/// Subjects by the time at which they must be looked at again. A number may stand in it more than once.
#[derive(Debug, Default)]
pub(super) struct Due {
    heap: BinaryHeap<Reverse<(Timestamp, u32)>>,
}

impl Due {
    /// Look at `number` again at `at`.
    pub(super) fn push(&mut self, at: Timestamp, number: u32) {
        self.heap.push(Reverse((at, number)));
    }

    /// The next number that is due at `now`, and when it was due.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, u32)> {
        if self.heap.peek().is_none_or(|Reverse((at, _))| *at > now) {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }
}
