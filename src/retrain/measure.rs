//! How well answers agree with the truth: accuracy, F1, confusion and calibration of one task.
//!
//! Pure sums over (truth, best label with its probability, abstention). The best label of every row counts, whether the
//! model abstained or not, and a row without any is a miss; how good it is without the abstentions stands beside it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::Abstention;

/// Equal-width bins of probability in the expected calibration error.
const BINS: usize = 15;

/// One task's figures. All shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskReport {
    /// Rows with a label.
    pub n: usize,
    /// Share of rows whose best label is the true one.
    pub accuracy: f64,
    /// Mean F1 of the classes that occur, as a truth or as an answer.
    pub macro_f1: f64,
    /// Mean F1 of the classes, weighted by how many rows have them as truth.
    pub weighted_f1: f64,
    /// Expected calibration error: the distance of confidence and accuracy in 15 equal-width bins of confidence, weighted
    /// by rows that have an answer (Guo et al. 2017).
    pub ece: f64,
    /// Rows on which the pipeline would abstain.
    pub abstained: usize,
    /// The same by reason.
    pub abstained_by_reason: BTreeMap<String, usize>,
    /// Accuracy on the rows on which it did not; `None` where it always did.
    pub accuracy_of_answered: Option<f64>,
    /// By label.
    pub per_class: BTreeMap<String, Class>,
    /// What was taken for what.
    pub confusion: Confusion,
}

/// One class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Class {
    /// Of the rows that got this label, the share that have it; 0 where none got it.
    pub precision: f64,
    /// Of the rows that have this label, the share that got it; 0 where none has it.
    pub recall: f64,
    /// The harmonic mean of both; 0 where both are.
    pub f1: f64,
    /// Rows that have this label.
    pub n: usize,
}

/// How often a truth (row) got an answer (column).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// The labels of rows and columns, in the model's order; rows without an answer are in no column.
    pub labels: Vec<String>,
    /// Counts.
    pub rows: Vec<Vec<usize>>,
}

/// Sums up one task, answer by answer.
#[derive(Debug)]
pub(super) struct Measure {
    confusion: Confusion,
    /// Rows without any answer, by truth.
    unanswered: Vec<usize>,
    bins: [Bin; BINS],
    abstained: BTreeMap<String, usize>,
    answered_right: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    n: usize,
    right: usize,
    confidence: f64,
}

impl Measure {
    pub(super) fn new(labels: &[String]) -> Self {
        let rows = vec![vec![0; labels.len()]; labels.len()];
        let confusion = Confusion { labels: labels.to_vec(), rows };
        let (unanswered, bins) = (vec![0; labels.len()], [Bin::default(); BINS]);
        Self { confusion, unanswered, bins, abstained: BTreeMap::new(), answered_right: 0 }
    }

    /// One row; `truth` and what is `best`, if anything is, are places among the labels.
    pub(super) fn add(&mut self, truth: usize, best: Option<(usize, f32)>, abstention: Option<Abstention>) {
        if let Some(reason) = abstention {
            *self.abstained.entry(reason.as_str().to_owned()).or_default() += 1;
        }
        let Some((answer, confidence)) = best else {
            if let Some(count) = self.unanswered.get_mut(truth) {
                *count += 1;
            }
            return;
        };
        if let Some(count) = self.confusion.rows.get_mut(truth).and_then(|row| row.get_mut(answer)) {
            *count += 1;
        }
        let right = truth == answer;
        self.answered_right += usize::from(right && abstention.is_none());
        if let Some(bin) = self.bins.get_mut(bin_of(confidence)) {
            bin.n += 1;
            bin.right += usize::from(right);
            bin.confidence += f64::from(confidence);
        }
    }

    /// The figures; `None` where no row was added.
    pub(super) fn report(self) -> Option<TaskReport> {
        let rows = &self.confusion.rows;
        let with_answer: usize = rows.iter().flatten().sum();
        let n = with_answer + self.unanswered.iter().sum::<usize>();
        if n == 0 {
            return None;
        }
        let right: usize = rows.iter().enumerate().filter_map(|(place, row)| row.get(place)).sum();
        let classes: Vec<Class> =
            self.unanswered.iter().enumerate().map(|(place, unanswered)| class(rows, place, *unanswered)).collect();
        let given = |place: usize| rows.iter().filter_map(|row| row.get(place)).sum::<usize>();
        let occurring: Vec<f64> = classes
            .iter()
            .enumerate()
            .filter(|(place, class)| class.n > 0 || given(*place) > 0)
            .map(|(_, class)| class.f1)
            .collect();
        let weighted: f64 = classes.iter().map(|class| class.f1 * float(class.n)).sum();
        let abstained: usize = self.abstained.values().sum();
        let distance: f64 = self.bins.iter().map(|bin| (float(bin.right) - bin.confidence).abs()).sum();
        let answered = n - abstained;
        Some(TaskReport {
            n,
            accuracy: share(right, n),
            macro_f1: occurring.iter().sum::<f64>() / float(occurring.len()),
            weighted_f1: weighted / float(n),
            ece: if with_answer == 0 { 0.0 } else { distance / float(with_answer) },
            abstained,
            abstained_by_reason: self.abstained,
            accuracy_of_answered: (answered > 0).then(|| share(self.answered_right, answered)),
            per_class: self.confusion.labels.iter().cloned().zip(classes).collect(),
            confusion: self.confusion,
        })
    }
}

fn class(rows: &[Vec<usize>], place: usize, unanswered: usize) -> Class {
    let hits = rows.get(place).and_then(|row| row.get(place)).copied().unwrap_or(0);
    let n = rows.get(place).into_iter().flatten().sum::<usize>() + unanswered;
    let given: usize = rows.iter().filter_map(|row| row.get(place)).sum();
    Class { precision: share(hits, given), recall: share(hits, n), f1: share(2 * hits, n + given), n }
}

/// `part` of `whole`; 0 of nothing.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows is far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}

/// The bin that holds a confidence: bin `i` is from `i / 15` to `(i + 1) / 15`, 1 belongs to the last.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value is clamped to 0..=1")]
fn bin_of(confidence: f32) -> usize {
    ((f64::from(confidence).clamp(0.0, 1.0) * float(BINS)) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-6, "{left} is not {right}");
    }

    #[test]
    fn a_hand_computed_confusion() {
        // truth a: 3 a, 1 b; truth b: 2 b; truth c: 1 a, 1 c; d never occurs.
        let mut measure = Measure::new(&labels(&["a", "b", "c", "d"]));
        for (truth, answer) in [(0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (2, 0), (2, 2)] {
            measure.add(truth, Some((answer, 0.75)), None);
        }
        let report = measure.report().unwrap();
        assert_eq!(report.n, 8);
        close(report.accuracy, 6.0 / 8.0);
        let a = report.per_class["a"];
        close(a.precision, 3.0 / 4.0);
        close(a.recall, 3.0 / 4.0);
        close(a.f1, 0.75);
        let b = report.per_class["b"];
        close(b.precision, 2.0 / 3.0);
        close(b.recall, 1.0);
        close(b.f1, 0.8);
        let c = report.per_class["c"];
        close(c.f1, 2.0 / 3.0);
        assert_eq!(report.per_class["d"], Class { precision: 0.0, recall: 0.0, f1: 0.0, n: 0 });
        close(report.macro_f1, (0.75 + 0.8 + 2.0 / 3.0) / 3.0);
        close(report.weighted_f1, (0.75 * 4.0 + 0.8 * 2.0 + 2.0 / 3.0 * 2.0) / 8.0);
        close(report.ece, 0.0);
        assert_eq!(report.confusion.rows[2], [1, 0, 1, 0]);
    }

    #[test]
    fn a_hand_computed_calibration_error() {
        let mut measure = Measure::new(&labels(&["a", "b"]));
        // Bin of 0.95: two of two right, |2 - 1.9| = 0.1; bin of 0.6 (exactly on an edge, so the upper one): one of
        // two right, |1 - 1.2| = 0.2; together 0.3 over four rows.
        measure.add(0, Some((0, 0.95)), None);
        measure.add(1, Some((1, 0.95)), None);
        measure.add(0, Some((0, 0.6)), None);
        measure.add(0, Some((1, 0.6)), None);
        close(measure.report().unwrap().ece, 0.3 / 4.0);
    }

    #[test]
    fn abstentions_count_as_answers_and_stand_beside() {
        let mut measure = Measure::new(&labels(&["a", "b"]));
        let doubt = Some(Abstention::LowConfidence);
        measure.add(0, Some((0, 0.9)), None);
        measure.add(0, Some((1, 0.5)), doubt);
        measure.add(1, Some((1, 0.5)), doubt);
        let report = measure.report().unwrap();
        close(report.accuracy, 2.0 / 3.0);
        assert_eq!((report.abstained, &report.abstained_by_reason["low-confidence"]), (2, &2));
        assert_eq!(report.accuracy_of_answered, Some(1.0));
    }

    #[test]
    fn a_row_without_an_answer_is_a_miss() {
        let mut measure = Measure::new(&labels(&["a", "b"]));
        measure.add(0, Some((0, 0.9)), None);
        measure.add(0, None, Some(Abstention::EmptyText));
        let report = measure.report().unwrap();
        assert_eq!((report.n, report.abstained, report.per_class["a"].n), (2, 1, 2));
        close(report.accuracy, 0.5);
        close(report.per_class["a"].recall, 0.5);
        close(report.ece, 0.1);
        let mut nothing = Measure::new(&labels(&["a", "b"]));
        nothing.add(0, None, Some(Abstention::EmptyText));
        let report = nothing.report().unwrap();
        assert_eq!((report.n, report.accuracy_of_answered), (1, None));
        close(report.accuracy + report.macro_f1 + report.weighted_f1 + report.ece, 0.0);
    }

    #[test]
    fn nothing_measured_is_no_report() {
        assert_eq!(Measure::new(&labels(&["a", "b"])).report(), None);
    }
}
