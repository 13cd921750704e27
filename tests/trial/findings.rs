//! What is wrong after a run, told under the record that it is about.

use std::collections::BTreeMap;
use std::fmt;

use super::outcome::Place;

/// How many records are shown where something is wrong with them.
const SHOWN: usize = 20;

/// What is wrong, by the record that it is about: that of an input, a post or a label, for whatever became of it; that of
/// the mentions for what follows from them.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<String, Vec<String>>);

impl Findings {
    /// Something about a record, or about what was made of it: the ids of both begin alike.
    pub fn add(&mut self, id: &str, what: impl Into<String>) {
        let place: Vec<&str> = id.split('+').take(3).collect();
        self.0.entry(place.join("+")).or_default().push(what.into());
    }

    pub fn add_place(&mut self, place: &Place, what: &str) {
        self.add(&id_of(place), format!("{place:?} {what}"));
    }

    pub fn extend(&mut self, other: Self) {
        for (record, said) in other.0 {
            self.0.entry(record).or_default().extend(said);
        }
    }

    /// What was found about a record is as it should be.
    pub fn forgive(&mut self, place: &Place) {
        self.0.remove(&id_of(place));
    }

    /// Records with which something is wrong, however much of each it is.
    pub fn records(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for said in self.0.values().take(SHOWN) {
            writeln!(f, "  {}", said.join("; "))?;
        }
        write!(f, "  {} records", self.records())
    }
}

/// The id of a record, with which the ids of all begin that was made of it.
pub fn id_of((topic, partition, offset): &Place) -> String {
    format!("{topic}+{partition}+{offset}")
}

/// The record of which something with such an id was made.
pub fn place_of(id: &str) -> Place {
    let mut parts = id.split('+');
    let mut next = || parts.next().unwrap_or_else(|| panic!("{id} names no record"));
    (next().to_owned(), next().parse().unwrap(), next().parse().unwrap())
}
