//! The cut: older rows to learn from, newer ones to choose by, the newest to judge by, and near-copies on one side.

use serde::Serialize;

use crate::clean::sketch;
use crate::window::NearCopies;

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
    /// To judge by; nothing else looks at it.
    Test,
}

impl Side {
    /// All, in the order of time.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// As in file names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Where each text goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// The side of each; `None` for a text that is left out.
    pub sides: Vec<Option<Side>>,
    /// How many stand with an older near-copy instead of where their time would put them.
    pub moved: usize,
    /// How many are left out: near-copies of older texts to judge by.
    pub copies: usize,
}

/// Cuts texts that are given oldest first. Near-copies, and near-copies of those, go all together where the oldest of them
/// is, so that nothing is judged by what was learnt; and of those to judge by only the oldest stays, since ten tellings of
/// one story are no ten proofs.
#[must_use]
pub fn cut(texts: &[&str], (validation, test): (f64, f64), near_copy: f32) -> Cut {
    let count = texts.len();
    let share = |share: f64| ((count as f64 * share).round() as usize).min(count);
    let test_from = count - share(test);
    let validation_from = test_from - share(validation).min(test_from);
    let by_time = |place: usize| match place {
        place if place >= test_from => Side::Test,
        place if place >= validation_from => Side::Validation,
        _ => Side::Train,
    };
    let mut groups = Groups::default();
    let mut near_copies = NearCopies::new(near_copy);
    for (place, text) in texts.iter().enumerate() {
        groups.begin();
        for near in near_copies.add(sketch(text)) {
            groups.join(near, place);
        }
    }
    let mut cut = Cut::default();
    for place in 0..count {
        let oldest = groups.oldest(place);
        let side = by_time(oldest);
        let is_copy = side == Side::Test && oldest != place;
        cut.moved += usize::from(side != by_time(place));
        cut.copies += usize::from(is_copy);
        cut.sides.push((!is_copy).then_some(side));
    }
    cut
}

/// Places that belong together (a disjoint-set forest; Galler and Fischer, 1964), each known by its oldest.
#[derive(Default)]
struct Groups(Vec<usize>);

impl Groups {
    /// The next place, in a group of its own.
    fn begin(&mut self) {
        self.0.push(self.0.len());
    }

    fn oldest(&mut self, mut place: usize) -> usize {
        while let Some(older) = self.0.get(place).copied().filter(|older| *older != place) {
            let oldest = self.0.get(older).copied().unwrap_or(older);
            if let Some(link) = self.0.get_mut(place) {
                *link = oldest;
            }
            place = oldest;
        }
        place
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.oldest(one), self.oldest(other));
        if let Some(newer) = self.0.get_mut(one.max(other)) {
            *newer = one.min(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_rows_teach_and_the_newest_judge() {
        let texts: Vec<String> =
            (0..20).map(|n| format!("{n} quite {} other {} words {}", n * 7, n * 13, n * 31)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let Cut { sides, moved, copies } = cut(&texts, (0.2, 0.1), 1.1);
        assert_eq!((moved, copies), (0, 0));
        assert!(sides.is_sorted());
        let of = |side| sides.iter().filter(|one| **one == Some(side)).count();
        assert_eq!(Side::ALL.map(of), [14, 4, 2]);
    }

    #[test]
    fn near_copies_stand_where_the_oldest_of_them_does() {
        let story = "Acme cuts its outlook for the year after a weak quarter in Europe and Asia";
        let retold = "RT Acme cuts its outlook for the year after a weak quarter in Europe and Asia";
        let mut texts = vec![story];
        texts.extend([
            "oil falls",
            "rates rise",
            "gold shines",
            "bonds slip",
            "tech rallies",
            "banks sag",
            "euro gains",
        ]);
        texts.push(retold);
        let Cut { sides, moved, copies } = cut(&texts, (0.2, 0.2), 0.6);
        assert_eq!((sides[0], sides[8], moved), (Some(Side::Train), Some(Side::Train), 1));
        assert_eq!((sides[7], copies), (Some(Side::Test), 0));
    }

    #[test]
    fn a_story_that_is_told_often_is_one_row_to_judge_by() {
        let story = "Acme cuts its outlook for the year after a weak quarter in Europe and Asia";
        let retold = "RT Acme cuts its outlook for the year after a weak quarter in Europe and Asia";
        let Cut { sides, moved, copies } = cut(&["oil falls", "rates rise", story, retold, retold], (0.0, 0.6), 0.6);
        assert_eq!(sides, [Some(Side::Train), Some(Side::Train), Some(Side::Test), None, None], "the oldest stays");
        assert_eq!((moved, copies), (0, 2));
    }

    #[test]
    fn a_text_that_is_like_two_brings_them_together() {
        // The last is a near-copy of both others, which are none of each other.
        let words = |from: usize| (from..from + 20).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
        let (older, newer, between) = (words(0), words(6), words(3));
        let near = |one: &str, other: &str| crate::clean::likeness(sketch(one), sketch(other)) >= 0.6;
        assert!(near(&older, &between) && near(&newer, &between) && !near(&older, &newer));
        let Cut { sides, moved, .. } = cut(&[&older, "oil falls", "rates rise", &newer, &between], (0.0, 0.4), 0.6);
        assert_eq!((sides, moved), (vec![Some(Side::Train); 5], 2));
    }

    #[test]
    fn few_rows_and_none_are_cut_without_a_panic() {
        for count in 0..4 {
            let Cut { sides, .. } = cut(&["a", "b", "c"][..count.min(3)], (0.9, 0.9), 0.9);
            assert_eq!(sides.len(), count.min(3));
        }
    }
}
