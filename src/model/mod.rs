//! What a model is to the rest of the house: the [`Scorer`] port, and everything about models that is pure.
//!
//! Packing by length ([`pack`]), the checked [`Manifest`] of a model directory, logits to calibrated [`Calibration`]
//! answers, the [`Slot`] that a reload swaps, and a [`StubScorer`] for tests and dry runs. What a model really computes
//! is in `onnx`, the one real implementation of the port; nothing here knows files, threads or ONNX Runtime.

mod calibrate;
mod drift;
mod explain;
mod manifest;
mod packing;
mod question;
mod settings;
mod slot;
mod splitting;
mod stub;

use std::sync::Arc;

use crate::event::{ModelId, Verdict};

pub use calibrate::{Calibration, Readout};
pub use drift::{Drift, Findings, Graded, Judged, Profile, Reference, Said, Seen};
pub use explain::{Explanation, WordShare, explain};
pub use manifest::{Golden, GoldenOutput, Manifest, ManifestError, Task, Variant, objection};
pub use packing::{PackLimits, pack};
pub use question::question;
pub use settings::{Device, ModelSettings};
pub use slot::Slot;
pub use splitting::divide;
pub use stub::StubScorer;

/// Answers texts. Cheap to share; one call of [`Scorer::score`] uses all the cores it was given.
pub trait Scorer: Send + Sync {
    /// Which model, version and variant answers.
    fn id(&self) -> &ModelId;

    /// Where it runs, `cpu` or `cuda:0`.
    fn device(&self) -> &str;

    /// The languages it knows, as its manifest says them (ISO 639-1, such as `en`); empty: any.
    fn languages(&self) -> &[String];

    /// Tokenises a cleaned text and cuts it to the model's longest input. Does not ask the model.
    ///
    /// # Errors
    /// [`ScoreFailure::Encode`] when the tokeniser refuses the text.
    fn encode(&self, cleaned: &str) -> Result<Encoded, ScoreFailure>;

    /// Answers a pool: one result a text, in the order given, equal texts equally. The more texts, the better they are
    /// sorted by length and the fewer tokens are padding. A text that fails does not fail its neighbours.
    fn score(&self, pool: &[Encoded]) -> Vec<Result<Verdict, ScoreFailure>>;

    /// What was done since the last call.
    fn take_stats(&self) -> ScoreStats;

    /// What it was judged on, where that is known.
    fn reference(&self) -> Option<Arc<Reference>> {
        None
    }

    /// The token for what its tokeniser does not know, where it has one.
    fn unknown_token(&self) -> Option<u32> {
        None
    }
}

/// A tokenised text. Only the scorer that made it can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids, special ones included, without padding.
    pub ids: Box<[u32]>,
    /// [`text_hash`] of the cleaned text.
    pub hash: u64,
}

/// A stable hash of a cleaned text (XXH3, 64 bits): the same in every process and version.
#[must_use]
pub fn text_hash(cleaned: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(cleaned.as_bytes())
}

/// Why a text has no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScoreFailure {
    /// The tokeniser refused it.
    #[error("the text could not be tokenised: {0}")]
    Encode(String),
    /// The model failed on it, alone in its batch.
    #[error("the model failed on this text: {0}")]
    Inference(String),
    /// The model's output is not a number.
    #[error("the model's output `{0}` is not finite for this text")]
    NotFinite(String),
    /// The model fails on texts that it is known to answer: the device or the session is at fault and not the text.
    #[error("the model no longer answers: {0}; restart")]
    Broken(String),
}

impl ScoreFailure {
    /// Whether the text is at fault and becomes a dead letter; else the model is, and the stage must stop.
    #[must_use]
    pub const fn is_of_text(&self) -> bool {
        match self {
            Self::Encode(_) | Self::Inference(_) | Self::NotFinite(_) => true,
            Self::Broken(_) => false,
        }
    }
}

/// What a scorer did between two calls of [`Scorer::take_stats`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScoreStats {
    /// The batches that were run, the first [`ScoreStats::BATCHES_MAX`] of them.
    pub batches: Vec<BatchStats>,
    /// Texts answered from the cache, or together with an equal text of the same pool.
    pub cache_hits: u64,
    /// Texts that the model had to answer.
    pub cache_misses: u64,
}

impl ScoreStats {
    /// Batches kept at most; a scorer whose stats nobody takes forgets what comes after.
    pub const BATCHES_MAX: usize = 8_192;

    /// Notes a batch, unless the bound is reached.
    pub fn note(&mut self, batch: BatchStats) {
        if self.batches.len() < Self::BATCHES_MAX {
            self.batches.push(batch);
        }
    }
}

/// One batch of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchStats {
    /// Texts in it.
    pub rows: usize,
    /// Tokens of its texts.
    pub text_tokens: usize,
    /// Tokens given to the model: rows times the longest row, padding included.
    pub padded_tokens: usize,
    /// How long the model took.
    pub seconds: f64,
}
