//! What is wrong with a pipeline file, where, and what to do about it.

use std::fmt;
use std::sync::Arc;

/// Where a value was said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a file, counted from 1.
    File {
        /// The path as it was given.
        file: Arc<str>,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A file as a whole.
    Whole(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Whole(file) => f.write_str(file),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, naming the key.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n    {}", self.remedy) }
    }
}

/// The known word that `word` most probably meant: it is the start of it, or at most a third of its letters differ (two
/// where there are four or more, since swapping two letters counts as two).
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let best = known.iter().map(|other| (distance(word, other), *other)).min()?;
    if word.len() >= 4
        && let Some(longer) = known.iter().find(|other| other.starts_with(word))
    {
        return Some(longer);
    }
    let length = word.chars().count().max(best.1.chars().count());
    let allowed = (length / 3).max(if length >= 4 { 2 } else { 1 });
    (best.0 <= allowed).then_some(best.1)
}

/// Letters to insert, delete or change (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((to, diagonal), above) in right.iter().zip(&row).zip(row.iter().skip(1)) {
            let before = next.last().copied().unwrap_or(0);
            next.push((before + 1).min(above + 1).min(diagonal + usize::from(from != *to)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_that_was_meant() {
        let known = ["bootstrap_servers", "delivery", "instance", "partitions"];
        assert_eq!(nearest("boostrap_servers", known), Some("bootstrap_servers"));
        assert_eq!(nearest("txet", ["id", "text"]), Some("text"));
        assert_eq!(nearest("partition", known), Some("partitions"));
        assert_eq!(nearest("bootstrap", known), Some("bootstrap_servers"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn the_distance_counts_changed_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
