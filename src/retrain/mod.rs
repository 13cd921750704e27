//! From archived samples to a better model.
//!
//! [`make_dataset`] joins samples with the labels that people gave, [`evaluate`] asks a model about such rows and says how
//! often it agrees. [`Registry`] names the version that answers and remembers who named it and why. Training itself is
//! the trainer's (`trainer/`, Python).

mod compare;
mod cycle;
mod dataset;
mod evaluate;
mod exchange;
mod gate;
mod judge;
mod measure;
mod passed;
mod pictures;
mod reference;
mod registry;
mod row;
mod run;
mod settings;
mod taken_back;
mod verdict;
mod worth;

pub use cycle::{Ending, Progress, RetrainError, Retraining, retrain};
pub use dataset::{
    Agreement, Classes, Cut, DatasetError, DatasetPlan, DatasetReport, LABELLED_MAX, LabelCounts, Labels, Side,
    SplitReport, Vote, cut, make_dataset,
};
pub use evaluate::{Answered, EvaluateError, Report, evaluate, evaluate_each};
pub use exchange::{Answer, Tool, from_tool, label_studio_config, to_tool};
pub use gate::{Check, Decision, Evidence, Gain, Pair, decide};
pub use measure::{Class, Confusion, TaskReport};
pub use passed::{Passed, gate_of};
pub use reference::{Judging, reference};
pub use registry::{Action, Change, Registry, RegistryError, Version, Warrant};
pub use row::{LabelledRow, Line};
pub use settings::{GateSettings, Method, RetrainSettings};
pub use worth::{Candidate, worth_a_label};
