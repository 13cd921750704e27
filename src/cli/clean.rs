//! `bellwether clean`: JSON lines in, the same lines with a cleaned `text` out. What the trainer reads came through it.

use crate::cli::args::Clean;
use crate::cli::{Failure, Input, Output, Row};

/// Runs the command.
///
/// # Errors
/// With 65 at the first line that is no object with a text.
pub(crate) fn run(arguments: &Clean) -> Result<(), Failure> {
    let mut input = Input::open(arguments.input.as_deref())?;
    let mut output = Output::new();
    while let Some((number, mut row)) = next_row(&mut input)? {
        let text = text_of(&row, &input, number)?;
        row.set("text", &crate::clean::clean(&text))?;
        output.json(&row)?;
        if !input.has_more_at_hand() {
            output.flush()?;
        }
    }
    output.flush()
}

/// The next object with the number of its line.
pub(super) fn next_row(input: &mut Input) -> Result<Option<(usize, Row)>, Failure> {
    let Some((number, text)) = input.next_line()? else { return Ok(None) };
    Row::read(input, number, &text).map(|row| Some((number, row)))
}

/// The text of a row.
pub(super) fn text_of(row: &Row, input: &Input, number: usize) -> Result<String, Failure> {
    row.text("text").ok_or_else(|| {
        let remedy = "each line needs \"text\": \"…\"; rename the field that holds it";
        input.bad(number, "the field `text` is missing or not a text", remedy)
    })
}
