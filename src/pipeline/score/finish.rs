//! The second half of scoring a pool: ask the model, and make the records.

use crate::event::{DeadLetter, Reason, ScoredPost, Verdict};
use crate::model::Encoded;
use crate::pipeline::limit::Fate;
use crate::pipeline::score::outputs::Finding;
use crate::pipeline::score::{Draft, Prepared, Routes};
use crate::stream::{Batch, Row};
use crate::time::Clock;

/// What is said about a committed row of the score stage.
#[derive(Debug, Clone, PartialEq)]
pub enum ScoreNote {
    /// A post was scored.
    Scored(Box<ScoredNote>),
    /// A record became a dead letter.
    Dead(Reason, String),
    /// Time passed.
    Tick,
}

impl Fate for Row<ScoreNote> {
    fn dead(&self) -> Option<(Reason, &str)> {
        match &self.note {
            ScoreNote::Dead(reason, message) => Some((*reason, message)),
            ScoreNote::Scored(_) | ScoreNote::Tick => None,
        }
    }
}

/// A scored post, and what was left out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredNote {
    /// The post.
    pub scored: ScoredPost,
    /// Symbols and instruments that were left out because there were too many.
    pub dropped: usize,
    /// What the model was asked.
    pub tokens: Option<Encoded>,
}

/// Scores a prepared pool and makes its records.
///
/// # Errors
/// The reason to halt: the model fails on texts that it is known to answer.
pub fn finish(prepared: Prepared, routes: &Routes, clock: &dyn Clock) -> Result<Batch<Row<ScoreNote>>, String> {
    let Prepared { scorer, batch } = prepared;
    let pool: Vec<_> = batch
        .rows()
        .filter_map(|draft| match draft {
            Draft::Post(draft) => draft.question.as_ref().ok().cloned(),
            Draft::Dead(_) => None,
        })
        .collect();
    let verdicts = if pool.is_empty() { Vec::new() } else { scorer.score(&pool) };
    if let Some(broken) = verdicts.iter().filter_map(|verdict| verdict.as_ref().err()).find(|it| !it.is_of_text()) {
        return Err(broken.to_string());
    }
    let mut verdicts = verdicts.into_iter();
    let model = scorer.id().clone();
    let scored_at = clock.now();
    Ok(batch.map(|draft| {
        let draft = match draft {
            Draft::Post(draft) => draft,
            Draft::Dead(letter) => return dead(&letter, routes),
        };
        let verdict = match &draft.question {
            Err(abstention) => Ok(Verdict::unasked(*abstention)),
            Ok(_) => match verdicts.next() {
                Some(Ok(verdict)) => Ok(verdict),
                Some(Err(failure)) => Err(failure.to_string()),
                None => Err("the model gave no answer".to_owned()),
            },
        };
        match verdict {
            Ok(verdict) => {
                let finding = Finding {
                    post: &draft.post,
                    text: &draft.text,
                    lang: draft.lang,
                    links: &draft.links,
                    verdict: &verdict,
                    model: &model,
                    scored_at,
                };
                let (scored, outputs) = routes.scored(&finding);
                let (dropped, tokens) = (draft.dropped, draft.question.ok());
                Row { outputs, note: ScoreNote::Scored(Box::new(ScoredNote { scored, dropped, tokens })) }
            }
            Err(message) => {
                let letter = DeadLetter { record: draft.record, stage: "score", reason: Reason::NotScorable, message };
                dead(&letter, routes)
            }
        }
    }))
}

fn dead(letter: &DeadLetter, routes: &Routes) -> Row<ScoreNote> {
    let note = ScoreNote::Dead(letter.reason, letter.message.clone());
    Row { outputs: vec![routes.dead_letter(letter)], note }
}
