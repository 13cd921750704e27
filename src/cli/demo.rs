//! `bellwether demo`.

use crate::cli::Failure;
use crate::cli::args::{Global, Demo};

/// Runs the command.
///
/// # Errors
/// Always: it is not wired yet.
pub fn run(_arguments: &Demo, _global: &Global) -> Result<(), Failure> {
    Err(Failure::internal("not wired yet"))
}
