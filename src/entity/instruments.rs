//! The instruments file: which companies there are and what they are called.
//!
//! CSV with a header: `id` (`MIC:TICKER`), `name`, `aliases` (divided by `|`), `common_word` (the ticker is also a word)
//! and, optional, `common_name` (so is the name). All mistakes of a file are found at once.

use std::collections::HashMap;
use std::fmt;

use csv::{Position, ReaderBuilder, StringRecord, Trim};

use crate::event::Subject;

/// The most instruments a file may have; bounds the automaton that is built from their names.
const INSTRUMENTS_MAX: usize = 200_000;

/// The longest name in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The shortest name in characters; a single letter names nobody.
const NAME_CHARS_MIN: usize = 2;

const COLUMNS: [&str; 5] = ["id", "name", "aliases", "common_word", "common_name"];

/// One listed company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// `MIC:TICKER`.
    pub subject: Subject,
    /// The usual name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// The ticker is also a word: alone it does not count.
    pub common_word: bool,
    /// The name is also a word: it counts only with a company form behind it.
    pub common_name: bool,
}

impl Instrument {
    /// The market's code, `XNAS`.
    #[must_use]
    pub fn mic(&self) -> &str {
        self.subject.as_str().split_once(':').map_or("", |(mic, _)| mic)
    }

    /// The ticker, `AAPL`.
    #[must_use]
    pub fn ticker(&self) -> &str {
        self.subject.as_str().split_once(':').map_or("", |(_, ticker)| ticker)
    }
}

/// A mistake in an instruments file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InstrumentProblem {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, and where else it stands.
    pub message: String,
}

impl fmt::Display for InstrumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The instruments of a file, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instruments {
    all: Vec<Instrument>,
}

impl Instruments {
    /// Reads a file's content.
    ///
    /// # Errors
    /// Every problem of the file, by line: a missing or unknown column, a bad or duplicate id, an empty or overlong
    /// name, a name that two instruments claim (case does not count), a flag that is neither `true` nor `false`.
    pub fn parse(csv: &str) -> Result<Self, Vec<InstrumentProblem>> {
        let mut reader = ReaderBuilder::new().trim(Trim::All).flexible(true).from_reader(csv.as_bytes());
        let mut reading = Reading::default();
        let columns = match reader.headers() {
            Ok(header) => reading.columns(header),
            Err(error) => {
                reading.problem(1, error.to_string());
                None
            }
        };
        let Some(columns) = columns else { return Err(reading.problems) };
        for row in reader.records() {
            match row {
                Ok(row) => reading.row(&columns, &row),
                Err(error) => reading.problem(error.position().map_or(0, Position::line), error.to_string()),
            }
        }
        if reading.problems.is_empty() { Ok(Self { all: reading.all }) } else { Err(reading.problems) }
    }

    /// The instruments in the file's order.
    #[must_use]
    pub fn all(&self) -> &[Instrument] {
        &self.all
    }
}

/// Where each of [`COLUMNS`] stands.
type Columns = [Option<usize>; COLUMNS.len()];

/// A file half read.
#[derive(Default)]
struct Reading {
    all: Vec<Instrument>,
    /// The line of each id and, in lower case, of each name.
    lines: HashMap<String, u64>,
    problems: Vec<InstrumentProblem>,
}

impl Reading {
    fn problem(&mut self, line: u64, message: impl Into<String>) {
        self.problems.push(InstrumentProblem { line, message: message.into() });
    }

    fn columns(&mut self, header: &StringRecord) -> Option<Columns> {
        for name in header.iter().filter(|name| !COLUMNS.contains(&name.trim_start_matches('\u{feff}'))) {
            self.problem(1, format!("unknown column `{name}`, expected {}", COLUMNS.join(", ")));
        }
        let found = COLUMNS.map(|column| header.iter().position(|name| name.trim_start_matches('\u{feff}') == column));
        for (name, place) in COLUMNS.iter().zip(&found).take(4) {
            if place.is_none() {
                self.problem(1, format!("column `{name}` is missing"));
            }
        }
        self.problems.is_empty().then_some(found)
    }

    fn row(&mut self, columns: &Columns, row: &StringRecord) {
        let line = row.position().map_or(0, Position::line);
        let [id, name, aliases, common_word, common_name] =
            columns.map(|place| place.and_then(|place| row.get(place)).unwrap_or_default());
        if self.all.len() >= INSTRUMENTS_MAX {
            if self.all.len() == INSTRUMENTS_MAX {
                self.problem(line, format!("more than {INSTRUMENTS_MAX} instruments"));
            }
            return;
        }
        let subject = self.subject(line, id);
        let common_word = self.flag(line, "common_word", common_word);
        let common_name = self.flag(line, "common_name", common_name);
        let aliases: Vec<String> =
            aliases.split('|').map(str::trim).filter(|alias| !alias.is_empty()).map(str::to_owned).collect();
        self.claim(line, name);
        for alias in aliases.iter().filter(|alias| !alias.eq_ignore_ascii_case(name)) {
            self.claim(line, alias);
        }
        if let Some(subject) = subject {
            self.all.push(Instrument { subject, name: name.to_owned(), aliases, common_word, common_name });
        }
    }

    fn subject(&mut self, line: u64, id: &str) -> Option<Subject> {
        let mic_and_ticker = id.split_once(':').filter(|(mic, ticker)| {
            let mic_is_one = mic.len() == 4 && mic.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            let letters = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
            let ticker_is_one = (1..=16).contains(&ticker.len()) && ticker.bytes().all(letters);
            mic_is_one && ticker_is_one && ticker.starts_with(|c: char| c.is_ascii_alphanumeric())
        });
        let subject = mic_and_ticker.and_then(|_| Subject::parse(id).ok());
        if subject.is_none() {
            self.problem(line, format!("id `{id}` is not MIC:TICKER, such as XNAS:AAPL"));
        } else if let Some(first) = self.lines.insert(id.to_owned(), line) {
            self.problem(line, format!("id `{id}` stands already at line {first}"));
        }
        subject
    }

    /// A name belongs to one instrument.
    fn claim(&mut self, line: u64, name: &str) {
        if name.is_empty() {
            return self.problem(line, "the name is empty");
        }
        if name.len() > NAME_BYTES_MAX || name.chars().nth(NAME_CHARS_MIN - 1).is_none() {
            let message = format!("name `{name:.40}` must have {NAME_CHARS_MIN} characters to {NAME_BYTES_MAX} bytes");
            return self.problem(line, message);
        }
        if let Some(first) = self.lines.insert(name.to_lowercase(), line) {
            self.problem(line, format!("name `{name}` is claimed already at line {first}"));
        }
    }

    fn flag(&mut self, line: u64, column: &str, value: &str) -> bool {
        if !matches!(value, "true" | "false" | "") {
            self.problem(line, format!("{column} is `{value:.40}`, expected true or false"));
        }
        value == "true"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_good_file_is_read_whole() {
        let csv = "id,name,aliases,common_word,common_name\nXNYS:OAK,Oak & Sons,Oak|Oak and Sons,true,false\nXNAS:BRW.B,\"Brightwater, Foods\",,false,\n";
        let instruments = Instruments::parse(csv).unwrap();
        assert_eq!(instruments.all().len(), 2);
        assert_eq!(instruments.all()[0].aliases, ["Oak", "Oak and Sons"]);
        assert_eq!((instruments.all()[1].mic(), instruments.all()[1].ticker()), ("XNAS", "BRW.B"));
        assert!(Instruments::parse("aliases,common_word,name,id\n,,Oak,XNYS:OAK").is_ok());
    }

    #[test]
    fn all_mistakes_of_a_file_are_reported_at_once() {
        let csv = "id,name,aliases,common_word,common_name\n\
            XNYS:OAK,Oak & Sons,Oak,true,false\n\
            XNYS:OAK,Oakley,,false,false\n\
            OAK,Birch,,false,false\n\
            XNAS:BRWT,,,false,false\n\
            XNAS:ELM,Elm,oak|E,yes,false\n";
        let problems = Instruments::parse(csv).unwrap_err();
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_wrong_header_is_named() {
        let problems = Instruments::parse("id,nmae,aliases,common_word\n").unwrap_err();
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "line 1: unknown column `nmae`, expected id, name, aliases, common_word, common_name",
                "line 1: column `name` is missing"
            ]
        );
    }

    #[test]
    fn the_shipped_files_are_without_mistakes() {
        for file in [
            include_str!("../../pipelines/instruments/us-large.csv"),
            include_str!("../../pipelines/demo/instruments.csv"),
        ] {
            let instruments = Instruments::parse(file).unwrap();
            assert!(instruments.all().len() >= 14);
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_it_fail(text in any::<String>(), rows in "([A-Z:,|\"\\n]{0,6}){0,12}") {
            let _ = (Instruments::parse(&text), Instruments::parse(&format!("id,name,aliases,common_word\n{rows}")));
        }
    }
}
