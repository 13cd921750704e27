//! The gate: whether a candidate may take the champion's place. Pure: figures in, checks out, each with its bound.
//!
//! A candidate must be better at something (accuracy or log loss) by more than chance explains, worse at nothing beyond a
//! bound, with no class given up, and about as well calibrated, quick and small as what it is to replace.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::retrain::settings::GAIN_ROWS_MIN;
use crate::retrain::{GateSettings, TaskReport};

/// Resamples of the paired bootstrap (Efron and Tibshirani, 1993, chapter 16; Koehn, 2004, for paired systems), and as many
/// changes of sign.
const RESAMPLES: usize = 2_000;
/// The set of the newest rows, on which a gain counts.
pub(super) const TEST: &str = "test";
/// The set that travels with the model: what it must never forget.
pub(super) const REGRESSION: &str = "regression";
/// The set of the champion's golden inputs, whose truth is what it answered itself.
pub(super) const GOLDEN: &str = "golden";
/// The figure whose gain needs no better answers than the most frequent class.
const ACCURACY: &str = "accuracy";
/// The check that something was gained.
const BETTER: &str = "better than chance explains, in one task at least";
/// The check of the one figure that is the machine's as much as the candidate's.
const SECONDS: &str = "seconds a text";
/// Standard errors beyond which a share is larger by more than chance explains: one-sided, 95 %.
const SURE: f64 = 1.645;
/// Rows of a class from which its recall is watched.
const CLASS_ROWS_MIN: usize = 5;

/// Champion and candidate on one task of one set of rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// Who answers now.
    pub champion: TaskReport,
    /// Who wants to.
    pub candidate: TaskReport,
    /// A row: whether each of them was right.
    #[serde(skip)]
    pub hits: Vec<(bool, bool)>,
    /// A row: the logarithmic loss of each, nats.
    #[serde(skip)]
    pub losses: Vec<(f64, f64)>,
}

/// All that the gate looks at.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Evidence {
    /// By set (`test` is the newest rows, `regression` travels with the model, `golden` are the champion's golden inputs)
    /// and task.
    pub sets: BTreeMap<&'static str, BTreeMap<String, Pair>>,
    /// Seconds a text: champion, candidate.
    pub seconds: (f64, f64),
    /// Bytes of the graph: champion, candidate.
    pub bytes: (u64, u64),
}

/// One figure against its bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// The champion's figure.
    pub champion: f64,
    /// The candidate's.
    pub candidate: f64,
    /// What was asked.
    pub bound: String,
    /// Whether it holds.
    pub passed: bool,
}

/// What the candidate gains in a figure, with what chance leaves open.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gain {
    /// The task.
    pub task: String,
    /// `accuracy`, or `log loss`: the mean of -ln(probability of the truth), nats, which sees a better probability also
    /// where the answer stays the same.
    pub figure: &'static str,
    /// Rows.
    pub rows: usize,
    /// How much better the candidate is; below 0 where it is worse.
    pub difference: f64,
    /// The least that it is, as sure as `confidence` says.
    pub at_least: f64,
    /// How likely one that is no better gains as much, 0 to 1: by the exact sign test for accuracy, by changes of sign for
    /// log loss.
    pub by_chance: f64,
    /// Why it counts for nothing, where it looks like a gain and the rows do not bear it out.
    pub objection: Option<String>,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// The gains on the newest rows.
    pub gains: Vec<Gain>,
    /// Why it may not answer whatever it gained: it would bring back what somebody took back.
    pub withheld: Option<String>,
    /// What was not looked at.
    pub notes: Vec<String>,
    /// Whether the candidate may answer.
    pub passed: bool,
}

impl Decision {
    /// Why not; nothing when it may.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| !check.passed).map(|check| {
            let Check { name, champion, candidate, bound, .. } = check;
            format!("{name}: {candidate:.4} against {champion:.4}, {bound}")
        });
        let mut reasons: Vec<String> = failed.collect();
        if self.checks.iter().any(|check| check.name == BETTER && !check.passed) {
            reasons.extend(self.gains.iter().filter_map(|gain| gain.objection.clone()));
            // Both figures of a task may have too few rows.
            reasons.dedup();
        }
        reasons.extend(self.withheld.clone());
        reasons
    }

    /// Whether the same candidate could pass another time: what spoke against it was how fast this machine was, or that a
    /// person took its like back, and no more.
    #[must_use]
    pub fn may_change(&self) -> bool {
        let mut failed = self.checks.iter().filter(|check| !check.passed);
        !self.passed && failed.all(|check| check.name == SECONDS)
    }

    /// Holds the candidate back, whatever it gained.
    pub(super) fn withhold(&mut self, why: String) {
        self.withheld = Some(why);
        self.passed = false;
    }
}

/// Holds the evidence against the bounds.
#[must_use]
pub fn decide(evidence: &Evidence, gate: &GateSettings) -> Decision {
    let mut checks = Vec::new();
    for (set, tasks) in &evidence.sets {
        for (task, pair) in tasks {
            if *set == GOLDEN {
                checks.push(kept(task, pair, gate));
            } else {
                watch(&mut checks, set, task, pair, gate);
            }
        }
    }
    checks.push(ratio(SECONDS, evidence.seconds, gate.latency_ratio_max));
    checks.push(ratio("bytes of the graph", (evidence.bytes.0 as f64, evidence.bytes.1 as f64), gate.size_ratio_max));
    let test = || evidence.sets.get(TEST).into_iter().flatten();
    // One of several may look better by chance: each is held to a part of what is allowed (Bonferroni).
    let chance = (1.0 - gate.confidence) / (2 * test().count().max(1)) as f64;
    let gains: Vec<Gain> = test().flat_map(|(task, pair)| pair.gains(task, chance)).collect();
    let counting = gains.iter().filter(|gain| gain.objection.is_none());
    let best = counting.map(|gain| gain.at_least).fold(f64::NEG_INFINITY, f64::max);
    checks.push(Check {
        name: BETTER.to_owned(),
        champion: 0.0,
        candidate: if best.is_finite() { best } else { 0.0 },
        bound: format!("above 0 with {:.0} % confidence", gate.confidence * 100.0),
        passed: best > 0.0,
    });
    let passed = checks.iter().all(|check| check.passed);
    Decision { checks, gains, withheld: None, notes: notes(evidence), passed }
}

/// What the evidence lacks without which a candidate can still be judged.
fn notes(evidence: &Evidence) -> Vec<String> {
    let has_rows = evidence.sets.get(REGRESSION).is_some_and(|tasks| !tasks.is_empty());
    let note = "the champion carries no regression set (regression.jsonl beside its versions): whether the candidate \
                forgot something was not looked for";
    if has_rows { Vec::new() } else { vec![note.to_owned()] }
}

impl Pair {
    /// What is gained, each figure held to this probability of chance.
    fn gains(&self, task: &str, chance: f64) -> [Gain; 2] {
        let right: Vec<f64> = self.hits.iter().map(|(was, is)| f64::from(*is) - f64::from(*was)).collect();
        let surer: Vec<f64> = self.losses.iter().map(|(before, after)| before - after).collect();
        let accuracy = Gain { by_chance: sign_test(&self.hits), ..gain(task, ACCURACY, &right, chance) };
        let loss = Gain { by_chance: sign_changes(&surer), ..gain(task, "log loss", &surer, chance) };
        [accuracy, loss].map(|gain| Gain { objection: self.objection(&gain, chance), ..gain })
    }

    fn objection(&self, gain: &Gain, chance: f64) -> Option<String> {
        let Gain { task, figure, rows, at_least, by_chance, .. } = gain;
        if *rows < GAIN_ROWS_MIN {
            return Some(format!(
                "{rows} test rows are too few to say that it is better in {task}: {GAIN_ROWS_MIN} at least"
            ));
        }
        if *at_least <= 0.0 {
            return None;
        }
        if *by_chance > chance {
            return Some(format!(
                "what it gains in {figure} of {task} may be chance: that is {by_chance:.4} likely, at most {chance:.4} is \
                 asked"
            ));
        }
        let is_shrug = *figure != ACCURACY && !self.is_informed();
        is_shrug
            .then(|| format!("{figure} of {task} counts for nothing: it knows no more than the most frequent class"))
    }

    /// Whether the candidate is more often right than one who always names the most frequent class, by more than chance
    /// explains. Where labels are nonsense who shrugs has the better log loss: it counts for nothing there.
    fn is_informed(&self) -> bool {
        let (rows, report) = (self.candidate.n.max(1) as f64, &self.candidate);
        let most = report.per_class.values().map(|class| class.n).max().unwrap_or(0) as f64 / rows;
        report.accuracy > most + SURE * (most * (1.0 - most) / rows).sqrt()
    }
}

/// Of what the champion is known by, little may change: its golden inputs, the truth of which is its own answer.
fn kept(task: &str, pair: &Pair, gate: &GateSettings) -> Check {
    let (champion, candidate) = (pair.champion.accuracy, pair.candidate.accuracy);
    let bound = gate.golden_changed_max.max(1.0 / pair.champion.n.max(1) as f64);
    Check {
        name: format!("golden inputs with the same {task}"),
        champion,
        candidate,
        bound: format!("at most {bound:.3} less"),
        passed: champion - candidate <= bound + 1e-9,
    }
}

/// Nothing may be worse beyond its bound.
fn watch(checks: &mut Vec<Check>, set: &str, task: &str, pair: &Pair, gate: &GateSettings) {
    let (champion, candidate) = (&pair.champion, &pair.candidate);
    let one_row = 1.0 / champion.n.max(1) as f64;
    let mut drop = |name: &str, before: f64, after: f64, bound: f64| {
        checks.push(Check {
            name: format!("{name} of {task} on {set}"),
            champion: before,
            candidate: after,
            bound: format!("at most {bound:.3} less"),
            // What is written down in decimals is compared with a little room.
            passed: before - after <= bound + 1e-9,
        });
    };
    drop("accuracy", champion.accuracy, candidate.accuracy, gate.accuracy_drop_max.max(one_row));
    drop("macro F1", champion.macro_f1, candidate.macro_f1, gate.macro_f1_drop_max.max(2.0 * one_row));
    // Of few rows the error is itself uncertain: that of a share has a standard error of up to half over the root of n.
    let rise = gate.calibration_rise_max.max(0.5 / (champion.n.max(1) as f64).sqrt());
    checks.push(Check {
        name: format!("calibration error of {task} on {set}"),
        champion: champion.ece,
        candidate: candidate.ece,
        bound: format!("at most {rise:.3} more"),
        passed: candidate.ece - champion.ece <= rise + 1e-9,
    });
    if !pair.losses.is_empty() {
        let mean = |sum: f64| sum / pair.losses.len() as f64;
        let before = mean(pair.losses.iter().map(|(before, _)| before).sum());
        let after = mean(pair.losses.iter().map(|(_, after)| after).sum());
        checks.push(Check {
            name: format!("log loss of {task} on {set}"),
            champion: before,
            candidate: after,
            bound: format!("at most {:.3} more", gate.log_loss_rise_max),
            passed: after - before <= gate.log_loss_rise_max + 1e-9,
        });
    }
    for (label, before) in champion.per_class.iter().filter(|(_, class)| class.n >= CLASS_ROWS_MIN) {
        let after = candidate.per_class.get(label).map_or(0.0, |class| class.recall);
        // Half of what it was, or less, is given up; only such a class is worth a line.
        if before.recall > 0.0 && after <= before.recall / 2.0 {
            checks.push(Check {
                name: format!("recall of {label} on {set}"),
                champion: before.recall,
                candidate: after,
                bound: "more than half of it".to_owned(),
                passed: false,
            });
        }
    }
}

fn ratio(name: &str, (before, after): (f64, f64), bound: f64) -> Check {
    Check {
        name: name.to_owned(),
        champion: before,
        candidate: after,
        bound: format!("at most {bound} times as much"),
        passed: after <= before * bound,
    }
}

/// How likely it is that of the rows which only one of the two has right so many or more are the candidate's, were each as
/// likely the champion's: the exact sign test for paired answers (McNemar, 1947), one-sided.
fn sign_test(hits: &[(bool, bool)]) -> f64 {
    let mended = hits.iter().filter(|(was, is)| !was && *is).count();
    let differ = hits.iter().filter(|(was, is)| was != is).count();
    let mut ways_ln = 0.0;
    let mut sum = 0.0;
    // From all of them down; in logarithms, since the ways are more than a number holds.
    for count in (mended..=differ).rev() {
        sum += (ways_ln - differ as f64 * std::f64::consts::LN_2).exp();
        ways_ln += (count as f64).ln() - ((differ - count + 1) as f64).ln();
    }
    sum.min(1.0)
}

/// How likely the rows gain as much in sum where each gain might as well have been a loss: the share of random changes of
/// sign that reach it (Fisher's randomisation test for pairs, 1935). Of rows right or wrong it is the sign test.
fn sign_changes(gained: &[f64]) -> f64 {
    let found: f64 = gained.iter().sum();
    let mut dice = 0x6265_6c6c_u64;
    let as_much = (0..RESAMPLES).filter(|_| {
        let changed: f64 = gained.iter().map(|gain| if below(&mut dice, 2) == 0 { *gain } else { -gain }).sum();
        changed >= found - 1e-9
    });
    as_much.count() as f64 / RESAMPLES as f64
}

/// The mean of what each row gains, and the least that it is by a paired bootstrap over the rows, but for this probability
/// of chance.
#[must_use]
fn gain(task: &str, figure: &'static str, gained: &[f64], chance: f64) -> Gain {
    let rows = gained.len();
    let mean = |sum: f64| if rows == 0 { 0.0 } else { sum / rows as f64 };
    let mut dice = 0x6265_6c6c_u64;
    let mut resampled: Vec<f64> =
        (0..RESAMPLES).map(|_| mean((0..rows).filter_map(|_| gained.get(below(&mut dice, rows))).sum())).collect();
    resampled.sort_by(f64::total_cmp);
    let place = (chance * RESAMPLES as f64) as usize;
    let at_least = resampled.get(place).copied().unwrap_or(0.0);
    let difference = mean(gained.iter().sum());
    Gain { task: task.to_owned(), figure, rows, difference, at_least, by_chance: 1.0, objection: None }
}

/// The next number below `count`: Splitmix64 (Steele, Lea and Flood, 2014), so that a verdict is the same each time.
const fn below(state: &mut u64, count: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % if count == 0 { 1 } else { count as u64 }) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::retrain::measure::Measure;

    /// A task with classes a and b: rows as (truth, champion's answer, candidate's).
    fn pair(rows: &[(usize, usize, usize)], confidence: (f32, f32)) -> Pair {
        let labels = ["a".to_owned(), "b".to_owned()];
        let (mut champion, mut candidate) = (Measure::new(&labels), Measure::new(&labels));
        for (truth, before, after) in rows {
            champion.add(*truth, Some((*before, confidence.0)), None);
            candidate.add(*truth, Some((*after, confidence.1)), None);
        }
        let hits = rows.iter().map(|(truth, before, after)| (truth == before, truth == after)).collect();
        let loss = |right: bool, sure: f32| -f64::from(if right { sure } else { 1.001 - sure }).ln();
        let losses = rows
            .iter()
            .map(|(truth, before, after)| (loss(truth == before, confidence.0), loss(truth == after, confidence.1)));
        let losses = losses.collect();
        Pair { champion: champion.report().unwrap(), candidate: candidate.report().unwrap(), hits, losses }
    }

    fn rows(parts: &[(usize, (usize, usize, usize))]) -> Vec<(usize, usize, usize)> {
        parts.iter().flat_map(|(count, row)| std::iter::repeat_n(*row, *count)).collect()
    }

    fn evidence(test: Pair, regression: Pair) -> Evidence {
        let of = |pair| BTreeMap::from([("sentiment".to_owned(), pair)]);
        Evidence {
            sets: BTreeMap::from([("test", of(test)), ("regression", of(regression))]),
            seconds: (0.010, 0.011),
            bytes: (100, 100),
        }
    }

    /// Forty rows of which the candidate gets eight more right, and thirty that both know.
    fn better() -> Evidence {
        let test = pair(&rows(&[(16, (0, 0, 0)), (14, (1, 1, 1)), (8, (1, 0, 1)), (2, (0, 1, 1))]), (0.8, 0.95));
        evidence(test, pair(&rows(&[(15, (0, 0, 0)), (15, (1, 1, 1))]), (1.0, 1.0)))
    }

    #[test]
    fn a_candidate_that_is_better_and_nowhere_worse_passes() {
        let decision = decide(&better(), &GateSettings::default());
        assert!(decision.passed, "{:?}", decision.reasons());
        assert!((decision.gains[0].difference - 0.2).abs() < 1e-9);
        assert!(decision.gains[0].at_least > 0.05 && decision.gains[0].at_least < 0.2);
        assert_eq!(decision.gains, better().sets["test"]["sentiment"].gains("sentiment", 0.025), "each time");
    }

    #[test]
    fn each_bound_refuses_by_itself_and_says_so() {
        let refuses = |change: fn(&mut Evidence), word: &str| {
            let mut evidence = better();
            change(&mut evidence);
            let decision = decide(&evidence, &GateSettings::default());
            assert!(!decision.passed, "{word}");
            assert!(decision.reasons().iter().all(|reason| reason.contains(word)), "{word}: {:?}", decision.reasons());
        };
        refuses(|it| it.seconds.1 = 0.02, "seconds a text");
        refuses(|it| it.bytes.1 = 120, "bytes of the graph");
        let worse = |it: &mut Evidence| {
            let pair = pair(&rows(&[(15, (0, 0, 0)), (11, (1, 1, 1)), (2, (1, 1, 0)), (2, (0, 0, 1))]), (1.0, 1.0));
            it.sets.get_mut("regression").unwrap().insert("sentiment".to_owned(), pair);
        };
        refuses(worse, "on regression");
        let unsure = |it: &mut Evidence| {
            let pair = pair(&rows(&[(15, (0, 0, 0)), (15, (1, 1, 1))]), (1.0, 0.905));
            it.sets.get_mut("regression").unwrap().insert("sentiment".to_owned(), pair);
        };
        refuses(unsure, "calibration error");
        let mut flat = better();
        let pair_of = pair(&rows(&[(15, (0, 0, 0)), (15, (1, 1, 1))]), (0.95, 0.6));
        flat.sets.get_mut("regression").unwrap().insert("sentiment".to_owned(), pair_of);
        let reasons = decide(&flat, &GateSettings::default()).reasons();
        assert!(reasons.iter().any(|reason| reason.starts_with("log loss of sentiment on regression")), "{reasons:?}");
        let no_better = |it: &mut Evidence| {
            let pair = pair(&rows(&[(20, (0, 0, 0)), (17, (1, 1, 1)), (2, (1, 0, 1)), (1, (1, 1, 0))]), (0.95, 0.95));
            it.sets.get_mut("test").unwrap().insert("sentiment".to_owned(), pair);
        };
        refuses(no_better, "better than chance");
        let as_often_right = |it: &mut Evidence| {
            let pair = pair(&rows(&[(20, (0, 0, 0)), (20, (1, 1, 1))]), (0.9, 0.9));
            it.sets.get_mut("test").unwrap().insert("sentiment".to_owned(), pair);
        };
        refuses(as_often_right, "better than chance");
    }

    #[test]
    fn a_few_lucky_rows_are_no_gain_and_the_answer_says_how_many_there_were() {
        // Two tasks, as the shipped model has: each figure is held to 0.0125. The second task stays as it was.
        let decided = |mended: usize, right: usize, wrong: usize| {
            let parts = [(mended, (0, 1, 0)), (right / 2, (0, 0, 0)), (right / 2, (1, 1, 1)), (wrong, (0, 1, 1))];
            let test = pair(&rows(&parts), (0.9, 0.9));
            let mut evidence = better();
            let same = pair(&rows(&[(20, (0, 0, 0)), (20, (1, 1, 1))]), (0.9, 0.9));
            let tasks = BTreeMap::from([("sentiment".to_owned(), test), ("topic".to_owned(), same)]);
            evidence.sets.insert(TEST, tasks);
            decide(&evidence, &GateSettings::default())
        };
        for rows in [1, 2, 29] {
            let decision = decided(rows, 0, 0);
            assert!(decision.gains[0].at_least > 0.0 && !decision.passed, "{rows}: {:?}", decision.gains);
            let why = format!("{rows} test rows are too few to say that it is better in sentiment: 30 at least");
            assert_eq!(
                decision.reasons().iter().filter(|reason| **reason == why).count(),
                1,
                "{:?}",
                decision.reasons()
            );
        }
        let decision = decided(5, 32, 3);
        assert!(decision.gains[0].at_least > 0.0 && !decision.passed, "{:?}", decision.gains);
        assert!((decision.gains[0].by_chance - 1.0 / 32.0).abs() < 1e-12, "{:?}", decision.gains);
        assert!(decision.reasons()[1].starts_with("what it gains in accuracy of sentiment may be chance"));
        assert!(decision.reasons()[2].starts_with("what it gains in log loss of sentiment may be chance"));
        let decision = decided(12, 172, 16);
        assert!(decision.passed, "{:?}", decision.reasons());
    }

    #[test]
    fn the_sign_test_is_that_of_the_tables() {
        let of = |mended: usize, broken: usize| {
            let mut hits = vec![(true, true); 50];
            hits.extend(std::iter::repeat_n((false, true), mended));
            hits.extend(std::iter::repeat_n((true, false), broken));
            sign_test(&hits)
        };
        for (mended, broken, wanted) in [(0, 0, 1.0), (1, 0, 0.5), (5, 0, 0.03125), (8, 2, 0.0546875), (0, 3, 1.0)] {
            assert!((of(mended, broken) - wanted).abs() < 1e-9, "{mended} {broken}: {}", of(mended, broken));
        }
        assert!((of(2_000, 2_000) - 0.506_307).abs() < 1e-4, "{}", of(2_000, 2_000));
        let one_row = [1.0, 0.0, 0.0, 1.0, 1.0];
        assert!((sign_changes(&one_row) - 0.125).abs() < 0.03, "{}", sign_changes(&one_row));
    }

    #[test]
    fn without_a_regression_set_it_is_said_that_nothing_forgotten_was_looked_for() {
        assert!(decide(&better(), &GateSettings::default()).notes.is_empty());
        let mut evidence = better();
        evidence.sets.remove(REGRESSION);
        let decision = decide(&evidence, &GateSettings::default());
        assert!(decision.passed && decision.notes.len() == 1, "{decision:?}");
        assert!(decision.notes[0].contains("carries no regression set"), "{:?}", decision.notes);
    }

    #[test]
    fn better_probabilities_are_a_gain_where_the_answers_are_the_same() {
        let mut evidence = better();
        let pair = pair(&rows(&[(19, (0, 0, 0)), (19, (1, 1, 1)), (2, (1, 0, 0))]), (0.75, 0.85));
        evidence.sets.get_mut("test").unwrap().insert("sentiment".to_owned(), pair);
        let decision = decide(&evidence, &GateSettings::default());
        let [right, surer] = decision.gains.as_slice() else { unreachable!("one task, two figures") };
        assert!((right.figure, right.difference.to_bits()) == ("accuracy", 0.0_f64.to_bits()), "{right:?}");
        assert!(surer.figure == "log loss" && surer.at_least > 0.0, "{surer:?}");
        assert!(decision.passed, "{:?}", decision.reasons());
    }

    #[test]
    fn better_probabilities_count_only_for_who_knows_more_than_the_most_frequent_class() {
        let shrug = |pairs: &[(usize, (usize, usize, usize))]| {
            let mut evidence = better();
            evidence.sets.get_mut("test").unwrap().insert("sentiment".to_owned(), pair(&rows(pairs), (0.95, 0.6)));
            decide(&evidence, &GateSettings::default())
        };
        // Right in half of two classes alike: nonsense, and less sure of it.
        let decision = shrug(&[(10, (0, 0, 0)), (10, (1, 1, 1)), (10, (0, 1, 1)), (10, (1, 0, 0))]);
        assert!(decision.gains[1].at_least > 0.0 && !decision.passed, "{:?}", decision.gains);
        assert!(decision.reasons().iter().any(|reason| reason.starts_with("better than chance")));
        // Who is more often right than before is not asked, however skewed the rows are, or few.
        let decision = shrug(&[(54, (0, 0, 0)), (6, (1, 0, 1))]);
        assert!(decision.gains[0].at_least > 0.0, "{:?}", decision.gains);
        assert!(decision.reasons().iter().all(|reason| !reason.starts_with("better than chance")));
        assert!(!decide(&Evidence::default(), &GateSettings::default()).passed);
    }

    #[test]
    fn a_class_that_is_given_up_refuses_whatever_the_rest_gains() {
        let mut evidence = better();
        let test = pair(&rows(&[(60, (0, 1, 0)), (40, (0, 0, 0)), (6, (1, 1, 0))]), (0.9, 0.9));
        evidence.sets.get_mut("test").unwrap().insert("sentiment".to_owned(), test);
        let reasons = decide(&evidence, &GateSettings::default()).reasons();
        assert!(reasons.iter().any(|reason| reason.starts_with("recall of b on test: 0.0000")), "{reasons:?}");
    }

    #[test]
    fn of_the_golden_inputs_one_answer_may_change_or_the_share_that_is_set() {
        let changed = |count: usize, share: f64| {
            let mut evidence = better();
            // However unsure of them it became: only the answers are held.
            let golden = pair(&rows(&[(11 - count, (0, 0, 0)), (count, (1, 1, 0))]), (0.95, 0.51));
            evidence.sets.insert(GOLDEN, BTreeMap::from([("sentiment".to_owned(), golden)]));
            decide(&evidence, &GateSettings { golden_changed_max: share, ..GateSettings::default() })
        };
        assert!(changed(1, 0.0).passed && changed(3, 0.3).passed);
        let refused = changed(2, 0.1);
        let reasons = refused.reasons();
        assert!(!refused.passed && reasons.len() == 1, "{reasons:?}");
        assert!(reasons[0].starts_with("golden inputs with the same sentiment: 0.8182 against 1.0000"), "{reasons:?}");
    }

    #[test]
    fn one_row_is_never_too_much_and_no_rows_are_no_gain() {
        let mut evidence = better();
        let pair = pair(&rows(&[(15, (0, 0, 0)), (14, (1, 1, 1)), (1, (1, 1, 0))]), (0.9, 0.9));
        evidence.sets.get_mut("regression").unwrap().insert("sentiment".to_owned(), pair);
        assert!(decide(&evidence, &GateSettings::default()).passed);
        let none = gain("sentiment", "accuracy", &[], 0.05);
        assert_eq!((none.rows, none.difference, none.at_least), (0, 0.0, 0.0));
        assert!(!decide(&Evidence::default(), &GateSettings::default()).passed, "nothing was shown");
    }
}
