//! The section `[instruments]`, with the problems of the file that it names.

use std::path::PathBuf;
use std::sync::Arc;

use super::problem::{Place, nearest};
use super::reader::Section;
use super::setting::quoted;
use crate::entity::Instruments;
use crate::rule::SubjectPattern;

/// The instruments file, checked.
pub(super) struct InstrumentsFile {
    pub(super) path: Option<PathBuf>,
    /// `None` where the file has problems, so that nobody complains of what it lacks.
    known: Option<Instruments>,
}

/// Reads `[instruments]` and the file.
pub(super) fn read(mut section: Section<'_>) -> InstrumentsFile {
    let file: Option<String> = section.optional("file");
    let path = file.map(|file| section.path("file", &file));
    let known = match &path {
        Some(path) => parse(&section, path),
        None => Some(Instruments::default()).filter(|_| !section.has("file")),
    };
    section.finish();
    InstrumentsFile { path, known }
}

fn parse(section: &Section<'_>, path: &std::path::Path) -> Option<Instruments> {
    let csv = match std::fs::read_to_string(path) {
        Ok(csv) => csv,
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            section.problem("file", message, "correct the path: a relative one starts at the file that names it");
            return None;
        }
    };
    let file: Arc<str> = Arc::from(path.display().to_string());
    let problems = match Instruments::parse(&csv) {
        Ok(instruments) => return Some(instruments),
        Err(problems) => problems,
    };
    for problem in problems {
        let place = Place::File { file: file.clone(), line: usize::try_from(problem.line).unwrap_or(0) };
        section.desk().report.problem(&place, problem.message, "columns: id,name,aliases,common_word,common_name");
    }
    None
}

impl InstrumentsFile {
    /// Why no post can ever be about the pattern, and what may have been meant.
    pub(super) fn objection(&self, pattern: &str) -> Option<(String, String)> {
        let instruments = self.known.as_ref()?;
        let start = pattern.strip_suffix('*').unwrap_or(pattern);
        let is_other = start.starts_with("topic:") || "topic:".starts_with(start) || "market".starts_with(start);
        let matcher = SubjectPattern(pattern.to_owned());
        if is_other || instruments.iter().any(|instrument| matcher.matches(&instrument.subject)) {
            return None;
        }
        let meant = nearest(pattern, instruments.iter().map(|instrument| instrument.subject.as_str()));
        let remedy = match meant {
            Some(meant) => format!("did you mean {}?", quoted(meant)),
            None if self.path.is_none() => "name a file of instruments: [instruments] file = \"…\"".to_owned(),
            None => "add the instrument to the file of instruments, or correct the pattern".to_owned(),
        };
        Some((format!("{} means no known instrument", quoted(pattern)), remedy))
    }
}
