//! The cleaner: what stands in a post but says nothing goes, the rest gets one form.
//!
//! One pass takes out HTML, invisible characters, links and names of users and puts the text into NFC. What one pass
//! uncovers (a link that was encoded, say) the next one takes, so cleaning twice is cleaning once. Cashtags stay, the
//! case of letters too: models and `entity` want them.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::head;
use super::markup::{decode_entities, strip_tags};

/// The most characters that a cleaned text has.
pub const TEXT_CHARS_MAX: usize = 1_000;

/// The most bytes of a text that are looked at.
pub const INPUT_BYTES_MAX: usize = 64 * 1_024;

/// Passes before a text that keeps changing is stripped to letters and digits. Honest texts need two.
const PASSES_MAX: usize = 6;

/// What stands for the name of a user.
const USER: &str = "@user";

/// The text as the model sees it: in NFC; without HTML, links, control, bidirectional and zero-width characters; user
/// names as `@user`; without a leading `RT @user:`; white space collapsed; at most [`TEXT_CHARS_MAX`] characters. Only
/// the first [`INPUT_BYTES_MAX`] bytes count. Cleaning a cleaned text changes nothing.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut text = head(text, INPUT_BYTES_MAX).to_owned();
    for _ in 0..PASSES_MAX {
        let next = pass(text.clone());
        if next == text {
            return cut(text);
        }
        text = next;
    }
    cut(letters_only(&text))
}

fn pass(text: String) -> String {
    let text = strip_tags(decode_entities(text));
    let text = compose(drop_invisible(text));
    let text = collapse(drop_links_and_names(text));
    drop_retweet_marks(text)
}

/// For texts made to resist: nothing is left that any rule could take.
fn letters_only(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    collapse(compose(plain))
}

fn compose(text: String) -> String {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes { text } else { text.nfc().collect() }
}

/// Control characters go, those that break a line become a space; so do format characters without width.
fn drop_invisible(text: String) -> String {
    if !text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return text;
    }
    text.chars()
        .filter(|c| !is_invisible(*c) && (!c.is_control() || c.is_whitespace()))
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .collect()
}

/// Soft hyphens, joiners, direction marks, fillers, variation selectors, tags. Joined emoji come apart: no model here
/// knows them joined.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

fn drop_links_and_names(text: String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        if let Some(behind) = behind_link(rest, before) {
            out.push(' ');
            before = ' ';
            rest = behind;
        } else if let Some(behind) = behind_user(rest, before) {
            out.push_str(USER);
            before = 'r';
            rest = behind;
        } else {
            out.push(c);
            before = c;
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// The text behind the name of a user that starts here. A name has a letter (`@10.5` is a price) and does not follow a
/// letter or digit (`a@b` is an address).
fn behind_user(rest: &str, before: char) -> Option<&str> {
    let name = rest.strip_prefix('@').filter(|_| !before.is_alphanumeric() && before != '_')?;
    let length = name.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let (name, behind) = name.split_at(length);
    name.bytes().any(|byte| byte.is_ascii_alphabetic()).then_some(behind)
}

/// The text behind the link that starts here: `http://…`, `https://…` anywhere, `www.…` and `host.tld/path` where a
/// word starts. Marks that end a sentence stay.
fn behind_link(rest: &str, before: char) -> Option<&str> {
    let first = rest.bytes().next().filter(u8::is_ascii_alphanumeric)?;
    let word_starts = before.is_whitespace() || matches!(before, '(' | '"' | '\'' | '[');
    let web = matches!(first, b'h' | b'H') && (starts_with(rest, "http:/") || starts_with(rest, "https:/"));
    let www = matches!(first, b'w' | b'W') && !before.is_alphanumeric() && starts_with(rest, "www.");
    if web || www || (word_starts && (is_bare_link(rest) || is_cut_link(rest))) {
        return Some(behind_address(rest));
    }
    None
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// `on.example.com/x`: a host in lower case whose last label is all letters, and a path. `Amazon.com` is a company.
fn is_bare_link(rest: &str) -> bool {
    let length = rest.bytes().take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    let (host, path) = rest.split_at(length.count());
    let Some((name, last)) = host.rsplit_once('.') else { return false };
    let top = (2..=6).contains(&last.len()) && last.bytes().all(|byte| byte.is_ascii_lowercase());
    top && !name.is_empty() && !name.contains("..") && path.starts_with('/')
}

/// `http…`: a link that a copy was too short for.
fn is_cut_link(rest: &str) -> bool {
    let scheme = rest.strip_prefix("https").or_else(|| rest.strip_prefix("http"));
    scheme.is_some_and(|behind| behind.trim_start_matches([':', '/']).starts_with('…'))
}

fn behind_address(rest: &str) -> &str {
    let in_link = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'|' | b'\\' | b'^' | b'`');
    let length = rest.bytes().take_while(in_link).count();
    let (address, behind) = rest.split_at(length);
    let kept = address.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'', '}']);
    // "http://" alone ends with marks of its own; they go with it.
    let kept = if kept.contains('/') || kept.contains('.') { kept.len() } else { length };
    match behind.strip_prefix('…') {
        Some(behind) => behind,
        None => rest.get(kept.max(1)..).unwrap_or_default(),
    }
}

fn collapse(text: String) -> String {
    let mut words = text.split_whitespace();
    let mut out = String::with_capacity(text.len());
    if let Some(first) = words.next() {
        out.push_str(first);
    }
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
    out
}

/// `RT @user:` at the start says only that the text is a copy.
fn drop_retweet_marks(text: String) -> String {
    let mut rest = text.as_str();
    while let Some(behind) = behind_retweet_mark(rest) {
        rest = behind;
    }
    if rest.len() == text.len() { text } else { rest.to_owned() }
}

fn behind_retweet_mark(text: &str) -> Option<&str> {
    let mark = text.get(..2).filter(|mark| mark.eq_ignore_ascii_case("rt"))?;
    let behind = text.strip_prefix(mark)?.strip_prefix(' ')?.strip_prefix(USER)?;
    let behind = behind
        .strip_prefix(':')
        .or_else(|| behind.starts_with(' ').then_some(behind))
        .or_else(|| behind.is_empty().then_some(behind))?;
    Some(behind.trim_start())
}

/// The first [`TEXT_CHARS_MAX`] characters; half a `@user` at the cut goes too.
fn cut(text: String) -> String {
    let Some((limit, _)) = text.char_indices().nth(TEXT_CHARS_MAX) else {
        return text;
    };
    let kept = text.get(..limit).unwrap_or_default().trim_end();
    let partial = (1..USER.len()).rev().filter_map(|length| USER.get(..length)).find(|part| kept.ends_with(part));
    kept.strip_suffix(partial.unwrap_or_default()).unwrap_or(kept).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_retweet_keeps_only_what_it_says() {
        let post = "RT @BigTrader: RT @x: $BRWT beats &amp; raises\u{200b}!\n\nMore: https://t.co/aB1, via @Desk_9 ";
        assert_eq!(clean(post), "$BRWT beats & raises! More: , via @user");
        assert_eq!(clean("RT @jo"), "");
        assert_eq!(clean("RT @jo if you agree"), "if you agree");
    }

    #[test]
    fn links_go_in_every_form() {
        for link in [
            "https://a.example/x?y=1&z=2#t",
            "HTTP://A.EXAMPLE",
            "www.example.com",
            "on.oak.co/1aB",
            "pic.oak.com/abc",
            "http://…",
            "http…",
            "https://t.co/ab…",
            "http://",
        ] {
            assert_eq!(clean(&format!("before {link} after")), "before after", "{link}");
        }
        assert_eq!(clean("(see http://a.example/x)."), "(see ).");
        assert_eq!(clean("见https://t.cn/abc。新闻"), "见 。新闻");
        assert_eq!(clean("Amazon.com and U.S./China, P/E 3.1/4"), "Amazon.com and U.S./China, P/E 3.1/4");
    }

    #[test]
    fn prices_and_addresses_are_no_user_names() {
        assert_eq!(clean("bought @10.5, ask ir@oak.example or .@OakIR"), "bought @10.5, ask ir@oak.example or .@user");
    }

    #[test]
    fn characters_without_width_and_direction_marks_go() {
        assert_eq!(clean("a\u{202e}b\u{ad}c\u{feff}\u{0}d\te\u{85}f\u{a0}g"), "abcd e f g");
        assert_eq!(clean("e\u{301}t\u{fe0f}"), "ét");
    }

    #[test]
    fn html_in_an_encoded_feed_goes() {
        assert_eq!(clean("&lt;p&gt;Oak &amp;amp; Sons&lt;/p&gt;&lt;img src=\"x\"/&gt; up"), "Oak & Sons up");
    }

    #[test]
    fn a_long_text_is_cut_and_a_huge_one_is_not_read_to_its_end() {
        assert_eq!(clean(&"é".repeat(1_000_000)).chars().count(), TEXT_CHARS_MAX);
        assert_eq!(clean(&format!("{}end", " ".repeat(INPUT_BYTES_MAX))), "");
    }

    #[test]
    fn a_text_made_to_resist_ends_all_the_same() {
        let mut text = "end".to_owned();
        for _ in 0..40 {
            text = text.replace('&', "&am<b>p;").replace("end", "&<i>lt;b>end");
        }
        let once = clean(&text);
        assert_eq!(clean(&once), once);
    }

    #[test]
    fn hostile_texts_take_linear_time() {
        for unit in ["a.", "@", "http:", "((a.b", "rt ", "RT @user: ", "&am&lt;p", "<b", "\u{301}", "www.", "h", "@a"] {
            let text = unit.repeat(INPUT_BYTES_MAX / unit.len());
            let once = clean(&text);
            assert_eq!(clean(&once), once);
        }
    }

    /// Pieces that the rules act on, so that random texts meet them.
    fn piece() -> impl Strategy<Value = String> {
        let pieces = [
            "&amp;",
            "&lt;",
            "&gt;",
            "&#38;",
            "&#x3c;",
            "amp;",
            "lt;",
            "&",
            "<",
            ">",
            "<b>",
            "</b>",
            "<br>",
            "<p ",
            "\"",
            "'",
            "=",
            "<!--",
            "-->",
            "<script>",
            "</script>",
            "http",
            "://",
            "https://t.co/x",
            "www.",
            "a.com",
            "/x",
            "@",
            "@user",
            "@name",
            "RT ",
            "rt @a:",
            ":",
            " ",
            "\n",
            "\u{200b}",
            "\u{301}",
            "\u{338}",
            "e",
            "q",
            "\u{37e}",
            "\u{212a}",
            "…",
            "$AAPL",
            "é",
            "_",
            "1",
        ];
        prop_oneof![8 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,4}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn cleaning_twice_is_cleaning_once(pieces in proptest::collection::vec(piece(), 0..40)) {
            let once = clean(&pieces.concat());
            prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn a_text_near_the_limit_is_cut_for_good(pieces in proptest::collection::vec(piece(), 0..12), fill in 940_usize..1_010) {
            let once = clean(&format!("{}{}", "x".repeat(fill), pieces.concat()));
            prop_assert!(once.chars().count() <= TEXT_CHARS_MAX);
            prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn any_text_comes_out_collapsed_and_visible(text in any::<String>()) {
            let cleaned = clean(&text);
            prop_assert!(!cleaned.chars().any(|c| c.is_control() || is_invisible(c)));
            prop_assert!(!cleaned.contains("  ") && cleaned.trim() == cleaned);
            prop_assert_eq!(clean(&cleaned), cleaned);
        }
    }
}
