//! Logits to a calibrated answer: softmax at the task's temperature, abstention below its threshold.

use std::sync::Arc;

use crate::event::{Abstention, Answer, Verdict};
use crate::model::{ScoreFailure, Task};

/// How one task's logits become an [`Answer`]. The labels are shared by all answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    task: Arc<str>,
    labels: Vec<Arc<str>>,
    temperature: f32,
    abstain_below: f32,
}

impl Calibration {
    /// For a task with these labels, in the order of the model's output. Logits are divided by `temperature` before the
    /// softmax (Guo et al. 2017, "On Calibration of Modern Neural Networks"); an answer whose best probability is below
    /// `abstain_below` is an abstention.
    #[must_use]
    pub fn new<S: AsRef<str>>(task: &str, labels: &[S], temperature: f32, abstain_below: f32) -> Self {
        let labels = labels.iter().map(|label| Arc::from(label.as_ref())).collect();
        Self { task: Arc::from(task), labels, temperature, abstain_below }
    }

    /// The task's labels in the model's order.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// The answer for one row of logits.
    ///
    /// # Errors
    /// [`ScoreFailure::NotFinite`] when a logit is not a number or infinite, or when there are not as many as labels.
    pub fn answer(&self, logits: &[f32]) -> Result<Answer, ScoreFailure> {
        if logits.len() != self.labels.len() || logits.iter().any(|logit| !logit.is_finite()) {
            return Err(ScoreFailure::NotFinite(self.task.to_string()));
        }
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // The highest logit becomes exp(0) = 1, so nothing overflows and the sum is at least 1.
        let weights: Vec<f32> = logits.iter().map(|logit| ((logit - highest) / self.temperature).exp()).collect();
        let sum: f32 = weights.iter().sum();
        let distribution = self.labels.iter().map(Arc::clone).zip(weights.iter().map(|weight| weight / sum)).collect();
        let mut answer = Answer { distribution, abstention: None };
        if answer.confidence() < self.abstain_below {
            answer.abstention = Some(Abstention::LowConfidence);
        }
        Ok(answer)
    }
}

/// How a model's heads become a [`Verdict`].
#[derive(Debug, Clone, PartialEq)]
pub struct Readout {
    sentiment: Option<(usize, Calibration)>,
    topic: Option<(usize, Calibration)>,
}

impl Readout {
    /// For a model whose heads are these tasks, in this order.
    #[must_use]
    pub fn new(tasks: &[Task]) -> Self {
        let head = |name: &str| {
            let (place, task) = tasks.iter().enumerate().find(|(_, task)| task.name == name)?;
            Some((place, Calibration::new(name, &task.labels, task.temperature, task.abstain_below)))
        };
        Self { sentiment: head("sentiment"), topic: head("topic") }
    }

    /// The verdict of row `row`, when `heads` holds each head's logits of all rows, row after row. A task that the model
    /// does not have is [`Abstention::NotAnswered`].
    ///
    /// # Errors
    /// [`ScoreFailure::NotFinite`] as [`Calibration::answer`].
    pub fn verdict(&self, heads: &[Vec<f32>], row: usize) -> Result<Verdict, ScoreFailure> {
        let answer = |head: &Option<(usize, Calibration)>| match head {
            None => Ok(Answer::unasked(Abstention::NotAnswered)),
            Some((place, calibration)) => {
                let width = calibration.labels.len();
                let logits = heads.get(*place).and_then(|all| all.get(row * width..(row + 1) * width));
                calibration.answer(logits.unwrap_or_default())
            }
        };
        Ok(Verdict { sentiment: answer(&self.sentiment)?, topic: answer(&self.topic)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const LABELS: [&str; 3] = ["negative", "neutral", "positive"];

    #[test]
    fn a_hand_computed_softmax() {
        // exp(0) : exp(ln 2) : exp(ln 5) = 1 : 2 : 5
        let answer = Calibration::new("sentiment", &LABELS, 1.0, 0.0).answer(&[0.0, 2f32.ln(), 5f32.ln()]).unwrap();
        for (label, expected) in LABELS.iter().zip([0.125, 0.25, 0.625]) {
            assert!((answer.probability(label) - expected).abs() < 1e-6);
        }
        assert_eq!(answer.label().map(AsRef::as_ref), Some("positive"));
    }

    #[test]
    fn a_temperature_of_two_takes_the_square_root_of_the_odds() {
        let answer = Calibration::new("t", &["a", "b"], 2.0, 0.0).answer(&[9f32.ln(), 0.0]).unwrap();
        assert!((answer.probability("a") - 0.75).abs() < 1e-6);
    }

    #[test]
    fn below_the_threshold_it_abstains_and_keeps_the_distribution() {
        let answer = Calibration::new("sentiment", &LABELS, 1.0, 0.5).answer(&[0.1, 0.0, 0.0]).unwrap();
        assert_eq!(answer.abstention, Some(Abstention::LowConfidence));
        assert_eq!(answer.best().map(|(label, _)| label.to_string()), Some("negative".to_owned()));
    }

    #[test]
    fn logits_that_are_no_numbers_or_too_few_are_a_failure() {
        let calibration = Calibration::new("sentiment", &LABELS, 1.0, 0.5);
        assert_eq!(calibration.answer(&[f32::NAN, 0.0, 0.0]), Err(ScoreFailure::NotFinite("sentiment".to_owned())));
        assert!(calibration.answer(&[0.0, f32::INFINITY, 0.0]).is_err());
        assert!(calibration.answer(&[0.0, 0.0]).is_err());
    }

    #[test]
    fn a_task_that_the_model_lacks_is_not_answered() {
        let task = Task {
            name: "sentiment".to_owned(),
            output: "sentiment_logits".to_owned(),
            labels: LABELS.map(str::to_owned).to_vec(),
            temperature: 1.0,
            abstain_below: 0.0,
            aliases: std::collections::BTreeMap::new(),
        };
        let verdict = Readout::new(&[task]).verdict(&[vec![9.0, 0.0, 0.0, 0.0, 0.0, 9.0]], 1).unwrap();
        assert_eq!(verdict.sentiment.label().map(AsRef::as_ref), Some("positive"));
        assert_eq!(verdict.topic, Answer::unasked(Abstention::NotAnswered));
    }

    proptest! {
        #[test]
        fn probabilities_sum_to_one(logits in prop::collection::vec(-80f32..80.0, 3), temperature in 0.05f32..10.0) {
            let answer = Calibration::new("sentiment", &LABELS, temperature, 0.0).answer(&logits).unwrap();
            let sum: f32 = answer.distribution.iter().map(|(_, p)| p).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5);
            prop_assert!(answer.distribution.iter().all(|(_, p)| (0.0..=1.0).contains(p)));
        }
    }
}
