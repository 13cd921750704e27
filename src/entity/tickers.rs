//! Tickers in a text: cashtags, exchange and ticker, and bare tickers in capitals.

use std::borrow::Cow;
use std::collections::HashMap;

use super::instruments::Instrument;

/// Bare tickers have at least this many letters; shorter ones are words, initials and units.
const BARE_LETTERS_MIN: usize = 3;

/// The longest ticker that is looked up, in bytes.
const TICKER_BYTES_MAX: usize = 16;

/// How texts call the markets of the world, and their codes (ISO 10383).
const EXCHANGES: [(&str, &str); 18] = [
    ("AMEX", "XASE"),
    ("ASX", "XASX"),
    ("BATS", "BATS"),
    ("BSE", "XBOM"),
    ("CBOE", "BATS"),
    ("EPA", "XPAR"),
    ("ETR", "XETR"),
    ("HKEX", "XHKG"),
    ("HKG", "XHKG"),
    ("LON", "XLON"),
    ("LSE", "XLON"),
    ("NASDAQ", "XNAS"),
    ("NSE", "XNSE"),
    ("NYSE", "XNYS"),
    ("NYSEARCA", "ARCX"),
    ("NYSEMKT", "XASE"),
    ("TSE", "XTKS"),
    ("TSX", "XTSE"),
];

/// Between these a listing may have moved, and posts mix them up.
const UNITED_STATES: [&str; 5] = ["ARCX", "BATS", "XASE", "XNAS", "XNYS"];

/// Which instrument a ticker means.
#[derive(Debug, Default)]
pub(super) struct Tickers {
    /// By ticker, the first of the file where markets share one.
    by_ticker: HashMap<String, Known>,
    /// By `MIC:TICKER`.
    by_id: HashMap<String, usize>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    instrument: usize,
    common_word: bool,
    in_us: bool,
}

impl Tickers {
    pub(super) fn new(instruments: &[Instrument]) -> Self {
        let mut tickers = Self::default();
        for (at, instrument) in instruments.iter().enumerate() {
            tickers.by_id.insert(instrument.subject.as_str().to_owned(), at);
            let in_us = UNITED_STATES.contains(&instrument.mic());
            let known = Known { instrument: at, common_word: instrument.common_word, in_us };
            tickers.by_ticker.entry(instrument.ticker().to_owned()).or_insert(known);
        }
        tickers
    }

    /// Every ticker in the text with the byte where it starts, given to `hit`.
    pub(super) fn scan(&self, text: &str, mut hit: impl FnMut(usize, usize)) {
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut before = b' ';
        while let Some(byte) = bytes.get(at).copied() {
            let starts = !is_word(before);
            let length = match byte {
                b'$' if starts && before != b'$' => {
                    let rest = text.get(at + 1..).unwrap_or_default();
                    let (found, length) = self.longest(rest, |ticker| self.cashtag(ticker));
                    found.into_iter().for_each(|instrument| hit(instrument, at));
                    length + 1
                }
                b'A'..=b'Z' if starts => {
                    let rest = text.get(at..).unwrap_or_default();
                    let (found, length) = self.word(rest);
                    found.into_iter().for_each(|instrument| hit(instrument, at));
                    length
                }
                _ => 1,
            };
            at += length.max(1);
            before = bytes.get(at - 1).copied().unwrap_or(b' ');
        }
    }

    /// The instrument of one of the post's own symbols: `AAPL`, `$AAPL`, `XNAS:AAPL`, `NASDAQ:AAPL`.
    pub(super) fn symbol(&self, symbol: &str) -> Option<usize> {
        let symbol = symbol.trim();
        let symbol = symbol.strip_prefix('$').unwrap_or(symbol);
        match symbol.split_once(':') {
            Some((market, ticker)) => self.listed(&market.to_ascii_uppercase(), ticker.trim()),
            None => self.cashtag(symbol),
        }
    }

    fn cashtag(&self, ticker: &str) -> Option<usize> {
        self.known(ticker).map(|known| known.instrument)
    }

    fn bare(&self, ticker: &str) -> Option<usize> {
        let long = ticker.bytes().filter(u8::is_ascii_uppercase).count() >= BARE_LETTERS_MIN;
        let shouted = !ticker.bytes().any(|byte| byte.is_ascii_lowercase());
        self.known(ticker).filter(|known| long && shouted && !known.common_word).map(|known| known.instrument)
    }

    fn known(&self, ticker: &str) -> Option<&Known> {
        if ticker.is_empty() || ticker.len() > TICKER_BYTES_MAX {
            return None;
        }
        self.by_ticker.get(canonical(ticker).as_ref())
    }

    fn listed(&self, market: &str, ticker: &str) -> Option<usize> {
        if ticker.len() > TICKER_BYTES_MAX {
            return None;
        }
        let mic = EXCHANGES.iter().find(|(name, _)| *name == market).map_or(market, |(_, mic)| mic);
        let exact = self.by_id.get(&format!("{mic}:{}", canonical(ticker))).copied();
        let moved = || self.known(ticker).filter(|known| known.in_us && UNITED_STATES.contains(&mic));
        exact.or_else(|| moved().map(|known| known.instrument))
    }

    /// A word in the text that starts with a capital: `NASDAQ: AAPL`, else a bare ticker.
    fn word(&self, rest: &str) -> (Option<usize>, usize) {
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let (word, behind) = rest.split_at(length);
        if let Some(listing) = behind.strip_prefix(':') {
            let spaces = listing.len() - listing.trim_start_matches(' ').len();
            let is_market = EXCHANGES.iter().any(|(name, mic)| *name == word || *mic == word) || word.len() == 4;
            if spaces <= 2 && is_market {
                let ticker = listing.get(spaces..).unwrap_or_default();
                let (found, used) = self.longest(ticker, |ticker| {
                    let shouted = !ticker.bytes().any(|byte| byte.is_ascii_lowercase());
                    if shouted { self.listed(word, ticker) } else { None }
                });
                if found.is_some() {
                    return (found, length + 1 + spaces + used);
                }
            }
        }
        let (found, used) = self.longest(rest, |ticker| self.bare(ticker));
        (found, used.max(length))
    }

    /// The longest ticker at the start of `rest` that `find` knows, with a share class (`BRK.B`) or without, and how
    /// many bytes belong to it.
    fn longest(&self, rest: &str, find: impl Fn(&str) -> Option<usize>) -> (Option<usize>, usize) {
        let stem = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let behind = rest.get(stem..).unwrap_or_default();
        if behind.starts_with(|c: char| c == '_' || c.is_alphanumeric()) {
            return (None, stem);
        }
        if behind.starts_with(['.', '-', '/']) {
            let class = behind.bytes().skip(1).take_while(u8::is_ascii_alphanumeric).count();
            if let Some(ticker) = rest.get(..stem + 1 + class).filter(|_| (1..=2).contains(&class))
                && let Some(found) = find(ticker)
            {
                return (Some(found), stem + 1 + class);
            }
        }
        (rest.get(..stem).filter(|ticker| !ticker.is_empty()).and_then(find), stem)
    }
}

/// A ticker as instruments files write it: capitals, and a point before the share class.
fn canonical(ticker: &str) -> Cow<'_, str> {
    if ticker.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'.') {
        return Cow::Borrowed(ticker);
    }
    Cow::Owned(ticker.to_ascii_uppercase().replace(['-', '/'], "."))
}

/// Bytes that belong to a word; all of UTF-8's other bytes do.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'@' || byte == b'&'
}
