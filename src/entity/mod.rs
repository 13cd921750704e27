//! Which instruments a text is about.
//!
//! [`Instruments`] is the checked file, [`Linker`] finds them in texts: cashtags, `(NASDAQ: X)`, the post's own
//! symbols, tickers, and names and aliases by one Aho-Corasick pass. There is no disambiguation: a ticker that is also
//! a word counts only as a cashtag or set off with its exchange, one at an exchange that we do not know not at all, a name that is also a word only with a company form; where a text has capitals and small
//! letters, a name wants its capitals.

mod instruments;
mod linker;
mod scan;

pub use instruments::{Instrument, InstrumentProblem, Instruments};
pub use linker::{Linked, Linker, SUBJECTS_MAX};
