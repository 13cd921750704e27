//! A scorer without a model: a handful of good and bad words, a handful of words for topics.
//!
//! For tests, for the rule cases of pipeline files and for trying a pipeline before a model is there. It is
//! deterministic and honest about being no model: its name is `stub`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use crate::event::{ModelId, Verdict};
use crate::model::{BatchStats, Calibration, Encoded, ScoreFailure, ScoreStats, Scorer, text_hash};

const SENTIMENTS: [&str; 3] = ["negative", "neutral", "positive"];
const GOOD: [&str; 14] = [
    "beat", "beats", "record", "surge", "surges", "soars", "gains", "rises", "upgrade", "upgraded", "strong", "profit",
    "wins", "rally",
];
const BAD: [&str; 16] = [
    "miss",
    "misses",
    "falls",
    "plunges",
    "drops",
    "loss",
    "losses",
    "cut",
    "cuts",
    "weak",
    "downgrade",
    "downgraded",
    "lawsuit",
    "recall",
    "fraud",
    "bankruptcy",
];
const TOPICS: [(&str, &[&str]); 4] = [
    ("earnings", &["earnings", "profit", "revenue", "quarter", "beat", "beats", "miss", "misses", "guidance"]),
    ("legal", &["lawsuit", "court", "fraud", "recall", "probe"]),
    ("m-and-a", &["merger", "acquires", "acquisition", "takeover", "bid"]),
    ("other", &[]),
];
const WORDS_MAX: usize = 128;

/// Answers by counting words.
#[derive(Debug)]
pub struct StubScorer {
    id: ModelId,
    languages: Vec<String>,
    sentiment: Calibration,
    topic: Calibration,
    lexicon: HashMap<u32, [f32; 7]>,
    /// What makes a version's words and answers its own.
    salt: u32,
    failing: HashSet<u64>,
    stats: Mutex<ScoreStats>,
}

impl StubScorer {
    /// A stub that fails on nothing, knows English and never abstains.
    #[must_use]
    pub fn new() -> Self {
        let topics: Vec<&str> = TOPICS.iter().map(|(label, _)| *label).collect();
        Self {
            id: ModelId { name: "stub".into(), version: "0".into(), variant: "words".into() },
            languages: vec!["en".to_owned()],
            sentiment: Calibration::new("sentiment", &SENTIMENTS, 1.0, 0.0),
            topic: Calibration::new("topic", &topics, 1.0, 0.0),
            lexicon: lexicon(0),
            salt: 0,
            failing: HashSet::new(),
            stats: Mutex::default(),
        }
    }

    /// The same under another version, to see a reload: it is a little more or less sure, and has ids of its own for words.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        self.id.version = Arc::from(version);
        self.salt = word_id(version, 0);
        self.lexicon = lexicon(self.salt);
        self
    }

    /// The same, abstaining from a sentiment below this probability.
    #[must_use]
    pub fn abstaining_below(mut self, probability: f32) -> Self {
        self.sentiment = Calibration::new("sentiment", &SENTIMENTS, 1.0, probability);
        self
    }

    /// The same, knowing these languages; none of them stands for any.
    #[must_use]
    pub fn knowing(mut self, languages: &[&str]) -> Self {
        self.languages = languages.iter().map(|language| (*language).to_owned()).collect();
        self
    }

    /// The same, failing whenever it scores this cleaned text.
    #[must_use]
    pub fn failing_on(mut self, cleaned: &str) -> Self {
        self.failing.insert(text_hash(cleaned));
        self
    }

    fn answer(&self, text: &Encoded) -> Result<Verdict, ScoreFailure> {
        if self.failing.contains(&text.hash) {
            return Err(ScoreFailure::Inference("the stub was told to fail on it".to_owned()));
        }
        // A quiet text is neutral (0.8), one good word tips it (0.7), many words leave no doubt.
        let surety = f32::from(self.salt.to_le_bytes()[0]) / 1_000.0;
        let mut logits = [0.0, 2.0 + surety, 0.0, 0.0, 0.0, 0.0, 1.0];
        for weights in text.ids.iter().filter_map(|id| self.lexicon.get(id)) {
            for (logit, weight) in logits.iter_mut().zip(weights) {
                *logit += weight;
            }
        }
        let (sentiment, topic) = logits.split_at(SENTIMENTS.len());
        Ok(Verdict { sentiment: self.sentiment.answer(sentiment)?, topic: self.topic.answer(topic)? })
    }
}

impl Default for StubScorer {
    fn default() -> Self {
        Self::new()
    }
}

impl Scorer for StubScorer {
    fn id(&self) -> &ModelId {
        &self.id
    }

    fn device(&self) -> &str {
        "stub"
    }

    fn languages(&self) -> &[String] {
        &self.languages
    }

    fn encode(&self, cleaned: &str) -> Result<Encoded, ScoreFailure> {
        let words = cleaned.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let ids = words.take(WORDS_MAX).map(|word| word_id(&word.to_lowercase(), self.salt)).collect();
        Ok(Encoded { ids, hash: text_hash(cleaned) })
    }

    fn score(&self, pool: &[Encoded]) -> Vec<Result<Verdict, ScoreFailure>> {
        let longest = pool.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.cache_misses += pool.len() as u64;
        if !pool.is_empty() {
            stats.note(BatchStats {
                rows: pool.len(),
                text_tokens: pool.iter().map(|text| text.ids.len()).sum(),
                padded_tokens: pool.len() * longest,
                seconds: 0.0,
            });
        }
        drop(stats);
        pool.iter().map(|text| self.answer(text)).collect()
    }

    fn take_stats(&self) -> ScoreStats {
        std::mem::take(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of a hash is a hash")]
fn word_id(word: &str, salt: u32) -> u32 {
    text_hash(word) as u32 ^ salt
}

/// Word → what it adds to the seven logits: three of sentiment, four of topic.
fn lexicon(salt: u32) -> HashMap<u32, [f32; 7]> {
    let mut weights: HashMap<u32, [f32; 7]> = HashMap::new();
    let mut add = |word: &str, place: usize| {
        if let Some(weight) = weights.entry(word_id(word, salt)).or_default().get_mut(place) {
            *weight += 3.0;
        }
    };
    BAD.iter().for_each(|word| add(word, 0));
    GOOD.iter().for_each(|word| add(word, 2));
    for (place, (_, words)) in TOPICS.iter().enumerate() {
        words.iter().for_each(|word| add(word, SENTIMENTS.len() + place));
    }
    weights
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn verdict(stub: &StubScorer, text: &str) -> Result<Verdict, ScoreFailure> {
        stub.score(&[stub.encode(text).unwrap()]).remove(0)
    }

    #[test]
    fn words_decide_sentiment_and_topic() {
        let stub = StubScorer::new();
        let good = verdict(&stub, "Acme beats forecasts, record profit").unwrap();
        assert_eq!(good.sentiment.label().map(AsRef::as_ref), Some("positive"));
        assert_eq!(good.topic.label().map(AsRef::as_ref), Some("earnings"));
        let bad = verdict(&stub, "Acme plunges on a fraud lawsuit").unwrap();
        assert!(bad.score() < -0.5);
        assert_eq!(bad.topic.label().map(AsRef::as_ref), Some("legal"));
        let quiet = verdict(&stub, "Acme opens an office").unwrap();
        assert_eq!(quiet.sentiment.label().map(AsRef::as_ref), Some("neutral"));
        assert_eq!(quiet.topic.label().map(AsRef::as_ref), Some("other"));
    }

    #[test]
    fn it_fails_on_the_text_it_was_told_to_and_on_no_other() {
        let stub = StubScorer::new().failing_on("poison");
        let pool = ["fine", "poison", "fine too"].map(|text| stub.encode(text).unwrap());
        let results = stub.score(&pool);
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(stub.take_stats().cache_misses, 3);
        assert_eq!(stub.take_stats(), ScoreStats::default());
    }

    #[test]
    fn a_version_answers_in_its_own_way_and_not_what_another_was_asked() {
        let [one, two] = ["1", "2"].map(|version| StubScorer::new().with_version(version));
        let text = "Acme beats forecasts, record profit";
        let (of_one, of_two) = (verdict(&one, text).unwrap(), verdict(&two, text).unwrap());
        assert_eq!(of_one.sentiment.label(), of_two.sentiment.label());
        assert_ne!(of_one, of_two);
        let mixed = two.score(&[one.encode(text).unwrap()]).remove(0).unwrap();
        assert_ne!(mixed, of_two);
    }

    #[test]
    fn it_abstains_below_the_threshold() {
        let stub = StubScorer::new().abstaining_below(0.99);
        let quiet = verdict(&stub, "Acme opens an office").unwrap();
        assert_eq!(quiet.sentiment.abstention, Some(crate::event::Abstention::LowConfidence));
        assert_eq!(quiet.sentiment.best().map(|(label, _)| label.to_string()), Some("neutral".to_owned()));
    }
}
