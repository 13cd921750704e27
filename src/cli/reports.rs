//! Official builds of ONNX Runtime report to their maker: since 1.32 on Linux and macOS too, from the moment they are
//! loaded and whatever the program that loads them asks for. Only the variable `ORT_DISABLE_TELEMETRY` keeps them from it,
//! set before anything is loaded (microsoft/onnxruntime#27379).

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::cli::Exit;
use crate::config;

/// Begins this process anew with that variable, unless it is set, to whatever somebody wants. A process that has begun can
/// set none for itself: other threads may be reading them. Returns only if there is nothing to do, or an exit code.
pub(super) fn keep_silent() -> Option<Exit> {
    if config::is_reporting_decided() {
        return None;
    }
    let mut arguments = std::env::args_os();
    let begun = std::env::current_exe().map(Command::new).map(|mut command| {
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments).env(config::REPORTING, "1").exec()
    });
    let (Ok(error) | Err(error)) = begun;
    let remedy = "set ORT_DISABLE_TELEMETRY=1 yourself, or ONNX Runtime would report to its maker";
    drop(writeln!(io::stderr().lock(), "this process cannot be begun anew: {error}\n{remedy}"));
    Some(Exit::Internal)
}
