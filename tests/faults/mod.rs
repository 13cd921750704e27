//! Promise: on a real Kafka, with real processes, nothing is lost and nothing stands twice, whatever breaks.
//!
//! Each test breaks one thing under load, some times over, heals it and takes the sums. This is the short form;
//! `scripts/faults.sh` runs the same tests more often, with the optimised binary: `BELLWETHER_FAULTS` says how often
//! (`kills=100 groups=20`), `BELLWETHER_FAULTS_REPORT` names a file that takes a line of figures from each.
//!
//! Times are measured and printed. The short form asserts bounds with slack, since it runs beside other tests; the long
//! form, which wants a machine for itself, asserts them as they are.

mod burn;
mod crash;
mod disk;
mod members;
mod outage;
mod overload;
mod pace;
mod sleep;
mod swap;
mod topics;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use rdkafka::message::Message;

use crate::trial::{Outcome, SOON, Trial};

/// How often a fault is repeated: as often as `BELLWETHER_FAULTS` says, else `short` times.
fn times(fault: &str, short: usize) -> usize {
    let asked = std::env::var("BELLWETHER_FAULTS").unwrap_or_default();
    let count = asked.split_whitespace().filter_map(|part| part.split_once('=')).find(|(name, _)| *name == fault);
    count.map_or(short, |(_, count)| count.parse().expect("BELLWETHER_FAULTS reads fault=count"))
}

/// Whether this is the long form.
fn is_long() -> bool {
    std::env::var_os("BELLWETHER_FAULTS").is_some()
}

/// A bound, in the short form with slack for a machine that does other things too; the figures tell what it took.
fn at_most(limit: Duration) -> Duration {
    if is_long() { limit } else { limit * 4 }
}

/// Works off what is left. After many rounds that is much: the broker was away for most of the time.
fn finish(trial: &Trial) {
    trial.done_within(if is_long() { SOON * 10 } else { SOON }, &["run", "--until-end"]);
}

/// The figures of one fault.
struct Figures {
    fault: &'static str,
    times: usize,
    /// What was measured, each under its name.
    spans: Vec<(&'static str, Vec<Duration>)>,
    /// Anything else that is worth a word.
    notes: Vec<String>,
}

impl Figures {
    fn new(fault: &'static str, times: usize) -> Self {
        Self { fault, times, spans: Vec::new(), notes: Vec::new() }
    }

    fn span(&mut self, name: &'static str, took: Duration) {
        match self.spans.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) => all.push(took),
            None => self.spans.push((name, vec![took])),
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Finishes what is left, takes the sums and tells the figures; fails where anything is lost or stands twice.
    fn settle(self, trial: &Trial, sent: usize) {
        finish(trial);
        self.settle_with(&trial.sums_with_archive(&trial.path("archive")), sent);
    }

    fn settle_with(self, outcome: &Outcome, sent: usize) {
        self.settle_whole(outcome, sent);
        outcome.assert_exact();
    }

    /// As [`Figures::settle_with`], where something may stand twice.
    fn settle_whole(self, outcome: &Outcome, sent: usize) {
        self.tell(outcome);
        outcome.assert_whole();
        assert!(outcome.retractions > 0 && outcome.labels > 0, "the load takes posts back and labels some");
        assert!(
            !outcome.dead.is_empty() && !outcome.dead_labels.is_empty(),
            "the load sends posts and labels that are none"
        );
        // What its sender had given up and sent again may stand in an input twice.
        let came: BTreeSet<_> = outcome.inputs.values().map(Message::key).collect();
        assert_eq!(came.len(), sent, "records that were sent and records that came in");
    }

    /// A line of the report's table. What is lost, or stands twice, is counted by the records that it is about.
    fn tell(&self, outcome: &Outcome) {
        let (records, lost, twice) = (outcome.inputs.len(), outcome.lost.records(), outcome.twice.records());
        self.tell_sums(&format!("{records} | {lost} | {twice}"));
    }

    /// A line where the sums are another's, or none are taken.
    fn tell_sums(&self, sums: &str) {
        let shown = |took: Duration| format!("{:.1}", took.as_secs_f64());
        let spans = self.spans.iter().map(|(name, all)| {
            let mut sorted = all.clone();
            sorted.sort_unstable();
            let (median, worst) = (sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
            format!("{name}: {} s ({} s)", shown(median), shown(worst))
        });
        let said: Vec<String> = spans.chain(self.notes.iter().cloned()).collect();
        let line = format!("| {} | {} | {sums} | {} |", self.fault, self.times, said.join("; "));
        println!("{line}");
        if let Some(path) = std::env::var_os("BELLWETHER_FAULTS_REPORT") {
            let mut file = File::options().create(true).append(true).open(Path::new(&path)).unwrap();
            writeln!(file, "{line}").unwrap();
        }
    }
}

/// Moments that nobody chose: a small generator, begun by the clock.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self(u64::from(since.subsec_nanos()) << 1 | 1)
    }

    /// A span below `limit`.
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        limit.mul_f64((self.0 % 1_000) as f64 / 1_000.0)
    }
}

/// A pipeline for faults: patient at its start, since the broker is what breaks, and at its end, since who is told to stop
/// while its group is being arranged anew waits for that first.
fn trial(name: &str) -> Trial {
    patient(Trial::new(name))
}

fn patient(trial: Trial) -> Trial {
    trial.set("kafka.start_timeout", "30s").set("grace", "30s")
}
