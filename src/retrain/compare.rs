//! Champion and candidate asked about the same rows: figures, what changed, slices, and how long each takes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::model::{Encoded, Graded, ScoreFailure, Scorer, Task};
use crate::retrain::gate::Pair;
use crate::retrain::{EvaluateError, LabelledRow, Line, Report, evaluate_each};
use crate::time::Clock;

/// Examples of each kind that are kept for a person to read.
const EXAMPLES_MAX: usize = 10;
/// Texts that are timed, and how often.
const TIMED: (usize, usize) = (256, 3);

/// Who is compared.
pub(super) struct Contender<'a> {
    /// Answers.
    pub(super) scorer: &'a dyn Scorer,
    /// What it answers.
    pub(super) tasks: &'a [Task],
}

/// One row that the two do not agree on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Changed {
    /// The text.
    pub(super) text: String,
    /// The task.
    pub(super) task: String,
    /// What people say.
    pub(super) truth: String,
    /// What the champion says.
    pub(super) champion: String,
    /// What the candidate says.
    pub(super) candidate: String,
}

/// Right answers of both in a part of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Slice {
    /// Rows.
    pub(super) rows: usize,
    /// Of the champion.
    pub(super) champion: usize,
    /// Of the candidate.
    pub(super) candidate: usize,
}

/// Both on one set of rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Comparison {
    /// By task.
    pub(super) pairs: BTreeMap<String, Pair>,
    /// Right now and wrong before.
    pub(super) mended: Vec<Changed>,
    /// Wrong now and right before.
    pub(super) broken: Vec<Changed>,
    /// By task, then by `source …` or `year …`.
    pub(super) slices: BTreeMap<String, BTreeMap<String, Slice>>,
    /// By task: the champion's answers and the candidate's.
    pub(super) graded: BTreeMap<String, (Vec<Graded>, Vec<Graded>)>,
    /// The texts.
    pub(super) texts: Vec<String>,
}

/// Reads rows from a file of JSON lines.
///
/// # Errors
/// At the first line that is no row, or cannot be read.
pub(super) fn read_rows(path: &Path) -> Result<Vec<LabelledRow>, EvaluateError> {
    let file: Arc<str> = Arc::from(path.display().to_string());
    let line = |number| Line { file: file.clone(), number };
    let failed = |number, error: std::io::Error| EvaluateError::Row { line: line(number), problem: error.to_string() };
    let reader = BufReader::new(std::fs::File::open(path).map_err(|error| failed(0, error))?);
    let mut rows = Vec::new();
    for (number, text) in (1..).zip(reader.lines()) {
        let text = text.map_err(|error| failed(number, error))?;
        if !text.trim().is_empty() {
            rows.push(LabelledRow::parse(&text, line(number))?);
        }
    }
    Ok(rows)
}

/// What one of them said to a row.
struct Said {
    text: String,
    task: String,
    truth: String,
    best: Option<(String, f32)>,
    probability: Option<f32>,
    weight: f64,
    parts: Vec<String>,
}

fn ask(contender: &Contender<'_>, rows: &[LabelledRow]) -> Result<(Report, Vec<Said>), EvaluateError> {
    let mut said = Vec::new();
    let report = evaluate_each(contender.scorer, contender.tasks, rows.iter().cloned().map(Ok), &mut |answered| {
        let row = answered.row;
        let source = row.source.iter().map(|source| format!("source {source}"));
        let year = row.published_at.iter().filter_map(|at| at.get(..4)).map(|year| format!("year {year}"));
        said.push(Said {
            text: row.text.clone(),
            task: answered.task.to_owned(),
            truth: answered.truth.to_owned(),
            best: answered.best.map(|(label, probability)| (label.to_owned(), probability)),
            probability: answered.probability,
            weight: row.weight,
            parts: source.chain(year).collect(),
        });
    })?;
    Ok((report, said))
}

/// Asks both about all rows. Tasks that only one of them has are left out.
///
/// # Errors
/// As [`crate::retrain::evaluate`].
pub(super) fn compare(
    champion: &Contender<'_>,
    candidate: &Contender<'_>,
    rows: &[LabelledRow],
) -> Result<Comparison, EvaluateError> {
    let (mut before, old) = ask(champion, rows)?;
    let (mut after, new) = ask(candidate, rows)?;
    let mut comparison = Comparison::default();
    for task in before.tasks.keys().cloned().collect::<Vec<_>>() {
        if let (Some(champion), Some(candidate)) = (before.tasks.remove(&task), after.tasks.remove(&task)) {
            comparison.pairs.insert(task, Pair { champion, candidate, hits: Vec::new(), losses: Vec::new() });
        }
    }
    for (old, new) in old.iter().zip(&new) {
        comparison.take(old, new);
    }
    comparison.texts = rows.iter().map(|row| row.text.clone()).filter(|text| !text.is_empty()).collect();
    Ok(comparison)
}

impl Comparison {
    fn take(&mut self, old: &Said, new: &Said) {
        let Some(pair) = self.pairs.get_mut(&old.task) else { return };
        let right = |said: &Said| said.best.as_ref().is_some_and(|(label, _)| *label == said.truth);
        let (was, is) = (right(old), right(new));
        pair.hits.push((was, is));
        pair.losses.extend(old.probability.zip(new.probability).map(|(old, new)| (loss(old), loss(new))));
        let graded = |said: &Said, is_right: bool| {
            let sure = said.best.as_ref().map(|(_, probability)| *probability);
            sure.map(|sure| Graded { sure, is_right, weight: said.weight })
        };
        let answers = self.graded.entry(old.task.clone()).or_default();
        answers.0.extend(graded(old, was));
        answers.1.extend(graded(new, is));
        let slices = self.slices.entry(old.task.clone()).or_default();
        for part in &old.parts {
            let slice = slices.entry(part.clone()).or_default();
            slice.rows += 1;
            slice.champion += usize::from(was);
            slice.candidate += usize::from(is);
        }
        let kept = if is { &mut self.mended } else { &mut self.broken };
        if was != is && kept.len() < EXAMPLES_MAX {
            let label =
                |said: &Said| said.best.as_ref().map_or_else(|| "nothing".to_owned(), |(label, _)| label.clone());
            kept.push(Changed {
                text: new.text.clone(),
                task: new.task.clone(),
                truth: new.truth.clone(),
                champion: label(old),
                candidate: label(new),
            });
        }
    }
}

/// The logarithmic loss of a probability that was given to the truth, nats; at most 9.2.
fn loss(probability: f32) -> f64 {
    -f64::from(probability.max(1e-4)).ln()
}

/// Seconds a text of both, the best of three turns each, taken in turn.
///
/// # Errors
/// When one of them fails on a text.
pub(super) fn time(
    (champion, candidate): (&Contender<'_>, &Contender<'_>),
    texts: &[String],
    clock: &dyn Clock,
) -> Result<(f64, f64), ScoreFailure> {
    let (count, turns) = TIMED;
    let texts: Vec<&String> = texts.iter().cycle().take(if texts.is_empty() { 0 } else { count }).collect();
    let mut best = (f64::INFINITY, f64::INFINITY);
    for turn in 0..turns {
        let once = |contender: &Contender<'_>| -> Result<f64, ScoreFailure> {
            // Each text a little different, so that no cache answers.
            let encode = |(place, text): (usize, &&String)| contender.scorer.encode(&format!("{text} {place}.{turn}"));
            let pool: Vec<Encoded> = texts.iter().enumerate().map(encode).collect::<Result<_, _>>()?;
            let began = clock.monotonic();
            let answers = contender.scorer.score(&pool);
            let took = (clock.monotonic() - began).as_secs_f64();
            answers.into_iter().collect::<Result<Vec<_>, _>>()?;
            Ok(took / pool.len().max(1) as f64)
        };
        best = (best.0.min(once(champion)?), best.1.min(once(candidate)?));
    }
    Ok(if texts.is_empty() { (0.0, 0.0) } else { best })
}
