//! Which language a text is in, with two opinions.
//!
//! One detector alone calls many short English posts foreign, and a post's own `lang` is often wrong. A text counts as
//! foreign only where both say so and the second is sure; a doubtful text goes to the model.

use super::head;

/// More than this tells no detector more.
const BYTES_MAX: usize = 4_096;

/// Letters below which no language is named.
const LETTERS_MIN: usize = 3;

const ENGLISH: &str = "eng";

/// The language of a cleaned text as an ISO 639-3 code: a foreign one where both detectors find a foreign one and the
/// second is sure of it (its answer counts, it knows more of them), `eng` where either finds English, `None` where the
/// text is too short or the two doubt.
#[must_use]
pub fn language(text: &str) -> Option<&'static str> {
    let text = head(text, BYTES_MAX);
    if text.chars().filter(|c| c.is_alphabetic()).take(LETTERS_MIN).count() < LETTERS_MIN {
        return None;
    }
    if whichlang::detect_language(text) == whichlang::Lang::Eng {
        return Some(ENGLISH);
    }
    let second = whatlang::detect(text)?;
    if second.lang() == whatlang::Lang::Eng {
        return Some(ENGLISH);
    }
    second.is_reliable().then(|| second.lang().code())
}

/// The language of a text if it is none of `known` (ISO 639-3, or `en` and `zh`); `None` where it is known or in doubt.
#[must_use]
pub fn foreign(text: &str, known: &[String]) -> Option<&'static str> {
    language(text).filter(|found| !known.iter().any(|name| canonical(name) == *found))
}

/// The detectors' code for a code of a manifest.
fn canonical(code: &str) -> &str {
    match code {
        "en" => ENGLISH,
        "zh" | "zho" => "cmn",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_posts_are_told_apart() {
        let cases = [
            ("Brightwater shares rise after strong quarterly results", Some("eng")),
            (
                "Die Aktien des Konzerns stiegen nach den Quartalszahlen um fünf Prozent, weil der Gewinn höher ausfiel als erwartet",
                Some("deu"),
            ),
            ("Las acciones de la empresa subieron después de los resultados trimestrales", Some("spa")),
            ("公司第三季度净利润同比增长百分之二十，股价上涨", Some("cmn")),
            ("$BRWT 12.5 +3%", None),
            ("+3.5%", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(language(text), expected, "{text}");
        }
    }

    #[test]
    fn a_known_language_is_not_foreign() {
        let known = ["en".to_owned()];
        assert_eq!(foreign("Brightwater shares rise after strong quarterly results", &known), None);
        assert_eq!(foreign("公司第三季度净利润同比增长百分之二十，股价上涨", &known), Some("cmn"));
        assert_eq!(foreign("公司第三季度净利润同比增长百分之二十，股价上涨", &["zho".to_owned()]), None);
        assert_eq!(foreign("👍👍", &known), None);
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(text in any::<String>()) {
            prop_assert_eq!(language(&text), language(&text));
        }
    }
}
