//! `bellwether bench`.

use crate::cli::Failure;
use crate::cli::args::{Global, Bench};

/// Runs the command.
///
/// # Errors
/// Always: it is not wired yet.
pub fn run(_arguments: &Bench, _global: &Global) -> Result<(), Failure> {
    Err(Failure::internal("not wired yet"))
}
