//! The rules: `[[rule]]`, each with its condition `when`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::instruments::InstrumentsFile;
use super::reader::Section;
use super::setting::quoted;
use crate::event::{Severity, Subject};
use crate::model::Manifest;
use crate::rule::{Bound, Rule, SubjectPattern};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Mentions below which a rule is silent, unless the file says otherwise: fewer say little about anything.
const MENTIONS_MIN: u32 = 5;

/// What the subjects of rules are held against; topics only where the model is here.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) instruments: &'a InstrumentsFile,
    pub(super) model: Option<&'a Manifest>,
}

/// Reads all rules.
pub(super) fn read(sections: Vec<Section<'_>>, known: Known<'_>) -> Vec<Rule> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut rules = Vec::new();
    for mut section in sections {
        let name: Option<String> = section.required("name", "\"sudden-gloom\"");
        if let Some(name) = &name {
            check_name(&section, name, &mut seen);
        }
        let subjects = subjects(&mut section, known);
        let hold = section.within("for", Duration::ZERO, Duration::ZERO..=DAY);
        let keep_firing = section.within("keep_firing_for", Duration::ZERO, Duration::ZERO..=DAY);
        let severity = section.or("severity", Severity::default());
        let when = if section.has("when") { when(section.section("when")) } else { without_condition(&mut section) };
        section.finish();
        if let (Some(name), Some(when)) = (name, when) {
            rules.push(Rule {
                name: Arc::from(name),
                subjects,
                bound: when.bound,
                over: when.over,
                half_life: when.half_life,
                mentions_min: when.mentions_min,
                hold,
                keep_firing,
                severity,
            });
        }
    }
    rules
}

fn check_name(section: &Section<'_>, name: &str, seen: &mut BTreeMap<String, String>) {
    if !super::is_kafka_name(name, 64) {
        let message = format!("{} is no name for a rule", quoted(name));
        section.problem("name", message, "use letters, digits, `.`, `_` and `-`, at most 64");
    }
    if let Some(first) = seen.insert(name.to_owned(), section.place("name").to_string()) {
        let message = format!("{} is the name of another rule, at {first}", quoted(name));
        section.problem("name", message, "alerts are told apart by it: choose another");
    }
}

fn subjects(section: &mut Section<'_>, known: Known<'_>) -> Vec<SubjectPattern> {
    let subjects: Vec<String> = section.required("subjects", "[\"XNAS:*\"]").unwrap_or_default();
    if section.has("subjects") && subjects.is_empty() {
        section.problem("subjects", "nobody is meant", "name subjects, such as [\"XNAS:*\", \"topic:*\", \"market\"]");
    }
    for pattern in &subjects {
        if !is_pattern(pattern) {
            let message = format!("{} is no pattern of subjects", quoted(pattern));
            let remedy = "write XNAS:AAPL, topic:earnings or market; a star stands only at the end, as in XNAS:*";
            section.problem("subjects", message, remedy);
        } else if let Some((message, remedy)) = known.objection(pattern) {
            section.problem("subjects", message, remedy);
        }
    }
    subjects.into_iter().map(SubjectPattern).collect()
}

impl Known<'_> {
    /// Why no post can ever be about the pattern, and what may have been meant.
    fn objection(self, pattern: &str) -> Option<(String, String)> {
        let of_topic = || self.model.and_then(|manifest| super::model::objection(manifest, pattern));
        self.instruments.objection(pattern).or_else(of_topic)
    }
}

/// A subject, or the start of one followed by a star.
fn is_pattern(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(start) => {
            let filled = if start.contains(':') { format!("{start}X") } else { format!("{start}X:X") };
            !start.contains('*') && Subject::parse(&filled).is_ok()
        }
        None => !pattern.contains('*') && Subject::parse(pattern).is_ok(),
    }
}

struct When {
    bound: Bound,
    over: Duration,
    half_life: Duration,
    mentions_min: u32,
}

fn without_condition(section: &mut Section<'_>) -> Option<When> {
    let _ = section.value("when");
    let remedy = "add when = { index_below = -0.4, over = \"30m\", mentions_min = 8 }";
    section.problem("when", "the condition is missing", remedy);
    None
}

fn when(mut section: Section<'_>) -> Option<When> {
    let below: Option<f32> = section.optional("index_below");
    let above: Option<f32> = section.optional("index_above");
    let given = (section.has("index_below"), section.has("index_above"));
    let bound = match (below, above) {
        (Some(low), None) if !given.1 => Some(Bound::Below(low)),
        (None, Some(high)) if !given.0 => Some(Bound::Above(high)),
        _ => None,
    };
    if given.0 == given.1 {
        section.problem("index_below", "a rule has exactly one bound", "write index_below = -0.4 or index_above = 0.4");
    }
    for (key, value) in [("index_below", below), ("index_above", above)] {
        if value.is_some_and(|value| !(-1.0..=1.0).contains(&value)) {
            section.problem(key, "an index lies between -1 and 1", "use a bound within, such as 0.4");
        }
    }
    let over: Option<Duration> = section.required("over", "\"30m\"");
    let range = MINUTE..=DAY * 30;
    if over.is_some_and(|over| !range.contains(&over)) {
        section.problem("over", "the window is out of range", "use \"1m\" to \"30d\"");
    }
    let half_life = section.or("half_life", over.unwrap_or(MINUTE) / 2);
    if half_life.is_zero() {
        section.problem("half_life", "a mention cannot lose its weight at once", "use \"1s\" or more");
    }
    let mentions_min = section.within("mentions_min", MENTIONS_MIN, 1..=1_000_000);
    section.finish();
    Some(When { bound: bound?, over: over?, half_life, mentions_min })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_only_at_the_end() {
        for good in ["XNAS:*", "XNAS:AAPL", "topic:*", "topic:earnings", "market", "*", "X*"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "AAPL", "*:AAPL", "XNAS:*:x", "XNAS:A*L", "XNAS: *", ":*", "XNAS:"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
