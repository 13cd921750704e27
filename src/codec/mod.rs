//! Bytes to events and back: where a bad record becomes a dead letter.
//!
//! Inward, [`decode_post`] reads the posts of the world by a mapping, the other `decode_…` our own records. Outward, an
//! [`Envelope`] gives each event its key, its JSON and its headers. What is wrong with a record is said once, here, with
//! the field's name; whether one bad record matters is for `pipeline` to decide.

#![expect(clippy::result_large_err, reason = "a dead letter holds its record whole, and is rare")]

mod envelope;
mod field;
mod instant;
mod letter;
mod own;
mod post;
mod settings;
mod trace;

pub use envelope::{Envelope, Payload};
pub use instant::instant;
pub use letter::{Cut, Letter, LetterRecord, read_letter};
pub use own::{decode_alert, decode_label, decode_mention, decode_scored};
pub use post::{Fault, NAMES_BYTES_MAX, SYMBOLS_MAX, TEXT_BYTES_MAX, decode_post, post_from_line};
pub use settings::{FieldMap, Pointers, SourceSettings};
