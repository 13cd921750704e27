//! Which model answers, where, and in what batches.

use std::path::PathBuf;
use std::time::Duration;

/// Where the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// CUDA when it can be had, else the CPU; the log and a metric say which.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// That CUDA device or an error.
    Cuda(u32),
}

/// The model and its batches.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSettings {
    /// The folder that holds `<name>/<version>` and `<name>/champion`.
    pub directory: PathBuf,
    /// The model's name.
    pub name: String,
    /// A version, instead of the champion.
    pub version: Option<String>,
    /// Where it runs.
    pub device: Device,
    /// Sessions side by side (lanes); 0: one a core on the CPU, one on CUDA.
    pub sessions: usize,
    /// Threads a session; 0: 1 on the CPU.
    pub threads: usize,
    /// Bytes of a GPU's memory that the arena of a session may take, for weights and activations.
    pub cuda_memory_max: usize,
    /// Padded tokens in one batch of the model.
    pub batch_tokens_max: usize,
    /// Rows in one batch of the model.
    pub batch_rows_max: usize,
    /// Posts that are sorted and scored together.
    pub pool_posts_max: usize,
    /// Bytes of the records in a pool; a larger record is a pool of its own.
    pub pool_bytes_max: usize,
    /// How long a post may wait for its pool to fill.
    pub pool_wait_max: Duration,
    /// Texts in the cache of recently scored ones; 0: no cache.
    pub cache_texts: usize,
    /// The share of archived posts that a challenger answers too, 0 to 1.
    pub challenger_share: f64,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("models"),
            name: "finance-en".to_owned(),
            version: None,
            device: Device::Auto,
            sessions: 0,
            threads: 0,
            cuda_memory_max: 2 << 30,
            batch_tokens_max: 512,
            batch_rows_max: 64,
            pool_posts_max: 1_024,
            pool_bytes_max: 4 << 20,
            pool_wait_max: Duration::from_millis(20),
            cache_texts: 20_000,
            challenger_share: 0.1,
        }
    }
}
