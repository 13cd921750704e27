//! Which mention of a partition came first, over all books: the one that leaves when there are too many together.

use std::collections::VecDeque;

/// Mentions in the order of their offsets, each with the number of its desk. Some may have left their book meanwhile.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    order: VecDeque<(i64, u32)>,
}

impl Arrivals {
    /// A mention came, later than all others.
    pub(super) fn push(&mut self, offset: i64, desk: u32) {
        self.order.push_back((offset, desk));
    }

    /// The desk of the first mention that is still `there`; it leaves.
    pub(super) fn pop(&mut self, there: impl Fn(i64, u32) -> bool) -> Option<u32> {
        while let Some((offset, desk)) = self.order.pop_front() {
            if there(offset, desk) {
                return Some(desk);
            }
        }
        None
    }

    /// Forgets those that left, when they are many more than the `room` of those that did not.
    pub(super) fn tidy(&mut self, room: usize, there: impl Fn(i64, u32) -> bool) {
        if self.order.len() > 2 * room + 64 {
            self.order.retain(|(offset, desk)| there(*offset, *desk));
        }
    }
}
