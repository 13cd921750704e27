//! The cut: older rows to learn from, newer ones to choose by, the newest to judge by, and near-copies on one side.

use serde::Serialize;

use crate::clean::{likeness, sketch};
use crate::event::Sketch;

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

/// The side of each text, given oldest first, and how many were moved to stand with a near-copy: each goes where the
/// oldest of its near-copies is, so that nothing is judged by what was learnt.
///
/// Compares every pair: a second for 20,000 texts, a minute for 150,000.
#[must_use]
pub fn cut(texts: &[&str], (validation, test): (f64, f64), near_copy: f32) -> (Vec<Side>, usize) {
    let count = texts.len();
    let share = |share: f64| ((count as f64 * share).round() as usize).min(count);
    let test_from = count - share(test);
    let validation_from = test_from - share(validation).min(test_from);
    let by_time = |place: usize| match place {
        place if place >= test_from => Side::Test,
        place if place >= validation_from => Side::Validation,
        _ => Side::Train,
    };
    let sketches: Vec<Sketch> = texts.iter().map(|text| sketch(text)).collect();
    let mut sides: Vec<Side> = Vec::with_capacity(count);
    let mut moved = 0;
    for (place, mine) in sketches.iter().enumerate() {
        let older = sketches.iter().zip(&sides).find(|(other, _)| likeness(*mine, **other) >= near_copy);
        let side = older.map_or_else(|| by_time(place), |(_, side)| *side);
        moved += usize::from(side != by_time(place));
        sides.push(side);
    }
    (sides, moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_rows_teach_and_the_newest_judge() {
        let texts: Vec<String> =
            (0..20).map(|n| format!("{n} quite {} other {} words {}", n * 7, n * 13, n * 31)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (sides, moved) = cut(&texts, (0.2, 0.1), 1.1);
        assert_eq!(moved, 0);
        assert!(sides.is_sorted());
        let of = |side| sides.iter().filter(|one| **one == side).count();
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
        let (sides, moved) = cut(&texts, (0.2, 0.2), 0.6);
        assert_eq!((sides[0], sides[8], moved), (Side::Train, Side::Train, 1));
        assert_eq!(sides[7], Side::Test);
    }

    #[test]
    fn few_rows_and_none_are_cut_without_a_panic() {
        for count in 0..4 {
            let (sides, _) = cut(&["a", "b", "c"][..count.min(3)], (0.9, 0.9), 0.9);
            assert_eq!(sides.len(), count.min(3));
        }
    }
}
