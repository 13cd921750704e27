//! What a state gives, and that a state which is rebuilt from the log goes on as the lost one would have.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod ahead;
mod life;
mod log;
mod restart;
