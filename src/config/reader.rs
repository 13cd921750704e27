//! A small reader over tables: typed values with defaults and ranges. It collects every problem instead of stopping at
//! the first, knows which keys were asked for, and remembers what each came to and where from.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem, nearest};
use super::setting::{Setting, Wrong};
use super::tree::{Node, Table, Value};

/// A setting as it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    /// `None`: the compiled-in default.
    pub(super) place: Option<Place>,
}

/// What was found while reading a file.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) shown: RefCell<Vec<Shown>>,
}

impl Report {
    pub(super) fn problem(&self, place: &Place, message: impl Into<String>, remedy: impl Into<String>) {
        let problem = Problem { place: place.clone(), message: message.into(), remedy: remedy.into() };
        self.problems.borrow_mut().push(problem);
    }
}

/// Where a reader stands in the file: the report that it writes to, and the folder in which the file lies.
#[derive(Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) report: &'a Report,
    pub(super) folder: &'a Path,
}

/// One table while it is read. [`Section::finish`] reports the keys that nobody asked for.
pub(super) struct Section<'a> {
    name: String,
    table: Option<&'a Table>,
    place: Place,
    known: Vec<&'static str>,
    desk: Desk<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: impl Into<String>, table: Option<&'a Table>, place: Place, desk: Desk<'a>) -> Self {
        Self { name: name.into(), table, place, known: Vec::new(), desk }
    }

    /// The value under a key, which is known from now on.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.table?.get(key)
    }

    /// The place of a key, else of its section.
    pub(super) fn place(&self, key: &str) -> Place {
        self.table.and_then(|table| table.get(key)).map_or_else(|| self.place.clone(), |value| value.place.clone())
    }

    pub(super) fn desk(&self) -> Desk<'a> {
        self.desk
    }

    /// A full name, as messages use it.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    pub(super) fn problem(&self, key: &str, message: impl AsRef<str>, remedy: impl Into<String>) {
        let message = format!("`{}`: {}", self.full(key), message.as_ref());
        self.desk.report.problem(&self.place(key), message, remedy);
    }

    /// Remembers what a key came to.
    pub(super) fn show(&self, key: &str, value: String, place: Option<Place>) {
        let shown = Shown { section: self.name.clone(), key: key.to_owned(), value, place };
        self.desk.report.shown.borrow_mut().push(shown);
    }

    /// The value if it is there and well formed.
    pub(super) fn optional<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let value = self.value(key)?;
        match T::read(value) {
            Ok(read) => {
                self.show(key, read.show(), Some(value.place.clone()));
                Some(read)
            }
            Err(Wrong { message, remedy }) => {
                self.problem(key, message, remedy);
                None
            }
        }
    }

    /// The value, else the default.
    pub(super) fn or<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.known.push(key);
            self.show(key, default.show(), None);
            return default;
        }
        self.optional(key).unwrap_or(default)
    }

    /// The value, else the default; outside the range it is a problem.
    pub(super) fn within<T: Setting + PartialOrd>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let value = self.or(key, default);
        if !range.contains(&value) {
            let (low, high) = (range.start().show(), range.end().show());
            self.problem(key, format!("{} is out of range", value.show()), format!("use {low} to {high}"));
        }
        value
    }

    /// The value; it is a problem when it is not there.
    pub(super) fn required<T: Setting>(&mut self, key: &'static str, example: &str) -> Option<T> {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.known.push(key);
            let message = format!("`{}` is missing", self.full(key));
            self.desk.report.problem(&self.place, message, format!("add {key} = {example}"));
            return None;
        }
        self.optional(key)
    }

    /// A path: relative ones start at the file that names them, those of the environment at the working directory.
    pub(super) fn path(&self, key: &str, text: &str) -> PathBuf {
        match self.place(key) {
            Place::Environment(_) => PathBuf::from(text),
            Place::File { .. } | Place::Whole(_) => self.desk.folder.join(text),
        }
    }

    /// The table under a key, to be read with its own full name; absent, it reads as empty.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let value = self.value(key);
        let table = value.and_then(|value| match &value.node {
            Node::Table(table) => Some(table),
            node => {
                self.problem(
                    key,
                    format!("expected a table, found {}", node.kind()),
                    format!("write [{}]", self.full(key)),
                );
                None
            }
        });
        Section::new(self.full(key), table, self.place(key), self.desk)
    }

    /// The tables under a key, `[[key]]` in the file.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Node::List(items) = &value.node else {
            let found = value.node.kind();
            self.problem(key, format!("expected a list of tables, found {found}"), format!("write [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let name = format!("{}[{index}]", self.full(key));
            match &item.node {
                Node::Table(table) => sections.push(Section::new(name, Some(table), item.place.clone(), self.desk)),
                node => {
                    let message = format!("`{name}`: expected a table, found {}", node.kind());
                    self.desk.report.problem(&item.place, message, format!("write [[{key}]]"));
                }
            }
        }
        sections
    }

    /// Whether the file or the environment has the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// All keys that are there, for a table whose keys are free.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.table.into_iter().flatten()
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.table.into_iter().flatten() {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let remedy = match nearest(key, self.known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.desk.report.problem(&value.place, format!("`{}` is not a setting", self.full(key)), remedy);
        }
    }
}
