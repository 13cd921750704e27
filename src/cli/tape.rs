//! The tape: what is being scored and raised, as lines for a terminal, and the sums for a summary.

use std::collections::{BTreeMap, HashMap};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;

use crate::event::{Alert, AlertState, ScoredPost, Severity, Subject};
use crate::pipeline::TapeEvent;

/// Subjects whose mentions are counted for the summary.
const SUBJECTS_MAX: usize = 50_000;
/// Lines of posts that a terminal is given a second: more than a person can read.
const LINES_PER_SECOND: u32 = 40;
/// Characters of a line where no terminal says how many it has.
const WIDTH: usize = 140;
/// Latencies that are kept for the percentiles; then every second one is dropped.
const LATENCIES_MAX: usize = 200_000;

/// What came of a run; `--json` prints it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Summary {
    /// Records that were read.
    pub posts: u64,
    /// Posts that were scored.
    pub scored: u64,
    /// Records that could not be used.
    pub dead_letters: u64,
    /// Mentions that were written.
    pub mentions: u64,
    /// Scored posts with at least one instrument.
    pub posts_with_instrument: u64,
    /// Scored posts without a sentiment label.
    pub abstained: u64,
    /// Alerts that began to fire.
    pub alerts_firing: u64,
    /// Alerts that were resolved after they had fired.
    pub alerts_resolved: u64,
    /// Records that say no time that can be read, dead letters among them.
    pub without_time: u64,
    /// Rows in the archive.
    pub samples: u64,
    /// Posts a second of wall time.
    pub posts_per_second: f64,
    /// Wall seconds.
    pub seconds: f64,
    /// Median of the time from reading a post to its committed score and alerts, in milliseconds.
    pub latency_p50_ms: f64,
    /// The 99th percentile of the same.
    pub latency_p99_ms: f64,
    /// Where the samples are.
    pub archive: String,
    /// Where the page is (was).
    pub page: String,
}

/// Counts and prints tape events.
pub(crate) struct Tape {
    /// The sums so far.
    pub summary: Summary,
    out: Option<Box<dyn Write + Send>>,
    colour: bool,
    /// Lines of posts that may still be printed in this second.
    budget: u32,
    second: Duration,
    subjects: HashMap<Subject, u64>,
    latencies: Vec<f32>,
    stride: u32,
    skipped: u32,
    /// The day of the last line.
    date: String,
    /// Characters of a line.
    width: usize,
}

impl Tape {
    /// A tape on standard output, or one that only counts.
    #[must_use]
    pub(crate) fn new(prints: bool) -> Self {
        let stdout = std::io::stdout();
        let colour = stdout.is_terminal();
        Self {
            summary: Summary::default(),
            out: prints.then(|| Box::new(stdout) as Box<dyn Write + Send>),
            colour,
            budget: LINES_PER_SECOND,
            second: Duration::ZERO,
            subjects: HashMap::new(),
            latencies: Vec::new(),
            stride: 1,
            skipped: 0,
            date: String::new(),
            width: console::Term::stdout().size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns)),
        }
    }

    /// Takes an event at a monotonic moment; posts beyond forty lines a second are counted and not printed.
    pub(crate) fn event(&mut self, event: &TapeEvent, now: Duration) {
        if now.saturating_sub(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.budget = LINES_PER_SECOND;
        }
        match event {
            TapeEvent::Scored(post) => self.scored(post),
            TapeEvent::Alert { alert, .. } => self.alert(alert),
            TapeEvent::Dead { stage, reason, message } => {
                self.summary.dead_letters += 1;
                self.print(&format!("{}  {stage}: {reason}: {message}", self.paint("2;31", "dead letter")));
            }
            TapeEvent::Segment { rows } => self.summary.samples += u64::try_from(*rows).unwrap_or(0),
        }
    }

    /// A post's latency.
    pub(crate) fn latency(&mut self, took: Duration) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.latencies.push(took.as_secs_f32());
        if self.latencies.len() >= LATENCIES_MAX {
            let mut keep = false;
            self.latencies.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
    }

    fn scored(&mut self, post: &ScoredPost) {
        self.summary.scored += 1;
        self.summary.mentions += u64::try_from(post.subjects.len()).unwrap_or(0);
        self.summary.abstained += u64::from(post.sentiment.abstained);
        let instruments: Vec<&Subject> =
            post.subjects.iter().map(|link| &link.subject).filter(|subject| subject.is_instrument()).collect();
        self.summary.posts_with_instrument += u64::from(!instruments.is_empty());
        for subject in &instruments {
            if self.subjects.len() < SUBJECTS_MAX || self.subjects.contains_key(*subject) {
                *self.subjects.entry((*subject).clone()).or_insert(0) += 1;
            }
        }
        if self.out.is_none() || self.budget == 0 {
            return;
        }
        self.budget -= 1;
        self.day(post.published_at.date());
        let line = self.post_line(post, &instruments);
        self.print(&line);
    }

    /// Says which day it is, where that is another one than on the line before: years pass quickly in a play.
    fn day(&mut self, date: String) {
        if self.date != date {
            if self.date.is_empty() {
                self.print(&self.paint("2", "published  sentiment  confidence and instruments       text"));
            }
            let line = format!("──── {date} (UTC)");
            self.print(&self.paint("2", &line));
            self.date = date;
        }
    }

    fn post_line(&self, post: &ScoredPost, instruments: &[&Subject]) -> String {
        let time = clock(&post.published_at.to_string());
        let (colour, word) = match post.sentiment.label.as_deref() {
            Some("positive") => ("32", "positive"),
            Some("negative") => ("31", "negative"),
            Some(_) => ("37", "neutral"),
            None => ("2;37", "abstained"),
        };
        let confidence = post.sentiment.confidence;
        let named: Vec<&str> = instruments.iter().take(2).map(|subject| subject.as_str()).collect();
        let more = if instruments.len() > 2 { format!(" +{}", instruments.len() - 2) } else { String::new() };
        let head = format!("{confidence:.2}  {:<22}  ", named.join(" ") + &more);
        let text = self.cut(&post.text, time.len() + 2 + 9 + 2 + head.chars().count());
        format!("{time}  {}  {head}{text}", self.paint(colour, &format!("{word:<9}")))
    }

    fn alert(&mut self, alert: &Alert) {
        let (colour, word) = match (alert.state, alert.severity) {
            (AlertState::Pending, _) => return,
            (AlertState::Firing, Severity::Critical) => ("1;41;97", "FIRING"),
            (AlertState::Firing, _) => ("1;43;30", "FIRING"),
            (AlertState::Resolved, _) if alert.fired_at.is_some() => ("1;42;30", "RESOLVED"),
            (AlertState::Resolved, _) => return,
        };
        match alert.state {
            AlertState::Firing => self.summary.alerts_firing += 1,
            AlertState::Resolved => self.summary.alerts_resolved += 1,
            AlertState::Pending => {}
        }
        self.day(alert.at.date());
        let time = clock(&alert.at.to_string());
        let head =
            format!("{time}  {}  {} {}", self.paint(colour, &format!(" {word} ")), alert.severity, alert.summary);
        self.print(&head);
        if alert.state == AlertState::Firing {
            for evidence in &alert.evidence {
                let share = evidence.weight * 100.0;
                let head = format!("            {share:>3.0} %  {:+.2}  {}: ", evidence.score, evidence.source);
                let text = self.cut(&evidence.excerpt, head.chars().count());
                self.print(&format!("{head}{text}"));
            }
        }
    }

    /// What of a text still has room on a line behind so many characters.
    fn cut(&self, text: &str, taken: usize) -> String {
        let room = self.width.saturating_sub(taken).max(16);
        if text.chars().count() <= room {
            return text.to_owned();
        }
        text.chars().take(room - 1).chain(['…']).collect()
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A line on the tape. Whoever closes the pipe has seen enough: nothing is printed from then on.
    pub(crate) fn print(&mut self, line: &str) {
        let line = sanitised(line, self.colour);
        if let Some(out) = &mut self.out
            && writeln!(out, "{line}").is_err()
        {
            self.out = None;
        }
    }

    /// Whether anything is printed.
    #[must_use]
    pub(crate) const fn prints(&self) -> bool {
        self.out.is_some()
    }

    /// The sums, with the percentiles worked out.
    #[expect(clippy::cast_precision_loss, reason = "counts of posts")]
    pub(crate) fn finish(&mut self, took: Duration) -> &mut Summary {
        self.latencies.sort_by(f32::total_cmp);
        self.summary.latency_p50_ms = percentile(&self.latencies, 50);
        self.summary.latency_p99_ms = percentile(&self.latencies, 99);
        self.summary.seconds = took.as_secs_f64();
        self.summary.posts_per_second = self.summary.posts as f64 / took.as_secs_f64().max(1e-9);
        &mut self.summary
    }

    /// The instruments with most mentions.
    #[must_use]
    pub(crate) fn busiest(&self, count: usize) -> Vec<(Subject, u64)> {
        let mut ranked: BTreeMap<(std::cmp::Reverse<u64>, Subject), ()> = BTreeMap::new();
        for (subject, mentions) in &self.subjects {
            ranked.insert((std::cmp::Reverse(*mentions), subject.clone()), ());
        }
        ranked.into_keys().take(count).map(|(mentions, subject)| (subject, mentions.0)).collect()
    }
}

/// Texts of others must not steer the terminal; our own colours may.
fn sanitised(line: &str, colour: bool) -> String {
    line.chars().filter(|c| !c.is_control() || (colour && *c == '\x1b')).collect()
}

/// The time of day of an RFC 3339 text.
fn clock(moment: &str) -> String {
    moment.split_once('T').map_or_else(|| moment.to_owned(), |(_, time)| time.chars().take(8).collect())
}

fn percentile(sorted: &[f32], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |seconds| f64::from(*seconds) * 1_000.0)
}
