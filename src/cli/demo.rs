//! `bellwether demo`: `play` of the shipped demo, an hour of posts in about a minute.

use crate::cli::args::{Demo, Global};
use crate::cli::model::shipped;
use crate::cli::play::{PlayRequest, Speed, play};
use crate::cli::{Failure, load};

/// An hour of posts in a minute.
const SPEED: Speed = Speed::Times(60);

/// Runs the command.
///
/// # Errors
/// As `play`; with 69 where the demo's files are not found.
pub(crate) fn run(arguments: &Demo, global: &Global) -> Result<(), Failure> {
    let find = |path: &str| {
        shipped(path).ok_or_else(|| {
            Failure::unavailable(
                format!("there is no file {path} here"),
                "run the demo in the folder of the repository",
            )
        })
    };
    let settings = load(&find("pipelines/demo.toml")?, global)?.settings;
    let input = find("pipelines/demo/posts.jsonl")?;
    let speed = arguments.speed.unwrap_or(SPEED);
    let request = PlayRequest { input, speed, exit: arguments.exit, json: arguments.json };
    play(settings, &request).map_err(Failure::of)
}
