//! How an index is made.

use std::time::Duration;

/// The index of a subject and what is remembered for it.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexSettings {
    /// How far back the `index` topic looks.
    pub horizon: Duration,
    /// Age at which a mention weighs half.
    pub half_life: Duration,
    /// How long a telling is remembered, so that copies of it are told apart.
    pub novelty_window: Duration,
    /// From which share of equal sketch parts (0 to 1) two texts count as near-copies.
    pub near_copy: f32,
    /// Mentions kept a subject; the lowest offsets leave first.
    pub mentions_max: usize,
    /// Mentions of [`MENTION_BYTES`](crate::window::MENTION_BYTES) kept a partition, all subjects together; the lowest offsets
    /// leave first. One with long names and links counts as several.
    pub partition_mentions_max: usize,
    /// Subjects kept a partition; the longest silent leave first.
    pub subjects_max: usize,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self {
            horizon: Duration::from_secs(3_600),
            half_life: Duration::from_secs(1_800),
            novelty_window: Duration::from_secs(86_400),
            near_copy: 0.6,
            mentions_max: 10_000,
            partition_mentions_max: 250_000,
            subjects_max: 20_000,
        }
    }
}
