//! Assembly: three stages, one log between them, one runtime.
//!
//! Each stage is a *core* ([`Stage`]: a synchronous state machine that decides everything and waits for nothing) and
//! something that drives it: a [`Shell`] with threads on Kafka ([`run`]), or one step after the other on the
//! in-process log with simulated time ([`Play`]).
//!
//! ```text
//!            ┌───────────────────────── core (loop thread) ─────────────────────────┐
//!  source ─4─► intake ─► pool ─2─► prepare ─1─► infer ─3─► ledger ─► epoch ─1─► commit   (score)
//!  source ─4─► intake ─► fold into the partition's state ──► ledger ─► epoch ─1─► commit (signal)
//!  source ─4─► intake ─► ledger ─► segment ─2─► write ───────────3─► epoch ─1─► commit   (archive)
//! ```
//! Numbers are the capacities of the queues, in batches: [`shell::FEED_QUEUE`] events of the source (each at most what
//! a source hands over at once), [`stage::WORK_MAX`] jobs, one commit. The pool holds at most two pools' worth of posts
//! and a feed queue more, then the source is paused. While one epoch is being committed and another is full, nothing more
//! is handed out or taken. A queue that is full makes the one before it wait; nothing grows. [`footprint`] adds it up.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `score/core`, `signal/core`, `archive/core` | what a stage does next |
//! | `limit` | how many dead letters are too many |
//! | `flow` | intake, epochs, revokes, resets and the end, for all three |
//! | `shell`, `station` | nothing: they carry effects out, with threads or without |
//! | `assemble` | which parts there are |
//! | `run`, `play` | how long it goes on |
//! | `footprint` | nothing: it adds up what memory all of it may take |
//! | `letters` | which dead letters can be read now, and what a replay sends |
//! | `launch` | what a stage on Kafka is made of |
//! | `reload` | whether the model that is to answer may |
//! | `watch` | that a topic which is gone, or has grown and must not, ends the run |
//! | `witness` | nothing: it tells metrics, page and tape what was committed |

pub mod archive;
mod assemble;
mod awaited;
#[cfg(test)]
mod dice;
mod flow;
#[cfg(test)]
mod flow_tests;
pub mod footprint;
mod launch;
pub mod letters;
mod limit;
#[cfg(test)]
mod overload_tests;
mod play;
mod reload;
mod run;
pub mod score;
mod settings;
mod settling;
pub mod shell;
#[cfg(test)]
mod shell_tests;
pub mod signal;
#[cfg(test)]
mod simulation;
pub mod stage;
mod station;
mod watch;
mod witness;

pub use assemble::{AssembleError, Assembly, Counts, read_instruments};
pub use limit::DeadLetterLimit;
pub use play::{Play, PlayError, PlayRecord};
pub use run::{RunError, RunOptions, StageName, prepare_topics, run, topic_plans};
pub use settings::{Settings, Topics};
pub use shell::Shell;
pub use stage::Stage;
pub use witness::{TapeEvent, Witness};
