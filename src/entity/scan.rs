//! Tickers in a text: cashtags, tickers behind an exchange's name, and bare ones in capitals.

/// How a ticker stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// `$AAPL`.
    Cashtag,
    /// `(NASDAQ: AAPL)`, `NASDAQ:AAPL` or, in the middle of a sentence, `NASDAQ: AAPL`.
    Exchange {
        /// As written.
        name: &'a str,
        /// In brackets or without a space: no sentence reads like this.
        set_off: bool,
    },
    /// `AAPL`, all capitals.
    Bare,
}

/// A ticker in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// As written, without the dollar sign.
    pub(super) ticker: &'a str,
    pub(super) form: Form<'a>,
    /// Byte offset.
    pub(super) at: usize,
}

/// Words before a colon in brackets that name no exchange: `(ticker: AAPL)`.
const NO_EXCHANGES: &[&str] = &["ticker", "tickers", "symbol", "symbols", "stock", "us"];

/// How far an opening bracket is looked for, in bytes.
const BRACKET_REACH: usize = 64;

/// Tickers are at most this long, suffix included (`BRK.B`).
const TICKER_MAX: usize = 10;

/// Calls `visit` for everything in the text that has the form of a ticker, from left to right; a word before a colon
/// counts as an exchange only where `is_exchange` says so (`Update: IBM` is a bare ticker). In brackets any other word
/// that reads like an exchange is one that we do not know (`(LSE: PRU)`): that listing is somebody else's. Linear.
pub(super) fn tickers<'a>(text: &'a str, is_exchange: impl Fn(&str) -> bool, mut visit: impl FnMut(Found<'a>)) {
    let bytes = text.as_bytes();
    let shouting = is_shouting(text);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if !byte.is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let end = word_end(bytes, at);
        let before = at.checked_sub(1).and_then(|index| bytes.get(index)).copied();
        // Inside a word of another script: not a word of its own.
        let alone = before.is_none_or(|byte| byte.is_ascii()) && bytes.get(end).is_none_or(u8::is_ascii);
        if let Some(word) = text.get(at..end)
            && alone
            && word.len() <= TICKER_MAX
        {
            if before == Some(b'$') {
                if byte.is_ascii_alphabetic() {
                    visit(Found { ticker: word, form: Form::Cashtag, at });
                }
            } else {
                let label = Label::before(text, at);
                if let Some(label) = label.filter(|label| is_exchange(label.word)) {
                    let form = Form::Exchange { name: label.word, set_off: label.bracketed || label.tight };
                    visit(Found { ticker: word, form, at });
                } else if !shouting
                    && is_capitals(word)
                    && label.is_none_or(|label| !label.is_another_exchange(text, end))
                    && !labels_a_ticker(text, at, end)
                {
                    visit(Found { ticker: word, form: Form::Bare, at });
                }
            }
        }
        at = end;
    }
}

/// The end of a word of letters and digits, with a share class behind a dot, dash or slash (`BRK.B`, `BRK-B`).
fn word_end(bytes: &[u8], start: usize) -> usize {
    let plain = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_alphanumeric()).count() + from;
    let end = plain(start);
    if matches!(bytes.get(end), Some(b'.' | b'-' | b'/')) {
        let class = plain(end + 1);
        let single = class == end + 2 && bytes.get(end + 1).is_some_and(u8::is_ascii_uppercase);
        if single && end - start <= 5 {
            return class;
        }
    }
    end
}

/// Whether what stands there is a ticker of an exchange that `is_exchange` does not know.
pub(super) fn is_listed_elsewhere(text: &str, (at, end): (usize, usize), is_exchange: impl Fn(&str) -> bool) -> bool {
    text.get(at..end).is_some_and(is_capitals)
        && Label::before(text, at).is_some_and(|label| !is_exchange(label.word) && label.is_another_exchange(text, end))
}

/// The word before `:` (and at most one space) that stands right before a ticker.
#[derive(Clone, Copy)]
struct Label<'a> {
    word: &'a str,
    bracketed: bool,
    /// No space behind the colon.
    tight: bool,
}

impl<'a> Label<'a> {
    fn before(text: &'a str, at: usize) -> Option<Self> {
        let before = text.get(..at)?;
        let tight = !before.ends_with(' ');
        let before = before.strip_suffix(' ').unwrap_or(before).strip_suffix(':')?;
        let length = before.bytes().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let (outside, word) = before.split_at_checked(before.len() - length)?;
        (!word.is_empty()).then(|| Self { word, bracketed: is_in_brackets(outside), tight })
    }

    /// Whether the label, which is no exchange of ours, is another one: in brackets, in capitals or with nothing but a
    /// ticker behind it (`(Xetra: SAP)`, not `(Update: IBM beats)`).
    fn is_another_exchange(&self, text: &str, ticker_end: usize) -> bool {
        let rest = text.get(ticker_end..).unwrap_or_default().trim_start_matches(' ');
        let alone = rest.is_empty() || rest.starts_with([')', ']', ',', ';', '/', '|']);
        let names_none = NO_EXCHANGES.iter().any(|word| word.eq_ignore_ascii_case(self.word));
        self.bracketed && !names_none && (alone || is_capitals(self.word))
    }
}

/// Whether the word is the label of a ticker in brackets: `ETR` in `(ETR: BMW)` is no ticker of its own.
fn labels_a_ticker(text: &str, at: usize, end: usize) -> bool {
    let Some(behind) = text.get(end..).and_then(|rest| rest.strip_prefix(':')) else { return false };
    let behind = behind.strip_prefix(' ').unwrap_or(behind);
    let capitals = behind.bytes().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).count();
    capitals >= 2 && is_in_brackets(text.get(..at).unwrap_or_default())
}

fn is_in_brackets(before: &str) -> bool {
    let bracket = before.bytes().rev().take(BRACKET_REACH).find(|byte| matches!(byte, b'(' | b')' | b'[' | b']'));
    matches!(bracket, Some(b'(' | b'['))
}

fn is_capitals(word: &str) -> bool {
    word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'.')
}

/// A text mostly in capitals: its words are not tickers.
fn is_shouting(text: &str) -> bool {
    let upper = text.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = text.bytes().filter(u8::is_ascii_lowercase).count();
    upper > 2 * lower && upper + lower > 20
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        tickers(
            text,
            |word| word == "NYSE",
            |hit| {
                let form = match hit.form {
                    Form::Cashtag => "cashtag".to_owned(),
                    Form::Exchange { name, set_off } => format!("{name}{}", if set_off { "!" } else { "" }),
                    Form::Bare => "bare".to_owned(),
                };
                found.push((hit.ticker.to_owned(), form));
            },
        );
        found
    }

    #[test]
    fn each_form_is_seen() {
        let pair = |ticker: &str, form: &str| (ticker.to_owned(), form.to_owned());
        assert_eq!(
            found("buy $aapl, not IBM (NYSE: BRK.B)"),
            [pair("aapl", "cashtag"), pair("IBM", "bare"), pair("BRK.B", "NYSE!")]
        );
        assert_eq!(found("NYSE:KEY or NYSE: KEY").last(), Some(&pair("KEY", "NYSE")), "in a sentence");
        assert_eq!(found("BMW (ETR: BMW)"), [pair("BMW", "bare")], "neither a listing elsewhere nor its exchange");
        assert_eq!(found("Update: IBM beats"), [pair("IBM", "bare")], "not every word before a colon is an exchange");
        assert_eq!(found("paid $500 for it"), []);
        assert_eq!(found("$BRK-B."), [pair("BRK-B", "cashtag")]);
        assert_eq!(found("MARKETS CRASH AS FEAR SPREADS"), [], "a shouted headline has no bare tickers");
    }

    #[test]
    fn words_of_other_scripts_are_left_alone() {
        assert_eq!(found("市场AAPL消息"), []);
        assert_eq!(found("é$AAPL"), [("AAPL".to_owned(), "cashtag".to_owned())]);
    }
}
