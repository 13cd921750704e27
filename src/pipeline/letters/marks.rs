//! Which letters were sent again: as stretches of offsets that touch, since records of one broken kind stand together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Origin;

/// Stretches that are remembered, some 40 bytes each; a letter between others that were not sent is one alone.
pub(super) const STRETCHES_MAX: usize = 1_000_000;

/// More was sent again than can be remembered. Nothing is sent then: it might be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the topic has marks of more than {STRETCHES_MAX} stretches of letters that were sent again, more than are \
     remembered: name one topic with --topic, or wait until `kafka.retention` has taken the oldest"
)]
pub struct TooManyMarks;

/// By topic and partition, the first and the last offset of each stretch. No two of them touch.
#[derive(Debug, Default)]
pub(super) struct Marks {
    stretches: BTreeMap<(Arc<str>, i32), BTreeMap<i64, i64>>,
    count: usize,
}

impl Marks {
    /// Whether the letter of this record has a mark.
    pub(super) fn contains(&self, origin: &Origin) -> bool {
        let of_partition = self.stretches.get(&(origin.topic.clone(), origin.partition));
        let before = of_partition.and_then(|all| all.range(..=origin.offset).next_back());
        before.is_some_and(|(_, last)| origin.offset <= *last)
    }

    /// Remembers a mark.
    ///
    /// # Errors
    /// [`TooManyMarks`] where that takes one stretch more than there may be.
    pub(super) fn insert(&mut self, origin: &Origin) -> Result<(), TooManyMarks> {
        let offset = origin.offset;
        let all = self.stretches.entry((origin.topic.clone(), origin.partition)).or_default();
        let before = all.range(..=offset).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| offset <= last) {
            return Ok(());
        }
        let before = before.filter(|(_, last)| last.checked_add(1) == Some(offset)).map(|(first, _)| first);
        let behind = offset.checked_add(1).filter(|next| all.contains_key(next));
        if before.is_none() && behind.is_none() {
            if self.count == STRETCHES_MAX {
                return Err(TooManyMarks);
            }
            self.count += 1;
        }
        let last = behind.and_then(|next| all.remove(&next));
        if before.is_some() && last.is_some() {
            self.count -= 1;
        }
        all.insert(before.unwrap_or(offset), last.unwrap_or(offset));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pipeline::dice::Dice;

    fn origin(partition: i32, offset: i64) -> Origin {
        Origin { topic: Arc::from("posts"), partition, offset }
    }

    #[test]
    fn marks_are_what_was_put_in_whatever_the_order() {
        for seed in 0..200 {
            let (mut dice, mut marks, mut known) = (Dice::new(seed), Marks::default(), BTreeSet::new());
            for _ in 0..60 {
                let place = (dice.below(2) as i32, dice.below(50) as i64);
                known.insert(place);
                assert_eq!(marks.insert(&origin(place.0, place.1)), Ok(()));
            }
            for place in (0..2).flat_map(|partition| (-1..51).map(move |offset| (partition, offset))) {
                assert_eq!(marks.contains(&origin(place.0, place.1)), known.contains(&place), "seed {seed}: {place:?}");
            }
            let first = |place: &&(i32, i64)| !known.contains(&(place.0, place.1 - 1));
            assert_eq!(marks.count, known.iter().filter(first).count(), "seed {seed}");
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_offsets_too() {
        let mut marks = Marks::default();
        for offset in [i64::MAX, i64::MIN, i64::MAX - 1] {
            assert_eq!(marks.insert(&origin(0, offset)), Ok(()));
            assert!(marks.contains(&origin(0, offset)));
        }
        assert_eq!(marks.count, 2);
    }

    #[test]
    fn there_are_no_more_stretches_than_are_remembered_and_what_touches_one_has_room() {
        let mut marks = Marks::default();
        for number in 0..STRETCHES_MAX as i64 {
            assert_eq!(marks.insert(&origin(0, 3 * number)), Ok(()));
        }
        assert_eq!(marks.insert(&origin(0, -2)), Err(TooManyMarks));
        assert_eq!(marks.insert(&origin(1, 0)), Err(TooManyMarks));
        assert!(!marks.contains(&origin(0, -2)) && !marks.contains(&origin(1, 0)));
        assert_eq!(marks.insert(&origin(0, 1)), Ok(()));
        assert_eq!(marks.insert(&origin(0, 2)), Ok(()));
        assert!((0..=3).all(|offset| marks.contains(&origin(0, offset))));
        assert_eq!(marks.insert(&origin(1, 0)), Ok(()));
    }
}
