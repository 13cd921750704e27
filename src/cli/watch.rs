//! `bellwether watch`.

use crate::cli::Failure;
use crate::cli::args::{Global, Watch};

/// Runs the command.
///
/// # Errors
/// Always: it is not wired yet.
pub fn run(_arguments: &Watch, _global: &Global) -> Result<(), Failure> {
    Err(Failure::internal("not wired yet"))
}
