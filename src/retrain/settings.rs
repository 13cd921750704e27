//! How a model is retrained, and what is asked of a candidate.

use std::path::PathBuf;

use serde::Serialize;

/// Test rows of a task without which no gain counts: of fewer, a bootstrap takes luck for certainty.
pub(super) const GAIN_ROWS_MIN: usize = 30;

/// What of the model learns, and the heads in any case. The trainer knows more methods; these leave weights that can be
/// exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// All of it.
    Full,
    /// Matrices of a low rank beside every linear layer (Hu and others, 2021), added up at the end.
    Lora,
    /// The same, the ranks allotted while it learns (Zhang and others, 2023).
    AdaLora,
}

impl Method {
    /// As the trainer and the pipeline file call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lora => "lora",
            Self::AdaLora => "adalora",
        }
    }
}

/// How and with what is retrained.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrainSettings {
    /// Where runs lie.
    pub directory: PathBuf,
    /// The trainer's folder, with its environment in `.venv`; empty: the one that is shipped.
    pub trainer: Option<PathBuf>,
    /// Labelled posts without which nothing is begun; see [`RetrainSettings::labels_wanted`].
    pub labels_min: usize,
    /// Share of the rows to choose by.
    pub validation_share: f64,
    /// Share of the rows, the newest, to judge by.
    pub test_share: f64,
    /// Samples without a label from which the champion's answers are learnt as well.
    pub unlabelled_max: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs without a better loss on the validation rows after which it stops.
    pub patience: usize,
    /// What learns.
    pub method: Method,
    /// The rank of what LoRA adds; of AdaLoRA on average, in the end.
    pub rank: usize,
    /// How fast that learns which a method other than full adds.
    pub method_learning_rate: f64,
    /// How fast the encoder's last layer learns, and the heads.
    pub learning_rate: f64,
    /// Likewise.
    pub head_learning_rate: f64,
    /// The bounds.
    pub gate: GateSettings,
}

impl RetrainSettings {
    /// Labelled posts without which nothing is begun: `labels_min`, or more where of so few the test rows could not show
    /// that a candidate is better.
    #[must_use]
    pub fn labels_wanted(&self) -> usize {
        self.labels_min.max((GAIN_ROWS_MIN as f64 / self.test_share).ceil() as usize)
    }
}

impl Default for RetrainSettings {
    fn default() -> Self {
        Self {
            directory: PathBuf::new(),
            trainer: None,
            labels_min: 200,
            validation_share: 0.15,
            test_share: 0.2,
            unlabelled_max: 4_000,
            epochs: 6,
            patience: 2,
            method: Method::Full,
            rank: 8,
            method_learning_rate: 1e-3,
            learning_rate: 5e-5,
            head_learning_rate: 1e-3,
            gate: GateSettings::default(),
        }
    }
}

/// The bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateSettings {
    /// How much accuracy a task may lose on any set, 0 to 1; one row is never too much.
    pub accuracy_drop_max: f64,
    /// Likewise, of macro F1.
    pub macro_f1_drop_max: f64,
    /// How much the expected calibration error may rise.
    pub calibration_rise_max: f64,
    /// How much the logarithmic loss may rise, nats.
    pub log_loss_rise_max: f64,
    /// Share of the champion's golden inputs to which a task's answer may change; one input is never too much.
    pub golden_changed_max: f64,
    /// Seconds a text, as a multiple of the champion's.
    pub latency_ratio_max: f64,
    /// Bytes of the graph, as a multiple of the champion's.
    pub size_ratio_max: f64,
    /// How sure it must be that the gain is no chance, 0.5 to 1.
    pub confidence: f64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            accuracy_drop_max: 0.01,
            macro_f1_drop_max: 0.03,
            calibration_rise_max: 0.04,
            log_loss_rise_max: 0.1,
            golden_changed_max: 0.1,
            latency_ratio_max: 1.25,
            size_ratio_max: 1.1,
            confidence: 0.95,
        }
    }
}
