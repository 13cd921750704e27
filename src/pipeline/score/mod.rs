//! The score stage: posts in, scored posts, mentions and dead letters out.
//!
//! ```text
//!  source ─4─► core ─(pool)─► prepare ─1─► infer ─► core ─1─► commit
//!  (polls)     decides        decode, clean,  a pool     ledger    one transaction
//!                             link, tokenise  at a time            an interval
//! ```
//! `core` decides, `prepare` and `finish` are the work, `outputs` says what one post becomes on the log.

mod core;
mod finish;
mod outputs;
mod prepare;

pub use self::core::{ScoreCore, ScoreSettings, Ticker};
pub use finish::{ScoreNote, ScoredNote, finish};
pub use outputs::Routes;
pub use prepare::{Draft, Prepared, Preparer, read_post};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod limit_tests;
