//! Which language a text is in, with two opinions.
//!
//! The script decides first: a text whose letters are mostly not Latin is in another language, however short it is.
//! Among Latin letters one detector alone calls many short English posts foreign, and a post's own `lang` is often
//! wrong: there a text is foreign only where both detectors say so and the second is sure. Doubt goes to the model.

use super::head;

/// More than this tells no detector more.
const BYTES_MAX: usize = 4_096;

/// Letters below which no language is named.
const LETTERS_MIN: usize = 3;

const ENGLISH: &str = "eng";

/// The code for a language that has no name here (ISO 639-3).
const UNDETERMINED: &str = "und";

/// The language of a cleaned text as an ISO 639-3 code. Mostly other letters than Latin ones: the likeliest language of
/// that script, `und` where none is known. Else a foreign one where both detectors find a foreign one and the second is
/// sure of it (its answer counts, it knows more of them), `eng` where either finds English, `None` where the text is too
/// short or the two doubt.
#[must_use]
pub fn language(text: &str) -> Option<&'static str> {
    let text = head(text, BYTES_MAX);
    if let Some(letters) = other_letters(text) {
        return Some(whatlang::detect(&letters).map_or(UNDETERMINED, |found| found.lang().code()));
    }
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
/// There is no doubt about a script in which none of `known` is written.
#[must_use]
pub fn foreign(text: &str, known: &[String]) -> Option<&'static str> {
    let is_known = |code: &str| known.iter().any(|name| canonical(name) == code);
    if let Some(letters) = other_letters(head(text, BYTES_MAX)) {
        let Some(found) = whatlang::detect(&letters) else { return Some(UNDETERMINED) };
        let is_read = found.script().langs().iter().any(|lang| is_known(lang.code()));
        let in_doubt = is_read && !found.is_reliable();
        return Some(found.lang().code()).filter(|code| !in_doubt && !is_known(code));
    }
    language(text).filter(|found| !is_known(found))
}

/// The letters that are not Latin, word by word, where they are more than those that are: what stands behind `@` and `$`
/// is Latin everywhere and does not count.
fn other_letters(text: &str) -> Option<String> {
    let (mut latin, mut other) = (0, 0);
    let mut letters = String::new();
    for word in text.split_whitespace().filter(|word| !word.starts_with(['@', '$'])) {
        for letter in word.chars().filter(|c| c.is_alphabetic()) {
            if is_latin(letter) {
                latin += 1;
            } else {
                other += 1;
                letters.push(letter);
            }
        }
        letters.push(' ');
    }
    (other >= LETTERS_MIN && other > latin).then_some(letters)
}

/// Latin letters, also in their dress of phonetics, ligatures, circles, full width and mathematics (`𝗕𝘂𝘆`).
const fn is_latin(letter: char) -> bool {
    matches!(letter,
        '\0'..='\u{2ff}' | '\u{1d00}'..='\u{1eff}' | '\u{2071}'..='\u{218f}' | '\u{24b6}'..='\u{24e9}'
        | '\u{2c60}'..='\u{2c7f}' | '\u{a720}'..='\u{a7ff}' | '\u{ab30}'..='\u{ab6f}' | '\u{fb00}'..='\u{fb06}'
        | '\u{ff21}'..='\u{ff5a}' | '\u{1d400}'..='\u{1d7ff}' | '\u{1f130}'..='\u{1f189}')
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

    #[test]
    fn a_script_that_the_model_cannot_read_is_foreign_however_short() {
        let known = ["en".to_owned()];
        for (text, expected) in [
            ("Акции выросли", "rus"),
            ("Η μετοχή ανέβηκε", "ell"),
            ("אני קונה", "heb"),
            ("หุ้นขึ้นแล้ว", "tha"),
            ("주가 상승", "kor"),
            ("株価が上がった", "jpn"),
            ("股价上涨", "cmn"),
            ("شراء الآن", "ara"),
            ("$SBER @user @user Акции выросли", "rus"),
        ] {
            assert_eq!(foreign(text, &known), Some(expected), "{text}");
        }
        for text in ["Boeing Δ-wing β test", "¯\\_(ツ)_/¯", "ಠ_ಠ", "𝗕𝘂𝘆 𝗻𝗼𝘄 𝗽𝗹𝗲𝗮𝘀𝗲", "buy BABA 阿里"]
        {
            assert_eq!(foreign(text, &known), None, "{text}");
        }
        let russian = ["en".to_owned(), "rus".to_owned()];
        assert_eq!(foreign("Акции", &russian), None, "in doubt, in a script that the model reads");
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(text in any::<String>()) {
            prop_assert_eq!(language(&text), language(&text));
        }
    }
}
