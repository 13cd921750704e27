//! The instruments file: CSV with the columns `id,name,aliases,common_word,common_name`, checked whole.

use std::collections::HashMap;
use std::fmt;

use crate::event::Subject;

/// One instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// `MIC:TICKER`.
    pub subject: Subject,
    /// The usual short name.
    pub name: String,
    /// More names; one behind a `!` is another company's, which begins with a name of this one.
    pub aliases: Vec<String>,
    /// The ticker is also a word: it counts only as a cashtag, as `(NYSE: ALL)` or `NYSE:ALL`, or among a post's symbols.
    pub common_word: bool,
    /// The name is also a word: it counts only with a company form behind it.
    pub common_name: bool,
}

impl Instrument {
    /// The ticker in upper case.
    #[must_use]
    pub fn ticker(&self) -> &str {
        self.subject.as_str().split_once(':').map_or("", |(_, ticker)| ticker)
    }

    /// The market's code.
    #[must_use]
    pub fn market(&self) -> &str {
        self.subject.as_str().split_once(':').map_or("", |(market, _)| market)
    }
}

/// A mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstrumentProblem {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for InstrumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// All instruments, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instruments(Vec<Instrument>);

impl Instruments {
    /// Instruments that are known to be right (tests, tools).
    #[must_use]
    pub const fn new(instruments: Vec<Instrument>) -> Self {
        Self(instruments)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Every mistake with its line: an id that is none or stands twice, an empty name, a name or alias that two
    /// instruments claim, a flag that is neither `true` nor `false`, a missing column.
    pub fn parse(csv: &str) -> Result<Self, Vec<InstrumentProblem>> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(csv.as_bytes());
        let columns = match Columns::find(&mut reader) {
            Ok(columns) => columns,
            Err(message) => return Err(vec![InstrumentProblem { line: 1, message }]),
        };
        let mut check = Check::default();
        let mut instruments = Vec::new();
        for record in reader.records() {
            match record {
                Ok(record) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    if let Some(instrument) = check.instrument(&record, &columns, line) {
                        instruments.push(instrument);
                    }
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    check.problem(line, format!("the row cannot be read: {error}"));
                }
            }
        }
        if check.problems.is_empty() { Ok(Self(instruments)) } else { Err(check.problems) }
    }

    /// The instruments.
    pub fn iter(&self) -> impl Iterator<Item = &Instrument> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where each column stands.
struct Columns {
    id: usize,
    name: usize,
    aliases: Option<usize>,
    common_word: Option<usize>,
    common_name: Option<usize>,
}

impl Columns {
    fn find(reader: &mut csv::Reader<&[u8]>) -> Result<Self, String> {
        let header = reader.headers().map_err(|error| format!("the header cannot be read: {error}"))?;
        let at = |name: &str| header.iter().position(|column| column == name);
        let known = ["id", "name", "aliases", "common_word", "common_name"];
        if let Some(strange) = header.iter().find(|column| !known.contains(column)) {
            return Err(format!("unknown column `{strange}`; there are {}", known.join(", ")));
        }
        let need = |name: &str| at(name).ok_or_else(|| format!("the column `{name}` is missing"));
        Ok(Self {
            id: need("id")?,
            name: need("name")?,
            aliases: at("aliases"),
            common_word: at("common_word"),
            common_name: at("common_name"),
        })
    }
}

/// What was seen so far.
#[derive(Default)]
struct Check {
    problems: Vec<InstrumentProblem>,
    ids: HashMap<String, u64>,
    names: HashMap<String, u64>,
}

impl Check {
    fn problem(&mut self, line: u64, message: String) {
        self.problems.push(InstrumentProblem { line, message });
    }

    fn instrument(&mut self, record: &csv::StringRecord, columns: &Columns, line: u64) -> Option<Instrument> {
        let before = self.problems.len();
        let field = |column: Option<usize>| column.and_then(|at| record.get(at)).unwrap_or("");
        let id = field(Some(columns.id));
        let subject = Subject::parse(id).ok().filter(Subject::is_instrument);
        if subject.is_none() {
            self.problem(line, format!("`{id}` is no instrument; write MIC:TICKER, such as XNYS:IBM"));
        }
        if let Some(first) = self.ids.insert(id.to_owned(), line) {
            self.problem(line, format!("`{id}` stands in line {first} already"));
        }
        let name = field(Some(columns.name)).to_owned();
        if name.is_empty() {
            self.problem(line, "the name is empty".to_owned());
        }
        let aliases: Vec<String> = field(columns.aliases)
            .split('|')
            .map(str::trim)
            .filter(|alias| !alias.is_empty())
            .map(str::to_owned)
            .collect();
        for claimed in std::iter::once(&name).chain(&aliases).filter(|name| !name.is_empty()) {
            if let Some(first) = self.names.insert(claimed.to_lowercase(), line) {
                self.problem(line, format!("`{claimed}` is claimed by line {first} already; leave it at one of them"));
            }
        }
        let common_word = self.flag(field(columns.common_word), "common_word", line);
        let common_name = self.flag(field(columns.common_name), "common_name", line);
        if self.problems.len() > before {
            return None;
        }
        Some(Instrument { subject: subject?, name, aliases, common_word, common_name })
    }

    fn flag(&mut self, text: &str, column: &str, line: u64) -> bool {
        if !matches!(text, "true" | "false" | "") {
            self.problem(line, format!("`{text}` in `{column}` is neither true nor false"));
        }
        text == "true"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn every_mistake_is_reported_with_its_line() {
        let csv = "id,name,aliases,common_word\nXNAS:AAPL,Apple,Apple Inc,false\nAAPL,Apple,,maybe\nXNAS:AAPL,,,\n";
        let problems = Instruments::parse(csv).unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "line 3: `AAPL` is no instrument; write MIC:TICKER, such as XNYS:IBM",
                "line 3: `Apple` is claimed by line 2 already; leave it at one of them",
                "line 3: `maybe` in `common_word` is neither true nor false",
                "line 4: `XNAS:AAPL` stands in line 2 already",
                "line 4: the name is empty",
            ]
        );
    }

    #[test]
    fn a_missing_or_unknown_column_is_named() {
        assert_eq!(
            Instruments::parse("id,alias\n").unwrap_err()[0].message.split(';').next(),
            Some("unknown column `alias`")
        );
        assert_eq!(Instruments::parse("id\n").unwrap_err()[0].message, "the column `name` is missing");
    }

    #[test]
    fn the_shipped_files_are_right() {
        for (csv, count) in [
            (include_str!("../../pipelines/instruments/us-large.csv"), 503),
            (include_str!("../../pipelines/demo/instruments.csv"), 14),
        ] {
            assert_eq!(Instruments::parse(csv).unwrap().len(), count);
        }
    }
}
