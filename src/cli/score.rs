//! `bellwether score`: JSON lines in, the same lines with the model's answers out. Lines that are at hand are scored
//! together, so a file goes fast and a single line is not kept waiting.

use serde::Serialize;

use crate::clean::clean;
use crate::cli::args::{Global, Score};
use crate::cli::clean::{next_row, text_of};
use crate::cli::{Failure, Input, Output, Row, model, start_quiet_log};
use crate::event::{Abstention, AnswerRecord, ModelId, TopicRecord, Verdict};
use crate::model::{Encoded, ScoreFailure, Scorer, question};

/// Lines that are sorted by length and scored together.
const POOL_LINES: usize = 1_024;

/// A line on its way.
struct Asked {
    number: usize,
    row: Row,
    question: Result<Encoded, Abstention>,
}

/// What is put into a line.
#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    version: &'a str,
    variant: &'a str,
}

/// Runs the command.
///
/// # Errors
/// With 65 at a line that is no object with a text, or whose text the model cannot read; with 69 without a model.
pub(crate) fn run(arguments: &Score, global: &Global) -> Result<(), Failure> {
    start_quiet_log(global)?;
    let mut input = Input::open(arguments.input.as_deref())?;
    let scorer = model::open(arguments.model.as_deref(), arguments.device.0)?;
    let mut output = Output::new();
    let mut pool = Vec::with_capacity(POOL_LINES);
    loop {
        let asked = next(&mut input, &scorer);
        let is_last = !matches!(asked, Ok(Some(_)));
        let bad = match asked {
            Ok(asked) => {
                pool.extend(asked);
                None
            }
            Err(failure) => Some(failure),
        };
        if is_last || pool.len() == POOL_LINES || !input.has_more_at_hand() {
            // The lines before a bad one are answered; where that fails too, it is the earlier fault.
            let answered = answer(std::mem::take(&mut pool), &scorer, &input, &mut output);
            output.flush()?;
            answered?;
        }
        if is_last {
            return bad.map_or(Ok(()), Err);
        }
    }
}

/// The next line with what the model is asked about it; nothing at the end.
fn next(input: &mut Input, scorer: &dyn Scorer) -> Result<Option<Asked>, Failure> {
    let Some((number, row)) = next_row(input)? else { return Ok(None) };
    let text = clean(&text_of(&row, input, number)?);
    let question = question(&text, scorer).map_err(|failure| unscorable(input, number, &failure))?;
    Ok(Some(Asked { number, row, question }))
}

fn answer(pool: Vec<Asked>, scorer: &dyn Scorer, input: &Input, output: &mut Output) -> Result<(), Failure> {
    let questions: Vec<Encoded> = pool.iter().filter_map(|asked| asked.question.clone().ok()).collect();
    let mut answers = scorer.score(&questions).into_iter();
    for Asked { number, mut row, question } in pool {
        let verdict = match question {
            Err(reason) => Verdict::unasked(reason),
            Ok(_) => match answers.next() {
                Some(Ok(verdict)) => verdict,
                Some(Err(failure)) => return Err(unscorable(input, number, &failure)),
                None => return Err(Failure::internal("the model gave fewer answers than it was asked questions")),
            },
        };
        put(&mut row, &verdict, scorer.id())?;
        output.json(&row)?;
    }
    Ok(())
}

fn put(row: &mut Row, verdict: &Verdict, id: &ModelId) -> Result<(), Failure> {
    row.set("sentiment", &AnswerRecord::from(&verdict.sentiment))?;
    row.set("topic", &TopicRecord::from(&verdict.topic))?;
    row.set("model", &Model { name: &id.name, version: &id.version, variant: &id.variant })
}

fn unscorable(input: &Input, number: usize, failure: &ScoreFailure) -> Failure {
    input.bad(number, failure.to_string(), "take the line out, or shorten its text")
}
