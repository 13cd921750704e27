//! From a text to what it is about: instruments, with how much the text is about each.
//!
//! [`Instruments`] are read from a CSV file and checked whole; a [`Linker`] finds them in texts by cashtag, exchange and
//! ticker, the post's own symbols, and name. No disambiguation yet: a ticker that is a common word counts only as a
//! cashtag, a name that is one only with its company form. Topics and `market` are added by `pipeline`.

mod instruments;
mod linker;
mod names;
mod tickers;

pub use instruments::{Instrument, InstrumentProblem, Instruments};
pub use linker::{Linked, Linker, SUBJECTS_MAX};
