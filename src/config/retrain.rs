//! The section `[retrain]`.

use super::reader::Section;
use crate::retrain::{GateSettings, RetrainSettings};

/// Reads `[retrain]`.
pub(super) fn read(mut section: Section<'_>) -> RetrainSettings {
    let is = RetrainSettings::default();
    let directory = section.or("directory", "retrain".to_owned());
    let trainer: Option<String> = section.optional("trainer");
    let settings = RetrainSettings {
        directory: section.path("directory", &directory),
        trainer: trainer.map(|trainer| section.path("trainer", &trainer)),
        labels_min: section.within("labels_min", is.labels_min, 10..=10_000_000),
        validation_share: section.within("validation_share", is.validation_share, 0.05..=0.5),
        test_share: section.within("test_share", is.test_share, 0.05..=0.5),
        unlabelled_max: section.within("unlabelled_max", is.unlabelled_max, 0..=1_000_000),
        epochs: section.within("epochs", is.epochs, 1..=100),
        patience: section.within("patience", is.patience, 1..=100),
        method: section.or("method", is.method),
        rank: section.within("rank", is.rank, 1..=384),
        method_learning_rate: section.within("method_learning_rate", is.method_learning_rate, 0.0..=1.0),
        learning_rate: section.within("learning_rate", is.learning_rate, 0.0..=1.0),
        head_learning_rate: section.within("head_learning_rate", is.head_learning_rate, 0.0..=1.0),
        gate: gate(&mut section, &is.gate),
    };
    section.finish();
    settings
}

fn gate(section: &mut Section<'_>, is: &GateSettings) -> GateSettings {
    GateSettings {
        accuracy_drop_max: section.within("accuracy_drop_max", is.accuracy_drop_max, 0.0..=1.0),
        macro_f1_drop_max: section.within("macro_f1_drop_max", is.macro_f1_drop_max, 0.0..=1.0),
        calibration_rise_max: section.within("calibration_rise_max", is.calibration_rise_max, 0.0..=1.0),
        golden_changed_max: section.within("golden_changed_max", is.golden_changed_max, 0.0..=1.0),
        log_loss_rise_max: section.within("log_loss_rise_max", is.log_loss_rise_max, 0.0..=10.0),
        latency_ratio_max: section.within("latency_ratio_max", is.latency_ratio_max, 0.5..=100.0),
        size_ratio_max: section.within("size_ratio_max", is.size_ratio_max, 0.5..=100.0),
        confidence: section.within("confidence", is.confidence, 0.5..=0.999),
    }
}
