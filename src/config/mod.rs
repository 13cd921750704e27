//! A pipeline file becomes checked settings.
//!
//! One strict TOML file a pipeline; the environment is laid over it (`BELLWETHER__SECTION__KEY`), then everything is
//! checked and **all** problems are reported at once, each with its place and a remedy, before anything is bound or
//! connected. This room reads files and the environment; the types that it fills live in the rooms that they configure.
//! It connects to nothing.

mod archive;
mod case;
mod environment;
mod instruments;
mod kafka;
mod load;
mod model;
mod problem;
mod reader;
mod retrain;
mod rule;
mod setting;
mod source;
mod tree;
mod trial;
mod units;

pub use case::{CaseAlert, CasePost, TestCase};
pub use environment::{REPORTING, environment, is_reporting_decided, ort_dylib_path, user};
pub use load::{Loaded, load, load_text};
pub use problem::{Place, Problem};
pub use units::parse_duration;

/// What topics, groups and transactional ids may be called: letters, digits, `.`, `_` and `-`.
fn is_kafka_name(name: &str, length_max: usize) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= length_max && name.bytes().all(legal) && name != "." && name != ".."
}
