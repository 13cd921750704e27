//! The in-process log: topics, groups, transactions and a source, without a broker.
//!
//! `play` and `demo` run the real stages on it with simulated time; tests script faults into it. It keeps what Kafka
//! does and a naive fake would not: transaction markers own offsets, a member that the group has left behind is
//! fenced, so is a producer whose id another took, aborted outputs are never seen, an open transaction holds readers back,
//! and an unknown outcome may or may not have happened.

mod contents;
mod log;
mod source;
mod transaction;

pub use log::Log;
pub use source::{ReadBack, Source};
pub use transaction::{Call, Script, Scripted, Transactions};

#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
