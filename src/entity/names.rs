//! Names of companies in a text: one pass of an automaton over all names and aliases, on word boundaries.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use super::instruments::Instrument;

/// Below this many bytes of names the automaton is a table (faster, and about 300 bytes of memory a byte of name).
const TABLE_BYTES_MAX: usize = 64 * 1_024;

/// What stands behind a name that is also a word, to make it a company: `Target Corp`.
const FORMS: [&str; 20] = [
    "ag",
    "brands",
    "co",
    "companies",
    "company",
    "corp",
    "corporation",
    "group",
    "holding",
    "holdings",
    "inc",
    "incorporated",
    "international",
    "limited",
    "llc",
    "ltd",
    "nv",
    "plc",
    "sa",
    "se",
];

/// A name and whose it is.
#[derive(Debug, Clone, Copy)]
struct Pattern {
    instrument: usize,
    /// Counts only as the file writes its first letter, and with a company form behind it.
    needs_form: bool,
    /// The first letter of the name.
    first: char,
}

/// All names, ready to be found.
#[derive(Debug)]
pub(super) struct Names {
    /// `None` where no instrument has a name.
    automaton: Option<AhoCorasick>,
    patterns: Vec<Pattern>,
}

impl Names {
    pub(super) fn new(instruments: &[Instrument]) -> Self {
        let mut texts: HashMap<String, Pattern> = HashMap::new();
        for (at, instrument) in instruments.iter().enumerate() {
            let plain = instrument.aliases.iter().map(|alias| (alias, false));
            for (name, needs_form) in plain.chain([(&instrument.name, instrument.common_name)]) {
                let first = name.chars().next().unwrap_or(' ');
                let pattern = Pattern { instrument: at, needs_form, first };
                for variant in [name.clone(), name.replace('\'', "’")] {
                    texts.entry(variant.to_ascii_lowercase()).or_insert(pattern);
                }
            }
        }
        let mut texts: Vec<_> = texts.into_iter().collect();
        texts.sort_by(|a, b| a.0.cmp(&b.0));
        let bytes: usize = texts.iter().map(|(text, _)| text.len()).sum();
        let automaton = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind((bytes <= TABLE_BYTES_MAX).then_some(AhoCorasickKind::DFA))
            .build(texts.iter().map(|(text, _)| text));
        // The instruments file is bounded so that building cannot fail: far below the automaton's 2^31 states.
        let automaton = automaton.ok().filter(|_| !texts.is_empty());
        Self { automaton, patterns: texts.into_iter().map(|(_, pattern)| pattern).collect() }
    }

    /// Every name in the text, given to `hit` with the byte where it starts. Where names overlap the first counts, of
    /// two that start together the longer.
    pub(super) fn scan(&self, text: &str, mut hit: impl FnMut(usize, usize)) {
        let Some(automaton) = &self.automaton else { return };
        let mut found: Vec<(usize, usize, usize)> = Vec::new();
        for name in automaton.find_overlapping_iter(text) {
            let Some(pattern) = self.patterns.get(name.pattern().as_usize()) else { continue };
            if stands_alone(text, name.start(), name.end()) && pattern.allows(text, name.start(), name.end()) {
                found.push((name.start(), usize::MAX - name.end(), pattern.instrument));
            }
        }
        found.sort_unstable();
        let mut free_from = 0;
        for (start, end, instrument) in found {
            if start >= free_from {
                hit(instrument, start);
                free_from = usize::MAX - end;
            }
        }
    }
}

impl Pattern {
    fn allows(self, text: &str, start: usize, end: usize) -> bool {
        if !self.needs_form {
            return true;
        }
        let (Some(name), Some(behind)) = (text.get(start..end), text.get(end..)) else { return false };
        let behind = behind.strip_prefix(',').unwrap_or(behind);
        let Some(word) = behind.strip_prefix(' ') else { return false };
        let word = word.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        name.starts_with(self.first) && FORMS.iter().any(|form| form.eq_ignore_ascii_case(word))
    }
}

/// Whether no letter, digit or `$`, `@`, `_` touches `text[start..end]`.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    let before = text.get(..start).and_then(|text| text.chars().next_back());
    let behind = text.get(end..).and_then(|text| text.chars().next());
    !before.is_some_and(|c| joins(c) || matches!(c, '$' | '@')) && !behind.is_some_and(joins)
}
