//! The linker: everything that a post names, weighed.
//!
//! Relevance = place × company, both in (0, 1]. *Place*: 1 where the first naming starts in the first 80 characters (a
//! headline), else `1 / (1 + (start − 80) / 240)`, at least 0.3; 0.5 for an instrument that only the post's own symbols
//! name. *Company*: `1 / √n` where `n` instruments are named, so a list of twenty tickers says little about each.

use super::instruments::Instruments;
use super::names::Names;
use super::tickers::Tickers;
use crate::event::{Subject, SubjectLink};

/// The most subjects that a post is linked to.
pub const SUBJECTS_MAX: usize = 32;

/// Bytes at the start that count as headline.
const HEADLINE_BYTES: usize = 80;

/// Behind the headline, the distance in bytes at which the place counts half.
const HALF_BYTES: f32 = 240.0;

const PLACE_MIN: f32 = 0.3;

const PLACE_OF_SYMBOLS: f32 = 0.5;

/// What a text is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Linked {
    /// At most [`SUBJECTS_MAX`], the most relevant first, then the one named first.
    pub links: Vec<SubjectLink>,
    /// How many more were found and left out.
    pub dropped: usize,
}

/// Finds instruments in texts.
#[derive(Debug)]
pub struct Linker {
    subjects: Vec<Subject>,
    names: Names,
    tickers: Tickers,
}

impl Linker {
    /// A linker for these instruments.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Self {
        let all = instruments.all();
        Self {
            subjects: all.iter().map(|instrument| instrument.subject.clone()).collect(),
            names: Names::new(all),
            tickers: Tickers::new(all),
        }
    }

    /// The instruments that a cleaned text or the post's own symbols name. A symbol or cashtag that is not in the
    /// instruments file names nobody. Time is linear in the text.
    #[must_use]
    pub fn link(&self, text: &str, symbols: &[String]) -> Linked {
        // (instrument, where), sorted so that the first naming of each comes first; usize::MAX: only in the symbols.
        let mut hits: Vec<(usize, usize)> = Vec::new();
        self.tickers.scan(text, |instrument, at| hits.push((instrument, at)));
        self.names.scan(text, |instrument, at| hits.push((instrument, at)));
        hits.extend(symbols.iter().filter_map(|symbol| self.tickers.symbol(symbol)).map(|found| (found, usize::MAX)));
        hits.sort_unstable();
        hits.dedup_by_key(|(instrument, _)| *instrument);
        let company = company(hits.len());
        let mut ranked: Vec<(f32, usize, usize)> =
            hits.into_iter().map(|(instrument, at)| (rounded(place(at) * company), at, instrument)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let dropped = ranked.len().saturating_sub(SUBJECTS_MAX);
        let links = ranked.into_iter().take(SUBJECTS_MAX).filter_map(|(relevance, _, instrument)| {
            self.subjects.get(instrument).map(|subject| SubjectLink { subject: subject.clone(), relevance })
        });
        Linked { links: links.collect(), dropped }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rough weight")]
fn place(at: usize) -> f32 {
    if at == usize::MAX {
        return PLACE_OF_SYMBOLS;
    }
    (1.0 / (1.0 + at.saturating_sub(HEADLINE_BYTES) as f32 / HALF_BYTES)).max(PLACE_MIN)
}

#[expect(clippy::cast_precision_loss, reason = "a rough weight")]
fn company(named: usize) -> f32 {
    1.0 / (named.max(1) as f32).sqrt()
}

/// Three decimals: short on the wire.
fn rounded(relevance: f32) -> f32 {
    (relevance * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn linker() -> Linker {
        let csv = "id,name,aliases,common_word,common_name\n\
            XNYS:OAK,Oak & Sons,Oak and Sons,true,false\n\
            XNAS:BRWT,Brightwater Foods,Brightwater,false,false\n\
            XNAS:BRWF,Brightwater Financial,,false,false\n\
            XNYS:TGT,Target,,false,true\n\
            XNYS:MDY.B,Marley's,,false,false\n\
            XNAS:GO,Gopher,,false,false\n\
            XLON:NRT,Norvane,,false,false\n";
        Linker::new(&Instruments::parse(csv).unwrap())
    }

    fn found(text: &str) -> Vec<String> {
        symbols(text, &[])
    }

    fn symbols(text: &str, symbols: &[&str]) -> Vec<String> {
        let symbols: Vec<String> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        linker().link(text, &symbols).links.iter().map(|link| link.subject.to_string()).collect()
    }

    #[test]
    fn a_cashtag_counts_in_any_case_and_an_unknown_one_names_nobody() {
        assert_eq!(found("long $BRWT, short $oak!"), ["XNAS:BRWT", "XNYS:OAK"]);
        assert_eq!(found("$MDY.B and $mdy-b"), ["XNYS:MDY.B"]);
        assert_eq!(found("$BRWT."), ["XNAS:BRWT"]);
        assert!(found("$NOSUCH $BRWTX US$GO x$GO $$GO $5 $").is_empty());
    }

    #[test]
    fn a_ticker_that_is_a_word_counts_only_as_a_cashtag() {
        assert!(found("OAK furniture").is_empty());
        assert!(found("GO now").is_empty());
        assert_eq!(found("BRWT up 3%"), ["XNAS:BRWT"]);
        assert!(found("brwt up, BRWTX too, BRWT_x").is_empty());
        assert_eq!(found("(NYSE: OAK) and NASDAQ:GO"), ["XNYS:OAK", "XNAS:GO"]);
    }

    #[test]
    fn a_listing_that_moved_is_found_and_a_foreign_one_is_not_mixed_up() {
        assert_eq!(found("(NASDAQ: TGT)"), ["XNYS:TGT"]);
        assert_eq!(found("LSE:NRT"), ["XLON:NRT"]);
        assert_eq!(symbols("", &["NYSE:NRT", "XLON:BRWT"]), [""; 0]);
    }

    #[test]
    fn names_count_as_whole_words() {
        assert_eq!(found("BRIGHTWATER's sauce"), ["XNAS:BRWT"]);
        assert_eq!(found("Brightwater Financial beats"), ["XNAS:BRWF"]);
        assert_eq!(found("Brightwater Financially sound"), ["XNAS:BRWT"]);
        assert_eq!(found("Marley’s"), ["XNYS:MDY.B"]);
        assert!(found("Brightwaters, preBrightwater, Brightwater2, éBrightwater, @Brightwater").is_empty());
    }

    #[test]
    fn a_name_that_is_a_word_needs_its_company_form() {
        assert!(found("analysts raise their target group").is_empty());
        assert!(found("Target prices rise").is_empty());
        assert_eq!(found("Target Corp. cuts prices"), ["XNYS:TGT"]);
        assert_eq!(found("Target, Inc. cuts prices"), ["XNYS:TGT"]);
        assert_eq!(found("TGT cuts prices"), ["XNYS:TGT"]);
    }

    #[test]
    fn the_posts_own_symbols_count_in_every_form() {
        for symbol in ["BRWT", "$BRWT", "XNAS:BRWT", "NASDAQ:BRWT", "nasdaq:brwt", " brwt "] {
            assert_eq!(symbols("", &[symbol]), ["XNAS:BRWT"], "{symbol}");
        }
        assert!(symbols("", &["", ":", "$", "XNAS:", "NOSUCH"]).is_empty());
    }

    #[test]
    fn relevance_falls_with_company_and_place() {
        let linker = linker();
        let alone = linker.link("Brightwater recalls sauce", &[]);
        assert!((alone.links[0].relevance - 1.0).abs() < 1e-6);
        let two = linker.link("Brightwater buys Norvane", &[]);
        assert!((two.links[0].relevance - 0.707).abs() < 1e-6);
        let late = linker.link(&format!("{} Brightwater", "word ".repeat(64)), &[]);
        assert!((late.links[0].relevance - 0.498).abs() < 0.002, "{}", late.links[0].relevance);
        let tagged = linker.link("Sauce recalled", &["BRWT".to_owned()]);
        assert!((tagged.links[0].relevance - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_post_that_names_hundreds_is_bounded() {
        let mut csv = "id,name,aliases,common_word\n".to_owned();
        for n in 0..500 {
            csv.push_str(&format!("XNAS:T{n},Company number {n},,false\n"));
        }
        let linker = Linker::new(&Instruments::parse(&csv).unwrap());
        let text: String = (0..500).map(|n| format!("$T{n} ")).collect();
        let linked = linker.link(&text, &[]);
        assert_eq!((linked.links.len(), linked.dropped), (SUBJECTS_MAX, 500 - SUBJECTS_MAX));
        assert_eq!(linked.links[0].subject.as_str(), "XNAS:T0");
    }

    #[test]
    fn a_linker_without_instruments_finds_nothing() {
        assert_eq!(
            Linker::new(&Instruments::default()).link("Brightwater $BRWT", &["A".to_owned()]),
            Linked::default()
        );
    }

    proptest! {
        #[test]
        fn any_text_has_one_answer_within_bounds(
            text in any::<String>(),
            pieces in proptest::collection::vec(proptest::sample::select(vec!["$", "BRWT", "NYSE:", " ", "OAK", ".B", "Brightwater", "Target", "Corp", "é", "(", "-", ":"]), 0..20),
            symbol in "[$A-Z:.]{0,12}",
        ) {
            let linker = linker();
            let text = format!("{text}{}", pieces.concat());
            let first = linker.link(&text, std::slice::from_ref(&symbol));
            prop_assert_eq!(&first, &linker.link(&text, &[symbol]));
            prop_assert!(first.links.len() <= SUBJECTS_MAX);
            prop_assert!(first.links.iter().all(|link| link.relevance > 0.0 && link.relevance <= 1.0));
            prop_assert!(first.links.windows(2).all(|pair| pair[0].relevance >= pair[1].relevance));
        }
    }
}
