//! What a model is asked about a text, or why it is not: the one rule for posts, filters and evaluations.

use crate::clean;
use crate::event::Abstention;
use crate::model::{Encoded, ScoreFailure, Scorer};

/// What `scorer` is asked about a cleaned text. A text of which nothing is left, or in a language that the model does
/// not know, is no question: the abstention says why.
///
/// # Errors
/// As [`Scorer::encode`].
pub fn question(cleaned: &str, scorer: &dyn Scorer) -> Result<Result<Encoded, Abstention>, ScoreFailure> {
    if cleaned.is_empty() {
        return Ok(Err(Abstention::EmptyText));
    }
    let known = scorer.languages();
    if !known.is_empty() && clean::foreign(cleaned, known).is_some() {
        return Ok(Err(Abstention::UnknownLanguage));
    }
    scorer.encode(cleaned).map(Ok)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::model::StubScorer;

    #[test]
    fn an_empty_text_and_a_foreign_one_are_no_questions() {
        let stub = StubScorer::new();
        let asked = |text: &str| question(text, &stub).unwrap();
        assert_eq!(asked(""), Err(Abstention::EmptyText));
        let foreign = "Las acciones de la empresa subieron después de los resultados trimestrales";
        assert_eq!(asked(foreign), Err(Abstention::UnknownLanguage));
        assert_eq!(asked("Acme falls"), Ok(stub.encode("Acme falls").unwrap()));
        let any = StubScorer::new().knowing(&[]);
        assert!(question(foreign, &any).unwrap().is_ok(), "a model that names no language knows any");
    }
}
