//! The start of a text, for lists, alerts and mentions.

/// The most characters that an excerpt has, the ellipsis counted.
pub const EXCERPT_CHARS_MAX: usize = 160;

/// How far back from the cut a word's end is looked for, in characters.
const WORD_CHARS_MAX: usize = 24;

/// The first [`EXCERPT_CHARS_MAX`] characters of a cleaned text. A longer text is cut behind a word where one ends near
/// the limit, and closed with `…`.
#[must_use]
pub fn excerpt(cleaned: &str) -> String {
    let Some((limit, _)) = cleaned.char_indices().nth(EXCERPT_CHARS_MAX - 1) else {
        return cleaned.to_owned();
    };
    let (kept, rest) = cleaned.split_at(limit);
    if rest.chars().nth(1).is_none() {
        return cleaned.to_owned();
    }
    let near = kept.char_indices().rev().take(WORD_CHARS_MAX).find(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
    let inside_a_word = !rest.starts_with(char::is_whitespace);
    let kept = match near {
        Some(at) if inside_a_word => kept.get(..at).unwrap_or(kept),
        _ => kept,
    };
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_text_is_its_own_excerpt() {
        let text = "x".repeat(EXCERPT_CHARS_MAX);
        assert_eq!(excerpt(&text), text);
        assert_eq!(excerpt(""), "");
    }

    #[test]
    fn a_long_text_is_cut_behind_a_word() {
        let text = "Brightwater lifts its outlook ".repeat(10);
        let short = excerpt(&text);
        assert!(short.ends_with("its outlook…"), "{short}");
        assert!(short.chars().count() <= EXCERPT_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn an_excerpt_is_never_longer_than_its_limit(text in "\\PC{0,300}") {
            let short = excerpt(&text);
            prop_assert!(short.chars().count() <= EXCERPT_CHARS_MAX);
            let start = short.strip_suffix('…').unwrap_or(&short);
            prop_assert!(text.starts_with(start));
        }
    }
}
