//! Tickers in a text: cashtags, tickers behind an exchange's name, and bare ones in capitals.

/// How a ticker stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// `$AAPL`.
    Cashtag,
    /// `(NASDAQ: AAPL)`; the exchange as written.
    Exchange(&'a str),
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

/// Tickers are at most this long, suffix included (`BRK.B`).
const TICKER_MAX: usize = 10;

/// Calls `visit` for everything in the text that has the form of a ticker, from left to right; a word before a colon
/// counts as an exchange only where `is_exchange` says so (`Update: IBM` is a bare ticker). Linear.
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
            } else if let Some(exchange) = exchange_before(text, at).filter(|word| is_exchange(word)) {
                visit(Found { ticker: word, form: Form::Exchange(exchange), at });
            } else if !shouting && word.len() >= 3 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'.') {
                visit(Found { ticker: word, form: Form::Bare, at });
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

/// The word before `:` (and at most one space) that stands right before `at`.
fn exchange_before(text: &str, at: usize) -> Option<&str> {
    let before = text.get(..at)?;
    let before = before.strip_suffix(' ').unwrap_or(before).strip_suffix(':')?;
    let start = before.bytes().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    before.get(before.len() - start..).filter(|word| !word.is_empty())
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
                    Form::Exchange(exchange) => exchange.to_owned(),
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
            [pair("aapl", "cashtag"), pair("IBM", "bare"), pair("NYSE", "bare"), pair("BRK.B", "NYSE")],
            "an exchange's name has the form of a ticker; the linker knows better"
        );
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
