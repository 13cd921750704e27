//! Which words moved a verdict, by occlusion: the model is asked again about the text without each word, and what its
//! answer loses is that word's doing (erasure, after Li, Monroe and Jurafsky, "Understanding Neural Networks through
//! Representation Erasure", 2016).
//!
//! The loss is counted in log-odds (the weight of evidence of Robnik-Šikonja and Kononenko, "Explaining Classifications
//! for Individual Instances", 2008): where a model is sure, its probability hardly moves, whichever word is missing.

use std::ops::Range;

use crate::clean::clean;
use crate::event::{Abstention, Verdict};
use crate::model::{Encoded, ScoreFailure, Scorer, question};

/// Words that are left out in turn, from the start of the text; no shipped model reads as many.
const WORDS_MAX: usize = 512;

/// Why a text was answered as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The cleaned text: what the model was asked.
    pub text: String,
    /// The answer to all of it.
    pub verdict: Verdict,
    /// The words that the model reads, in order; none where it was not asked. Punctuation belongs to the word that it
    /// stands at.
    pub words: Vec<WordShare>,
}

/// What one word does.
#[derive(Debug, Clone, PartialEq)]
pub struct WordShare {
    /// Where it stands in the cleaned text, in bytes.
    pub place: Range<usize>,
    /// What ln(P(positive) / P(negative)) loses without the word, in nats: below zero where the word makes the text
    /// sound worse. 0.69 is a factor of two.
    pub sentiment: f32,
    /// What ln(p / (1 − p)) loses without the word, in nats, where p is the probability of the text's most probable
    /// topic: above zero where the word speaks for that topic.
    pub topic: f32,
}

impl Explanation {
    /// The word itself.
    #[must_use]
    pub fn word(&self, share: &WordShare) -> &str {
        self.text.get(share.place.clone()).unwrap_or_default()
    }

    /// ln(P(positive) / P(negative)) of the whole text, in nats.
    #[must_use]
    pub fn sentiment(&self) -> f32 {
        sentiment_odds(&self.verdict)
    }

    /// The words' shares of it together. It is another figure than [`Explanation::sentiment`]: words act together, and
    /// a text that says a thing twice loses little when it says it once.
    #[must_use]
    pub fn sentiment_sum(&self) -> f32 {
        self.words.iter().map(|share| share.sentiment).sum()
    }
}

/// Cleans a text, asks `scorer` about it and about it without each word, all in one pool.
///
/// # Errors
/// The first [`ScoreFailure`] of the text or of a part of it.
pub fn explain(text: &str, scorer: &dyn Scorer) -> Result<Explanation, ScoreFailure> {
    let text = clean(text);
    let whole = match question(&text, scorer)? {
        Ok(whole) => whole,
        Err(reason) => return Ok(unasked(text, reason)),
    };
    let words = words_read(&text, &whole, scorer)?;
    let end = words.last().map_or(0, |word| word.end);
    let mut pool = vec![whole];
    for word in &words {
        let (before, after) = (text.get(..word.start), text.get(word.end..end));
        let without = [before.unwrap_or_default().trim_end(), after.unwrap_or_default().trim_start()];
        let without: Vec<&str> = without.into_iter().filter(|part| !part.is_empty()).collect();
        pool.push(scorer.encode(&without.join(" "))?);
    }
    let mut answers = scorer.score(&pool).into_iter();
    let Some(verdict) = answers.next().transpose()? else { return Ok(unasked(text, Abstention::EmptyText)) };
    let best = verdict.topic.best().map(|(label, _)| label.clone());
    let topic_odds = |of: &Verdict| best.as_ref().map_or(0.0, |label| odds(of.topic.probability(label)));
    let mut shares = Vec::with_capacity(words.len());
    for (place, answer) in words.into_iter().zip(answers) {
        let without = answer?;
        let sentiment = sentiment_odds(&verdict) - sentiment_odds(&without);
        shares.push(WordShare { place, sentiment, topic: topic_odds(&verdict) - topic_odds(&without) });
    }
    Ok(Explanation { text, verdict, words: shares })
}

/// Nothing is more or less probable than this: a model's numbers say no more.
const PROBABILITY_MIN: f32 = 1e-5;

fn odds(probability: f32) -> f32 {
    let probability = probability.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
    (probability / (1.0 - probability)).ln()
}

fn sentiment_odds(verdict: &Verdict) -> f32 {
    let of = |label| verdict.sentiment.probability(label).max(PROBABILITY_MIN);
    (of("positive") / of("negative")).ln()
}

fn unasked(text: String, reason: Abstention) -> Explanation {
    Explanation { text, verdict: Verdict::unasked(reason), words: Vec::new() }
}

/// The words that the model reads: as many, from the start, as give it the same tokens as all of them.
fn words_read(text: &str, whole: &Encoded, scorer: &dyn Scorer) -> Result<Vec<Range<usize>>, ScoreFailure> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    for part in text.split_inclusive(char::is_whitespace) {
        let word = at..at + part.trim_end().len();
        at += part.len();
        if !word.is_empty() {
            words.push(word);
        }
    }
    words.truncate(WORDS_MAX);
    // More words never give fewer tokens: the least number that gives all is found by halving.
    let (mut few, mut enough) = (0, words.len());
    while few + 1 < enough {
        let middle = usize::midpoint(few, enough);
        let end = words.get(middle - 1).map_or(0, |word| word.end);
        if scorer.encode(text.get(..end).unwrap_or_default())?.ids == whole.ids {
            enough = middle;
        } else {
            few = middle;
        }
    }
    words.truncate(enough);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::model::StubScorer;

    fn explained(text: &str) -> Explanation {
        explain(text, &StubScorer::new()).unwrap()
    }

    fn share(explanation: &Explanation, word: &str) -> WordShare {
        explanation.words.iter().find(|share| explanation.word(share) == word).unwrap().clone()
    }

    #[test]
    fn a_word_has_what_the_answer_loses_without_it() {
        let it = explained("Acme  profit   falls after the lawsuit");
        let words: Vec<&str> = it.words.iter().map(|share| it.word(share)).collect();
        assert_eq!(words, ["Acme", "profit", "falls", "after", "the", "lawsuit"]);
        let stub = StubScorer::new();
        let scored = |text: &str| stub.score(&[stub.encode(text).unwrap()]).remove(0).unwrap();
        let without = scored("Acme falls after the lawsuit");
        let profit = share(&it, "profit");
        let ratio = |verdict: &Verdict| {
            (verdict.sentiment.probability("positive") / verdict.sentiment.probability("negative")).ln()
        };
        assert!((it.sentiment() - ratio(&it.verdict)).abs() < 1e-5);
        assert!((profit.sentiment - (ratio(&it.verdict) - ratio(&without))).abs() < 1e-5);
        assert!(profit.sentiment > 0.0 && share(&it, "falls").sentiment < 0.0);
        assert!(share(&it, "the").sentiment.abs() < 1e-6 && share(&it, "the").topic.abs() < 1e-6);
        let topic = it.verdict.topic.best().unwrap().0.clone();
        let odds = |verdict: &Verdict| {
            let p = verdict.topic.probability(&topic);
            (p / (1.0 - p)).ln()
        };
        assert!((profit.topic - (odds(&it.verdict) - odds(&without))).abs() < 1e-4);
        let without_each = [
            "profit falls after the lawsuit",
            "Acme falls after the lawsuit",
            "Acme profit after the lawsuit",
            "Acme profit falls the lawsuit",
            "Acme profit falls after lawsuit",
            "Acme profit falls after the",
        ];
        let lost = |text: &str| ratio(&it.verdict) - ratio(&scored(text));
        assert!((it.sentiment_sum() - without_each.into_iter().map(lost).sum::<f32>()).abs() < 1e-4);
    }

    #[test]
    fn only_words_that_the_model_reads_are_left_out() {
        // The stub reads 128 words.
        let long = format!("Acme surges {}", "and so on ".repeat(100));
        let it = explained(&long);
        assert_eq!(it.words.len(), 128);
        assert_eq!(it.word(it.words.last().unwrap()), "on");
        assert!(share(&it, "surges").sentiment > 0.0);
    }

    #[test]
    fn a_text_of_one_word_and_one_of_none_are_explained_too() {
        let one = explained("surges");
        assert_eq!(one.words.len(), 1);
        assert!(share(&one, "surges").sentiment > 0.0);
        let none = explained(" <br> ");
        assert_eq!((none.words.len(), none.verdict.sentiment.abstention), (0, Some(Abstention::EmptyText)));
        let foreign = explained("Las acciones de la empresa subieron después de los resultados trimestrales");
        assert_eq!((foreign.words.len(), foreign.verdict.topic.abstention), (0, Some(Abstention::UnknownLanguage)));
    }

    #[test]
    fn a_part_that_fails_is_an_error() {
        let stub = StubScorer::new().failing_on("Acme surges");
        assert!(explain("Acme surges today", &stub).is_err());
    }
}
