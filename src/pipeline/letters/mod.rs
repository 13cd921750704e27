//! Dead letters looked at again: which are meant, what would become of each under the present file, and the replay.
//!
//! A replay sends a record to the topic and partition that it came from, and in the same transaction a mark to the
//! dead-letter topic, so that no later replay sends it again. It is right whatever ends it: the transactional id is
//! taken first (what an earlier replay left open ends, and whoever still runs is fenced), then the marks are read, then
//! letters are sent. `filter` and `outlook` decide, `marks` remembers, `replay` sends.

mod filter;
mod marks;
mod outlook;
mod replay;

pub use filter::LetterFilter;
pub use marks::TooManyMarks;
pub use outlook::{Desk, Outlook};
pub use replay::{ReplayError, Replayer, replay};

#[cfg(test)]
mod tests;
