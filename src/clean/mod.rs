//! Text as the model sees it: cleaned, its language named, its sketch drawn.
//!
//! One cleaner serves training and serving alike, so what a model learnt on is what it is asked about. Everything here
//! is a pure function of a text and takes time linear in it. What a text is about is decided in `entity`, how it leans
//! in `model`.

mod excerpt;
mod language;
mod markup;
mod scrub;
mod sketch;

pub use excerpt::{EXCERPT_CHARS_MAX, excerpt};
pub use language::{foreign, language};
pub use scrub::{INPUT_BYTES_MAX, TEXT_CHARS_MAX, clean};
pub use sketch::{likeness, sketch};

/// The longest start of `text` that has at most `bytes_max` bytes and ends between two characters.
#[must_use]
pub fn head(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
