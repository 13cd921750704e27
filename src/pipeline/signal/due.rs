//! Which subjects something is due for: so that a record costs nothing for all the others.

use std::collections::BTreeSet;

use crate::time::Timestamp;

/// Subjects by the time at which they must be looked at again, each of them once.
#[derive(Debug, Default)]
pub(super) struct Due(BTreeSet<(Timestamp, u32)>);

impl Due {
    /// Look at `number` again at `at`, and no longer at the time `scheduled` before.
    pub(super) fn put(&mut self, number: u32, scheduled: Option<Timestamp>, at: Timestamp) {
        self.forget(number, scheduled);
        self.0.insert((at, number));
    }

    /// Nothing is due for `number` any more.
    pub(super) fn forget(&mut self, number: u32, scheduled: Option<Timestamp>) {
        if let Some(scheduled) = scheduled {
            self.0.remove(&(scheduled, number));
        }
    }

    /// The next number that is due at `now`.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<u32> {
        let (at, number) = *self.0.first()?;
        if at > now {
            return None;
        }
        self.0.pop_first();
        Some(number)
    }

    /// How many subjects something is due for.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_due_once_however_often_it_is_put_earlier() {
        let at = Timestamp::from_millis;
        let mut due = Due::default();
        due.put(7, None, at(9));
        due.put(8, None, at(3));
        due.put(7, Some(at(9)), at(5));
        assert_eq!(due.len(), 2);
        assert_eq!((due.pop(at(2)), due.pop(at(5)), due.pop(at(5)), due.pop(at(9))), (None, Some(8), Some(7), None));
        due.put(7, None, at(9));
        due.forget(7, Some(at(9)));
        assert_eq!(due.len(), 0);
    }
}
