//! The model's tokeniser: cleaned text to token ids, cut to the model's longest input.

use std::path::PathBuf;

use tokenizers::{Tokenizer, TruncationParams};

use crate::model::{Encoded, ScoreFailure, text_hash};
use crate::onnx::BundleError;

/// A tokeniser that cuts and never pads: padding is the batch's business.
#[derive(Debug)]
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    padding: u32,
}

impl Tokens {
    /// From the bytes of `tokenizer.json`; `path` is for the error alone.
    pub(super) fn new(json: &[u8], tokens_max: usize, path: PathBuf) -> Result<Self, BundleError> {
        let unusable =
            |error: tokenizers::Error| BundleError::Unusable { path: path.clone(), reason: error.to_string() };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(unusable)?;
        let cut = TruncationParams { max_length: tokens_max, ..TruncationParams::default() };
        tokenizer.with_padding(None).with_truncation(Some(cut)).map_err(unusable)?;
        let padding = tokenizer.token_to_id("[PAD]").unwrap_or(0);
        Ok(Self { tokenizer, padding })
    }

    pub(super) fn encode(&self, cleaned: &str) -> Result<Encoded, ScoreFailure> {
        let encoding = self.tokenizer.encode_fast(cleaned, true);
        let encoding = encoding.map_err(|error| ScoreFailure::Encode(error.to_string()))?;
        Ok(Encoded { ids: encoding.get_ids().into(), hash: text_hash(cleaned) })
    }

    /// The id that stands for what is not in the vocabulary.
    pub(super) fn unknown(&self) -> Option<u32> {
        ["[UNK]", "<unk>"].iter().find_map(|name| self.tokenizer.token_to_id(name))
    }

    /// The id that fills a row up to the batch's longest.
    pub(super) fn padding(&self) -> u32 {
        self.padding
    }
}
