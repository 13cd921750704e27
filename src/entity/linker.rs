//! Finds instruments in texts.
//!
//! Relevance is `place / √n`: `place` is 1 where the instrument first stands within the first 80 bytes (a headline),
//! 0.8 behind that, 0.6 where only the post's own symbols name it; `n` is how many instruments were found. So a post
//! about one company counts whole, a list of forty tickers hardly.

use std::collections::{BTreeMap, HashMap, HashSet};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::entity::scan::{Form, Found, is_listed_elsewhere, tickers};
use crate::entity::{Instrument, Instruments};
use crate::event::{Subject, SubjectLink};

/// Instruments a post can have; the least relevant are dropped and counted.
pub const SUBJECTS_MAX: usize = 32;

/// How far a headline reaches, in bytes.
const HEADLINE: usize = 80;

/// What may stand behind a name that is also a word, to make it a company.
const COMPANY_FORMS: &[&str] = &[
    "inc",
    "corp",
    "corporation",
    "co",
    "company",
    "ltd",
    "limited",
    "plc",
    "group",
    "holdings",
    "holding",
    "sa",
    "ag",
    "nv",
    "se",
    "llc",
    "lp",
    "shares",
    "stock",
];

/// What is said of companies behind their name and a hyphen.
const COMPANY_TAILS: &[&str] = &[
    "backed",
    "based",
    "branded",
    "built",
    "controlled",
    "designed",
    "developed",
    "exclusive",
    "focused",
    "funded",
    "heavy",
    "led",
    "like",
    "linked",
    "listed",
    "made",
    "managed",
    "operated",
    "owned",
    "parent",
    "powered",
    "related",
    "run",
    "sized",
    "sponsored",
    "style",
    "supplied",
    "supplier",
    "supported",
    "themed",
    "tied",
];

/// Names by which exchanges are called, and their codes.
const EXCHANGES: &[(&str, &str)] = &[
    ("NASDAQ", "XNAS"),
    ("NASDAQGS", "XNAS"),
    ("NASDAQGM", "XNAS"),
    ("NASDAQCM", "XNAS"),
    ("NYSE", "XNYS"),
    ("AMEX", "XASE"),
    ("NYSEAMERICAN", "XASE"),
    ("NYSEARCA", "ARCX"),
    ("ARCA", "ARCX"),
    ("CBOE", "BATS"),
];

/// The instruments of one post.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Linked {
    /// Most relevant first; ties by subject.
    pub links: Vec<SubjectLink>,
    /// How many more there were.
    pub dropped: usize,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    common_word: bool,
}

/// A name or alias.
#[derive(Debug)]
struct Name {
    /// Whose it is; `None` for another company's.
    entry: Option<usize>,
    needs_form: bool,
    /// Where its words begin with a capital, in bytes.
    capitals: Vec<usize>,
}

/// Finds instruments in texts. Immutable; share it.
#[derive(Debug)]
pub struct Linker {
    entries: Vec<Entry>,
    by_ticker: HashMap<String, Vec<usize>>,
    /// Codes of the markets that have an instrument, or a name in [`EXCHANGES`].
    markets: HashSet<String>,
    names: Vec<Name>,
    automaton: Option<AhoCorasick>,
}

impl Linker {
    /// Prepares the pass over texts.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Self {
        let mut entries = Vec::new();
        let mut by_ticker: HashMap<String, Vec<usize>> = HashMap::new();
        let (mut names, mut patterns) = (Vec::new(), Vec::new());
        for instrument in instruments.iter() {
            let entry = entries.len();
            entries.push(Entry { subject: instrument.subject.clone(), common_word: instrument.common_word });
            by_ticker.entry(instrument.ticker().to_ascii_uppercase()).or_default().push(entry);
            for (text, needs_form) in names_of(instrument) {
                // Another company's name hides ours however it is written.
                let (entry, text, capitals) = match text.strip_prefix('!') {
                    Some(other) => (None, other.trim().to_owned(), Vec::new()),
                    None => (Some(entry), text.clone(), capitals(&text)),
                };
                names.push(Name { entry, needs_form, capitals });
                patterns.push(text);
            }
        }
        let listed = instruments.iter().map(|instrument| instrument.market().to_owned());
        let markets = listed.chain(EXCHANGES.iter().map(|(_, code)| (*code).to_owned())).collect();
        // A file's names are bounded by its size; the automaton refuses only what cannot be held in memory.
        let automaton =
            AhoCorasick::builder().match_kind(MatchKind::Standard).ascii_case_insensitive(true).build(&patterns).ok();
        Self { entries, by_ticker, markets, names, automaton }
    }

    /// The instruments of a cleaned text and the post's own symbols.
    #[must_use]
    pub fn link(&self, text: &str, symbols: &[String]) -> Linked {
        let mut places: BTreeMap<usize, f32> = BTreeMap::new();
        let mut put = |entry: usize, place: f32| {
            let best = places.entry(entry).or_insert(place);
            *best = best.max(place);
        };
        tickers(
            text,
            |word| self.is_exchange(word),
            |found| {
                for entry in self.meant(&found) {
                    put(entry, place(found.at));
                }
            },
        );
        self.names_in(text, |entry, at| put(entry, place(at)));
        for symbol in symbols {
            for entry in self.symbol(symbol) {
                put(entry, 0.6);
            }
        }
        self.ranked(&places)
    }

    #[expect(clippy::cast_precision_loss, reason = "few instruments in a text")]
    fn ranked(&self, places: &BTreeMap<usize, f32>) -> Linked {
        let share = 1.0 / (places.len().max(1) as f32).sqrt();
        let mut links: Vec<SubjectLink> = places
            .iter()
            .filter_map(|(entry, place)| {
                let subject = self.entries.get(*entry)?.subject.clone();
                Some(SubjectLink { subject, relevance: (place * share * 1_000.0).round() / 1_000.0 })
            })
            .collect();
        links.sort_by(|a, b| b.relevance.total_cmp(&a.relevance).then_with(|| a.subject.cmp(&b.subject)));
        let dropped = links.len().saturating_sub(SUBJECTS_MAX);
        links.truncate(SUBJECTS_MAX);
        Linked { links, dropped }
    }

    /// The names that stand as whole words. Where names overlap the first counts, of two that start together the longer:
    /// all are looked at, so that `Apple Inc` in `Apple Incident` does not hide `Apple`.
    fn names_in(&self, text: &str, mut visit: impl FnMut(usize, usize)) {
        let Some(automaton) = &self.automaton else { return };
        let has_case = has_case(text);
        let mut whole: Vec<(usize, usize, Option<usize>)> = Vec::new();
        for hit in automaton.find_overlapping_iter(text) {
            let Some(name) = self.names.get(hit.pattern().as_usize()) else { continue };
            let (before, found) = (text.get(..hit.start()), text.get(hit.range()).unwrap_or_default());
            let owes_capitals = has_case && before.is_some_and(|before| !before.ends_with('#'));
            if stands(text, hit.start(), hit.end(), name.needs_form)
                && (!owes_capitals || is_capitalised(found, &name.capitals))
                // Some companies are called by their ticker.
                && !is_listed_elsewhere(text, (hit.start(), hit.end()), |word| self.is_exchange(word))
            {
                whole.push((hit.start(), hit.end(), name.entry));
            }
        }
        whole.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut free_from = 0;
        for (start, end, entry) in whole {
            if start >= free_from {
                if let Some(entry) = entry {
                    visit(entry, start);
                }
                free_from = end;
            }
        }
    }

    fn is_exchange(&self, word: &str) -> bool {
        self.markets.contains(market_of(&word.to_ascii_uppercase()))
    }

    fn with_ticker(&self, ticker: &str) -> impl Iterator<Item = usize> {
        let key = ticker.to_ascii_uppercase().replace(['-', '/'], ".");
        self.by_ticker.get(&key).into_iter().flatten().copied()
    }

    /// The instruments that a ticker means in its form.
    fn meant(&self, found: &Found<'_>) -> Vec<usize> {
        match found.form {
            Form::Cashtag => self.with_ticker(found.ticker).collect(),
            Form::Exchange { name, set_off } => {
                let here = self.at_market(name, found.ticker);
                here.into_iter().filter(|entry| set_off || !self.is_word(*entry)).collect()
            }
            Form::Bare => self.with_ticker(found.ticker).filter(|entry| !self.is_word(*entry)).collect(),
        }
    }

    /// Whether the ticker is also a word.
    fn is_word(&self, entry: usize) -> bool {
        self.entries.get(entry).is_none_or(|entry| entry.common_word)
    }

    fn at_market(&self, exchange: &str, ticker: &str) -> Vec<usize> {
        let upper = exchange.to_ascii_uppercase();
        let market = market_of(&upper);
        let here = |entry: &usize| {
            let subject = self.entries.get(*entry).map(|entry| entry.subject.as_str());
            subject.and_then(|subject| subject.split_once(':')).is_some_and(|(code, _)| code == market)
        };
        self.with_ticker(ticker).filter(here).collect()
    }

    /// The instruments that a source's own symbol means: `AAPL`, `$AAPL`, `XNAS:AAPL`, `NASDAQ:AAPL`.
    fn symbol(&self, symbol: &str) -> Vec<usize> {
        let symbol = symbol.trim().trim_start_matches('$');
        match symbol.split_once(':') {
            Some((exchange, ticker)) => self.at_market(exchange, ticker.trim()),
            None => self.with_ticker(symbol).collect(),
        }
    }
}

/// The name and the aliases, also with the apostrophe that typesetters use.
fn names_of(instrument: &Instrument) -> Vec<(String, bool)> {
    let aliases = instrument.aliases.iter().map(|alias| (alias.clone(), false));
    let plain: Vec<_> = std::iter::once((instrument.name.clone(), instrument.common_name)).chain(aliases).collect();
    let curly =
        plain.iter().filter(|(name, _)| name.contains('\'')).map(|(name, form)| (name.replace('\'', "’"), *form));
    curly.chain(plain.iter().cloned()).collect()
}

/// The code of a market by its name or code, in upper case.
fn market_of(upper: &str) -> &str {
    EXCHANGES.iter().find(|(name, _)| *name == upper).map_or(upper, |(_, code)| code)
}

/// Where the words of a name begin with a capital.
fn capitals(name: &str) -> Vec<usize> {
    let begins =
        |at: usize| at.checked_sub(1).and_then(|at| name.as_bytes().get(at)).is_none_or(|b| b" -&.".contains(b));
    name.bytes().enumerate().filter(|(at, byte)| byte.is_ascii_uppercase() && begins(*at)).map(|(at, _)| at).collect()
}

/// Whether a name stands in a text with all its capitals.
fn is_capitalised(found: &str, capitals: &[usize]) -> bool {
    capitals.iter().all(|at| found.as_bytes().get(*at).is_none_or(u8::is_ascii_uppercase))
}

/// Whether its author tells names from words: there are capitals and small letters. Cashtags, tags and users' names do
/// not count.
fn has_case(text: &str) -> bool {
    let (mut small, mut capital) = (false, false);
    for word in text.split_whitespace().filter(|word| !word.starts_with(['$', '#', '@'])) {
        small |= word.bytes().any(|byte| byte.is_ascii_lowercase());
        capital |= word.bytes().any(|byte| byte.is_ascii_uppercase());
    }
    small && capital
}

/// Whether what follows a name is the rest of an ordinary word (`meta-analysis`, not `Apple-backed`).
fn is_half_a_word(after: &str) -> bool {
    let Some(rest) = after.strip_prefix('-').filter(|rest| rest.starts_with(|c: char| c.is_lowercase())) else {
        return false;
    };
    let word: &str = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    !COMPANY_TAILS.contains(&word)
}

/// Whether `text[start..end]` stands as a whole word; a name that is also a word wants a capital and a company form.
fn stands(text: &str, start: usize, end: usize, needs_form: bool) -> bool {
    let (Some(before), Some(name), Some(after)) = (text.get(..start), text.get(start..end), text.get(end..)) else {
        return false;
    };
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    if before.chars().next_back().is_some_and(|c| joins(c) || c == '$') || after.chars().next().is_some_and(joins) {
        return false;
    }
    if is_half_a_word(after) {
        return false;
    }
    !needs_form || (!name.starts_with(|c: char| c.is_lowercase()) && starts_with_form(after))
}

const fn place(at: usize) -> f32 {
    if at < HEADLINE { 1.0 } else { 0.8 }
}

fn starts_with_form(after: &str) -> bool {
    let after = after.trim_start_matches([',', ' ']);
    let end = after.bytes().take_while(u8::is_ascii_alphabetic).count();
    after.get(..end).is_some_and(|word| COMPANY_FORMS.iter().any(|form| form.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn linker() -> Linker {
        Linker::new(&Instruments::parse(include_str!("../../pipelines/instruments/us-large.csv")).unwrap())
    }

    fn subjects(text: &str, symbols: &[&str]) -> Vec<String> {
        let symbols: Vec<String> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        linker().link(text, &symbols).links.iter().map(|link| link.subject.to_string()).collect()
    }

    #[test]
    fn a_company_is_found_by_each_of_its_names() {
        for text in ["$AAPL falls", "$aapl falls", "Apple falls", "apple's phone", "AAPL falls", "(NASDAQ: AAPL)"] {
            assert_eq!(subjects(text, &[]), ["XNAS:AAPL"], "{text}");
        }
        for symbol in ["AAPL", "$AAPL", "XNAS:AAPL", "NASDAQ:AAPL"] {
            assert_eq!(subjects("it falls", &[symbol]), ["XNAS:AAPL"], "{symbol}");
        }
        for text in ["$BRK.B", "$BRK-B", "Berkshire Hathaway"] {
            assert_eq!(subjects(text, &[]), ["XNYS:BRK.B"], "{text}");
        }
    }

    #[test]
    fn a_ticker_that_is_a_word_counts_only_as_a_cashtag() {
        assert!(subjects("ALL of it is LOW and IT is ON", &[]).is_empty());
        assert_eq!(subjects("$ALL and $LOW", &[]), ["XNYS:ALL", "XNYS:LOW"]);
        assert_eq!(subjects("(NYSE: ALL)", &[]), ["XNYS:ALL"]);
    }

    #[test]
    fn a_name_that_is_a_word_counts_only_with_a_company_form() {
        assert!(subjects("the target is near", &[]).is_empty());
        assert!(subjects("analysts set a target, group sales fall", &[]).is_empty());
        assert_eq!(subjects("Target Corp raises its outlook", &[]), ["XNYS:TGT"]);
    }

    #[test]
    fn a_name_inside_a_word_is_no_name() {
        assert!(subjects("pineapple juice and snapple", &[]).is_empty());
        assert!(subjects("NYSE: AAPL", &[]).is_empty(), "not listed there");
    }

    #[test]
    fn a_longer_name_that_does_not_stand_hides_no_shorter_one() {
        assert_eq!(subjects("Apple Incident reported", &[]), ["XNAS:AAPL"]);
        assert_eq!(subjects("Apple Inc reports", &[]), ["XNAS:AAPL"]);
    }

    #[test]
    fn a_word_before_a_colon_is_no_exchange() {
        assert_eq!(subjects("Breaking: IBM beats", &[]), ["XNYS:IBM"]);
        assert_eq!(subjects("Nasdaq: AAPL beats", &[]), ["XNAS:AAPL"]);
    }

    #[test]
    fn a_ticker_of_another_exchange_is_another_company() {
        for text in ["(LSE: PRU)", "(ASX: CSX)", "(CVE: AMD)", "[LSE:AAPL]", "Its shares (LSE: AMD, ASX: CSX) rise"] {
            assert!(subjects(text, &[]).is_empty(), "{text}");
        }
        assert_eq!(subjects("(NYSE: BA, LSE: BOE)", &[]), ["XNYS:BA"]);
        for text in ["(NasdaqGS: AAPL)", "(ticker: AAPL)", "(Breaking: AAPL beats)"] {
            assert_eq!(subjects(text, &[]), ["XNAS:AAPL"], "{text}");
        }
    }

    #[test]
    fn a_ticker_that_is_a_word_wants_brackets_around_its_exchange() {
        assert!(subjects("NYSE: KEY results of the day", &[]).is_empty());
        assert_eq!(subjects("NYSE: IBM results of the day", &[]), ["XNYS:IBM"]);
        assert_eq!(subjects("results (NYSE: KEY) of the day", &[]), ["XNYS:KEY"]);
        assert_eq!(subjects("NYSE:KEY results", &[]), ["XNYS:KEY"], "nobody writes prose like this");
    }

    #[test]
    fn a_name_without_its_capitals_is_a_word_unless_the_text_has_no_case() {
        for text in [
            "I ate an apple today",
            "That is uber cool",
            "Analysts' best buy rating",
            "A meta-analysis of returns",
            "Meta-analysis of returns",
            "Best buy of the week",
        ] {
            assert!(subjects(text, &[]).is_empty(), "{text}");
        }
        for text in
            ["Apple falls", "apple falls", "APPLE FALLS", "$msft and apple fall", "Apple-backed startup", "Not #apple"]
        {
            assert!(subjects(text, &[]).contains(&"XNAS:AAPL".to_owned()), "{text}");
        }
        assert_eq!(subjects("Bank of America and eBay", &[]), ["XNAS:EBAY", "XNYS:BAC"]);
    }

    #[test]
    fn a_longer_name_of_another_company_hides_the_shorter_one() {
        assert!(subjects("Merck KGaA lifts its outlook", &[]).is_empty());
        assert!(subjects("The Oracle of Omaha buys", &[]).is_empty());
        assert_eq!(subjects("Merck lifts its outlook", &[]), ["XNYS:MRK"]);
    }

    #[test]
    fn either_apostrophe_is_one() {
        assert_eq!(subjects("McDonald's sells burgers", &[]), subjects("McDonald’s sells burgers", &[]));
        assert_eq!(subjects("McDonald’s sells burgers", &[]), ["XNYS:MCD"]);
    }

    #[test]
    fn relevance_falls_with_company_and_place() {
        let linker = linker();
        let alone = linker.link("$AAPL falls", &[]);
        assert!((alone.links[0].relevance - 1.0).abs() < 1e-6);
        let four = linker.link("$AAPL $MSFT $IBM $GE", &[]);
        assert!(four.links.iter().all(|link| (link.relevance - 0.5).abs() < 1e-6));
        let late = linker.link(&format!("{} $AAPL", "word ".repeat(30)), &[]);
        assert!((late.links[0].relevance - 0.8).abs() < 1e-6);
    }

    #[test]
    fn a_post_with_500_symbols_is_bounded_and_counted() {
        let file = Instruments::parse(include_str!("../../pipelines/instruments/us-large.csv")).unwrap();
        let symbols: Vec<String> = file.iter().map(|instrument| instrument.subject.to_string()).collect();
        let linked = Linker::new(&file).link("everything", &symbols);
        assert_eq!((linked.links.len(), linked.dropped), (SUBJECTS_MAX, symbols.len() - SUBJECTS_MAX));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_the_same_text_gives_the_same(text in "\\PC{0,120}", symbol in "\\PC{0,12}") {
            let linker = Linker::new(&Instruments::parse(include_str!("../../pipelines/demo/instruments.csv")).unwrap());
            let symbols = vec![symbol];
            prop_assert_eq!(linker.link(&text, &symbols), linker.link(&text, &symbols));
        }
    }
}
