//! `bellwether explain`: which words moved the model's answer to a text.

use std::io::Read as _;

use console::Style;
use serde::Serialize;

use crate::cli::args::{Explain, Global};
use crate::cli::{Failure, Output, model, start_quiet_log};
use crate::event::{AnswerRecord, ModelId, TopicRecord, rounded};
use crate::model::{Explanation, Scorer as _, WordShare, explain};

/// Longer texts are cut by the model anyway.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Words in the table.
const ROWS_MAX: usize = 10;
/// From these shares on, in nats, a word is coloured, and strongly: they move the odds by a quarter, and threefold.
const MOVES: f32 = 0.22;
const MOVES_MUCH: f32 = 1.1;

/// The answer for programs.
#[derive(Serialize)]
struct Told<'a> {
    text: &'a str,
    score: f32,
    sentiment: AnswerRecord,
    topic: TopicRecord,
    words: Vec<ToldWord<'a>>,
    /// In nats, like those of the words.
    log_odds: LogOdds,
    model: &'a ModelId,
}

#[derive(Serialize)]
struct LogOdds {
    sentiment: f32,
    words_together: f32,
}

#[derive(Serialize)]
struct ToldWord<'a> {
    word: &'a str,
    /// Bytes of `text`.
    start: usize,
    end: usize,
    sentiment: f32,
    topic: f32,
}

/// Runs the command.
///
/// # Errors
/// With 65 for a text that cannot be read or answered, with 69 without a model.
pub(crate) fn run(arguments: &Explain, global: &Global) -> Result<(), Failure> {
    start_quiet_log(global)?;
    let text = if arguments.text == "-" { read()? } else { arguments.text.clone() };
    let scorer = model::open(arguments.model.as_deref(), arguments.device.0)?;
    let explanation = explain(&text, &scorer).map_err(|failure| {
        Failure::data(failure.to_string(), "shorten the text, or look at the model with `bellwether doctor`")
    })?;
    let mut output = Output::new();
    if arguments.json {
        output.json(&told(&explanation, scorer.id()))?;
    } else {
        show(&mut output, &explanation)?;
    }
    output.flush()
}

fn read() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(TEXT_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::data(format!("standard input: {error}"), "give a text in UTF-8"))?;
    Ok(text)
}

fn told<'a>(explanation: &'a Explanation, model: &'a ModelId) -> Told<'a> {
    let word = |share: &'a WordShare| ToldWord {
        word: explanation.word(share),
        start: share.place.start,
        end: share.place.end,
        sentiment: rounded(share.sentiment),
        topic: rounded(share.topic),
    };
    Told {
        text: &explanation.text,
        score: rounded(explanation.verdict.score()),
        sentiment: AnswerRecord::from(&explanation.verdict.sentiment),
        topic: TopicRecord::from(&explanation.verdict.topic),
        words: explanation.words.iter().map(word).collect(),
        log_odds: LogOdds {
            sentiment: rounded(explanation.sentiment()),
            words_together: rounded(explanation.sentiment_sum()),
        },
        model,
    }
}

fn show(output: &mut Output, explanation: &Explanation) -> Result<(), Failure> {
    let verdict = &explanation.verdict;
    for (task, answer) in [("sentiment", &verdict.sentiment), ("topic", &verdict.topic)] {
        let said = match (answer.best(), answer.abstention) {
            (Some((label, probability)), None) => format!("{label} {probability:.2}"),
            (Some((label, probability)), Some(why)) => format!("none ({}: {label} {probability:.2})", why.as_str()),
            (None, why) => format!("none ({})", why.map_or("no answer", |why| why.as_str())),
        };
        output.line(format!("{task:<10} {said}"))?;
    }
    if explanation.words.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.line(painted(explanation))?;
    output.line("")?;
    let mut by_weight: Vec<&WordShare> = explanation.words.iter().collect();
    by_weight.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    by_weight.truncate(ROWS_MAX);
    let width = by_weight.iter().map(|share| explanation.word(share).chars().count()).max().unwrap_or(0).clamp(4, 24);
    output.line(format!("{:width$}  sentiment   topic", "word"))?;
    for share in by_weight {
        let word: String = explanation.word(share).chars().take(width).collect();
        output.line(format!("{word:width$}  {:>+9.2}  {:>+6.2}", share.sentiment, share.topic))?;
    }
    output.line("")?;
    output.line(
        "Without the word, the log-odds of positive against negative, or of the topic against all others, lose so much",
    )?;
    output.line(format!(
        "(0.69 is a factor of two). Of the sentiment's {:+.2} the words explain {:+.2}, each by itself: words act together.",
        explanation.sentiment(),
        explanation.sentiment_sum()
    ))
}

fn weight(share: &WordShare) -> f32 {
    share.sentiment.abs().max(share.topic.abs())
}

/// The text, with words that make it sound worse in red and those that make it sound better in green; without colours
/// where standard output is no terminal, or `NO_COLOR` or `CLICOLOR` ask for none.
fn painted(explanation: &Explanation) -> String {
    let (mut line, mut at) = (String::new(), 0);
    for share in &explanation.words {
        line.push_str(explanation.text.get(at..share.place.start).unwrap_or_default());
        let word = explanation.word(share);
        let hue = if share.sentiment < 0.0 { Style::new().red() } else { Style::new().green() };
        match share.sentiment.abs() {
            much if much >= MOVES_MUCH => line.push_str(&hue.bold().apply_to(word).to_string()),
            some if some >= MOVES => line.push_str(&hue.apply_to(word).to_string()),
            _ => line.push_str(word),
        }
        at = share.place.end;
    }
    line.push_str(explanation.text.get(at..).unwrap_or_default());
    line
}
