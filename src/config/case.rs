//! The test cases of a pipeline file: `[[test]]` gives posts with the model's answers and the alerts that must follow.
//! Reading only; the cases are run by `trial`.

use std::sync::Arc;
use std::time::Duration;

use super::problem::{Place, nearest};
use super::reader::Section;
use super::setting::{Setting, Wrong, quoted};
use super::tree::{Node, Value};
use super::units::{parse_duration, show_duration};
use crate::event::{Action, AlertState, Subject};
use crate::rule::Rule;

/// Posts and the alerts that they must cause.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCase {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What is said.
    pub posts: Vec<CasePost>,
    /// What must be raised: all that fires or resolves, pending ones only where named.
    pub alerts: Vec<CaseAlert>,
    /// When the case ends, from its start; without it, when everything has had the time to resolve.
    pub until: Option<Duration>,
}

/// One post, or several alike.
#[derive(Debug, Clone, PartialEq)]
pub struct CasePost {
    /// When it is said, from the start of the case.
    pub at: Duration,
    /// Its id; without one every post is another.
    pub id: Option<Arc<str>>,
    /// Created, updated or deleted.
    pub action: Action,
    /// Whom it is about.
    pub subjects: Vec<Subject>,
    /// The model's answer; `None` is an abstention.
    pub sentiment: Option<&'static str>,
    /// Probability of that answer.
    pub confidence: f32,
    /// How much it is about its subjects.
    pub relevance: f32,
    /// Its text, for near-copies; without one every post tells another story.
    pub text: Option<String>,
    /// Who delivers it.
    pub source: Arc<str>,
    /// How many of them there are.
    pub count: u32,
    /// The time from one to the next.
    pub every: Duration,
}

/// One change of an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseAlert {
    /// The rule.
    pub rule: Arc<str>,
    /// The subject.
    pub subject: Subject,
    /// The state that it reaches.
    pub state: AlertState,
    /// When, within two ticks.
    pub at: Option<Duration>,
}

/// A moment of a case, `+3m` from its start.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Offset(Duration);

impl Setting for Offset {
    fn read(value: &Value) -> Result<Self, Wrong> {
        match &value.node {
            Node::Text(text) | Node::Raw(text) => text.strip_prefix('+').and_then(parse_duration).map(Self),
            _ => None,
        }
        .ok_or_else(|| Wrong::new("expected a moment of the case", "write \"+3m\": three minutes after the start"))
    }

    fn show(&self) -> String {
        quoted(&format!("+{}", show_duration(self.0)))
    }
}

/// Reads all cases; the alerts must be of rules that there are.
pub(super) fn read(sections: Vec<Section<'_>>, rules: &[Rule]) -> Vec<TestCase> {
    let read_one = |mut section: Section<'_>| {
        let case = TestCase {
            name: section.required("name", "\"what this shows\"").unwrap_or_default(),
            place: section.place("name"),
            posts: section.sections("posts").into_iter().map(post).collect(),
            alerts: section.sections("alerts").into_iter().filter_map(|alert| expected(alert, rules)).collect(),
            until: section.optional::<Offset>("until").map(|at| at.0),
        };
        if !section.has("posts") {
            section.problem("posts", "nothing is said", "add posts = [{ at = \"+0m\", … }]");
        }
        section.finish();
        case
    };
    sections.into_iter().map(read_one).collect()
}

fn post(mut section: Section<'_>) -> CasePost {
    let action = word(
        &mut section,
        "action",
        &[("created", Action::Created), ("updated", Action::Updated), ("deleted", Action::Deleted)],
    );
    let labels = [
        ("negative", Some("negative")),
        ("neutral", Some("neutral")),
        ("positive", Some("positive")),
        ("abstained", None),
    ];
    let action = action.unwrap_or_default();
    let gone = action == Action::Deleted;
    if gone && !section.has("id") {
        section.problem("id", "a deletion names nobody", "give the id of the post that is deleted");
    }
    if !gone && !section.has("sentiment") {
        section.problem("sentiment", "the model's answer is missing", "add sentiment = \"negative\" or another");
    }
    let post = CasePost {
        at: section.required::<Offset>("at", "\"+0m\"").map_or(Duration::ZERO, |at| at.0),
        id: section.optional::<String>("id").map(Arc::from),
        action,
        subjects: subjects(&mut section, gone),
        sentiment: word(&mut section, "sentiment", &labels).flatten(),
        confidence: section.within("confidence", 0.9, 0.0..=1.0),
        relevance: section.within("relevance", 1.0, 0.0..=1.0),
        text: section.optional("text"),
        source: Arc::from(section.or("source", "test".to_owned())),
        count: section.within("count", 1, 1..=100_000),
        every: section.or("every", Duration::from_secs(1)),
    };
    section.finish();
    post
}

fn subjects(section: &mut Section<'_>, gone: bool) -> Vec<Subject> {
    let names = if gone {
        section.optional::<Vec<String>>("subjects")
    } else {
        section.required::<Vec<String>>("subjects", "[\"XNAS:AAPL\"]")
    };
    names.unwrap_or_default().iter().filter_map(|name| subject(section, "subjects", name)).collect()
}

fn subject(section: &Section<'_>, key: &str, name: &str) -> Option<Subject> {
    let parsed = Subject::parse(name);
    if let Err(error) = &parsed {
        section.problem(key, error.to_string(), "write XNAS:AAPL, topic:earnings or market");
    }
    parsed.ok()
}

fn expected(mut section: Section<'_>, rules: &[Rule]) -> Option<CaseAlert> {
    let rule: Option<String> = section.required("rule", "the name of a rule");
    if let Some(rule) = &rule
        && !rules.iter().any(|known| *known.name == **rule)
    {
        let remedy = nearest(rule, rules.iter().map(|rule| &*rule.name))
            .map_or_else(|| "name a rule of this file".to_owned(), |meant| format!("did you mean {}?", quoted(meant)));
        section.problem("rule", format!("{} is no rule", quoted(rule)), remedy);
    }
    let name: Option<String> = section.required("subject", "\"XNAS:AAPL\"");
    let subject = name.and_then(|name| subject(&section, "subject", &name));
    let states = [("pending", AlertState::Pending), ("firing", AlertState::Firing), ("resolved", AlertState::Resolved)];
    if !section.has("state") {
        section.problem("state", "the state is missing", "add state = \"firing\"");
    }
    let state = word(&mut section, "state", &states);
    let at = section.optional::<Offset>("at").map(|at| at.0);
    section.finish();
    Some(CaseAlert { rule: Arc::from(rule?), subject: subject?, state: state?, at })
}

/// One of a few words.
fn word<T: Copy>(section: &mut Section<'_>, key: &'static str, words: &[(&str, T)]) -> Option<T> {
    let text: String = section.optional(key)?;
    let found = words.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let all: Vec<String> = words.iter().map(|(word, _)| quoted(word)).collect();
        section.problem(key, format!("{} is none of the words", quoted(&text)), format!("use {}", all.join(", ")));
    }
    found.map(|(_, value)| *value)
}
