//! `bellwether evaluate`.

use crate::cli::Failure;
use crate::cli::args::{Evaluate, Global};

/// Runs the command.
///
/// # Errors
/// Always: it is not wired yet.
pub fn run(_arguments: &Evaluate, _global: &Global) -> Result<(), Failure> {
    Err(Failure::internal("not wired yet"))
}
