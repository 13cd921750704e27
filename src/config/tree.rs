//! A pipeline file as a tree in which every value knows its place. The parser is the `toml` crate's; our own tree lets
//! values of the environment be laid over it, each with a place of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};

/// The keys of a table, in the order of the alphabet.
pub(super) type Table = BTreeMap<String, Value>;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) node: Node,
    pub(super) place: Place,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    Moment(String),
    List(Vec<Value>),
    Table(Table),
    /// From the environment: it becomes what the reader of the key wants.
    Raw(String),
}

impl Node {
    /// What a person calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Moment(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Finds lines by byte offset.
pub(super) struct Lines {
    file: Arc<str>,
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn of(file: &Arc<str>, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file: file.clone(), starts: std::iter::once(0).chain(breaks).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        Place::File { file: self.file.clone(), line: self.starts.partition_point(|start| *start <= offset).max(1) }
    }
}

/// Parses a file; a syntax error is a problem, the first of each line, and what could be read is read nevertheless.
pub(super) fn parse(file: &Arc<str>, text: &str) -> (Table, Vec<Problem>) {
    let lines = Lines::of(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| Problem {
            place: lines.place(error.span().map_or(0, |span| span.start)),
            message: format!("not TOML: {}", error.message()),
            remedy: "see https://toml.io for the form of the file; texts stand in \"quotes\"".to_owned(),
        })
        .collect();
    problems.sort();
    problems.dedup_by(|next, first| next.place == first.place);
    (take_table(table.into_inner(), &|offset| lines.place(offset)), problems)
}

/// A list or a table from one environment variable, `None` when its text is neither.
pub(super) fn parse_value(text: &str, place: &Place) -> Option<Node> {
    let value = DeValue::parse(text).ok()?.into_inner();
    let place = place.clone();
    match value {
        DeValue::Array(_) | DeValue::Table(_) => Some(take_node(value, &move |_| place.clone())),
        _ => None,
    }
}

fn take_table(table: DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    let entry = |(key, value): (toml::Spanned<std::borrow::Cow<'_, str>>, toml::Spanned<DeValue<'_>>)| {
        let at = place(key.span().start);
        (key.into_inner().into_owned(), Value { node: take_node(value.into_inner(), place), place: at })
    };
    table.into_iter().map(entry).collect()
}

fn take_node(value: DeValue<'_>, place: &dyn Fn(usize) -> Place) -> Node {
    match value {
        DeValue::String(text) => Node::Text(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Node::Text(number.as_str().to_owned()), Node::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Node::Text(number.as_str().to_owned()), Node::Float)
        }
        DeValue::Boolean(flag) => Node::Flag(flag),
        DeValue::Datetime(at) => Node::Moment(at.to_string()),
        DeValue::Array(items) => Node::List(
            items
                .into_iter()
                .map(|item| {
                    let at = place(item.span().start);
                    Value { node: take_node(item.into_inner(), place), place: at }
                })
                .collect(),
        ),
        DeValue::Table(table) => Node::Table(take_table(table, place)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn line(value: &Value) -> usize {
        match value.place {
            Place::File { line, .. } => line,
            _ => 0,
        }
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "name = \"a\"\n\n[kafka]\npartitions = 4\n[[rule]]\nname = \"x\"\n[[rule]]\nname = \"y\"\n";
        let (table, problems) = parse(&Arc::from("f.toml"), text);
        assert_eq!(problems, Vec::new());
        assert_eq!(line(&table["name"]), 1);
        assert_eq!(line(&table["kafka"]), 3);
        let Node::Table(kafka) = &table["kafka"].node else { panic!("a table") };
        assert_eq!(line(&kafka["partitions"]), 4);
        let Node::List(rules) = &table["rule"].node else { panic!("a list") };
        assert_eq!(rules.iter().map(line).collect::<Vec<_>>(), [5, 7]);
    }

    #[test]
    fn every_syntax_error_is_told_with_its_line() {
        let (_, problems) = parse(&Arc::from("f.toml"), "name = market\n[kafka]\npartitions = = 4\n");
        let places: Vec<String> = problems.iter().map(|problem| problem.place.to_string()).collect();
        assert_eq!(places, ["f.toml:1", "f.toml:3"], "{problems:?}");
    }
}
