//! One dead letter for people: its headers, its bytes as text or hexadecimal, and what is wrong with it.

use serde::Serialize;

use crate::cli::{Failure, Output};
use crate::codec::{Cut, Letter};
use crate::pipeline::letters::Outlook;
use crate::time::Timestamp;

/// Bytes of a value that are printed.
const PRINTED_MAX: usize = 4_096;
/// Bytes on a line of hexadecimal.
const HEX_BYTES: usize = 16;

/// Bytes as JSON can say them.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Bytes {
    Text(String),
    Hex(String),
}

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    /// On one line.
    fn line(&self) -> String {
        match self {
            Self::Text(text) => visible(text),
            Self::Hex(hex) => format!("0x{hex}"),
        }
    }
}

/// What is shown of a letter; `--json` prints it.
#[derive(Serialize)]
pub(super) struct Shown {
    id: String,
    written_at: Timestamp,
    stage: String,
    reason: &'static str,
    message: String,
    /// What would become of it by the present file.
    now: &'static str,
    /// Why, where it would be refused again.
    now_message: Option<String>,
    cut: Cut,
    key: Option<Bytes>,
    headers: Vec<(String, Option<Bytes>)>,
    value: Option<Bytes>,
}

impl Shown {
    pub(super) fn of(letter: &Letter, outlook: &Outlook) -> Self {
        let bytes = |bytes: Option<&[u8]>| bytes.map(Bytes::of);
        let now_message = match outlook {
            Outlook::Refused(reason, message) => Some(format!("{reason}: {message}")),
            Outlook::Readable | Outlook::Replayed | Outlook::Cut | Outlook::NotScorable | Outlook::Unread => None,
        };
        Self {
            id: letter.origin().to_string(),
            written_at: letter.written_at(),
            stage: letter.stage.clone(),
            reason: letter.reason.as_str(),
            message: letter.message.clone(),
            now: outlook.as_str(),
            now_message,
            cut: letter.cut,
            key: bytes(letter.record.key.as_deref()),
            headers: letter.record.headers.iter().map(|(name, value)| (name.to_owned(), bytes(value))).collect(),
            value: bytes(letter.record.value.as_deref()),
        }
    }

    pub(super) fn tell(&self, output: &mut Output, letter: &Letter) -> Result<(), Failure> {
        let line = |bytes: &Option<Bytes>| bytes.as_ref().map_or_else(|| "(none)".to_owned(), Bytes::line);
        output.line(format!("record   {}", self.id))?;
        output.line(format!("written  {} by stage {}", self.written_at, visible(&self.stage)))?;
        output.line(format!("reason   {}: {}", self.reason, visible(&self.message)))?;
        let now = match self.now {
            "readable" => "it can be read now: `dead-letters replay` sends it",
            "replayed" => "it was sent again already",
            "cut" => "it was cut, so it is never sent again",
            "not_scorable" => "it can be read, but the model failed on it: --reason not_scorable sends it",
            "unread" => "this pipeline does not read its topic",
            _ => "it still cannot be read",
        };
        let why = self.now_message.as_ref().map(|why| format!(": {}", visible(why))).unwrap_or_default();
        output.line(format!("now      {now}{why}"))?;
        let from = |bytes: Option<usize>| bytes.map(|bytes| format!(", cut from {bytes} bytes")).unwrap_or_default();
        output.line(format!("key      {}{}", line(&self.key), from(self.cut.key_from)))?;
        for (name, value) in &self.headers {
            output.line(format!("header   {}: {}", visible(name), line(value)))?;
        }
        if self.cut.headers > 0 {
            output.line(format!("header   … {} more, which are left out", self.cut.headers))?;
        }
        let value = letter.record.value.as_deref().unwrap_or_default();
        let cut = from(self.cut.value_from);
        let none = if letter.record.value.is_none() { " (none)" } else { "" };
        output.line(format!("value    {} bytes{cut}{none}", value.len()))?;
        for line in printed(value) {
            output.line(line)?;
        }
        Ok(())
    }
}

/// The beginning of a value: its lines, or a table of bytes.
fn printed(value: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = if let Ok(text) = std::str::from_utf8(value) {
        crate::clean::head(text, PRINTED_MAX).lines().map(visible).collect()
    } else {
        let rows = value.get(..PRINTED_MAX.min(value.len())).unwrap_or_default().chunks(HEX_BYTES);
        rows.zip((0..).step_by(HEX_BYTES)).map(|(row, at)| hex_line(at, row)).collect()
    };
    if value.len() > PRINTED_MAX {
        lines.push(format!("… {} bytes more; --raw writes them all", value.len() - PRINTED_MAX));
    }
    lines
}

fn hex_line(at: usize, row: &[u8]) -> String {
    let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String = row.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect();
    format!("{at:08x}  {:<47}  {text}", hex.join(" "))
}

/// A text of others on a line of a terminal: what would steer it, turn the line around or be invisible is escaped.
pub(super) fn visible(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e01ef}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hides(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_text_or_as_hexadecimal() {
        assert_eq!(printed(b"{\"a\":\n1}"), ["{\"a\":", "1}"]);
        let lines = printed(b"\xff\x00plain text of some length");
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines.first().map(String::as_str),
            Some("00000000  ff 00 70 6c 61 69 6e 20 74 65 78 74 20 6f 66 20  ..plain.text.of.")
        );
        let long = printed(&vec![b'a'; PRINTED_MAX + 5]);
        assert_eq!(long.last().map(String::as_str), Some("… 5 bytes more; --raw writes them all"));
    }

    #[test]
    fn what_steers_a_terminal_or_turns_a_line_around_is_escaped() {
        assert_eq!(visible("a\x1b[2J\u{202e}b\u{200b}é"), "a\\u{1b}[2J\\u{202e}b\\u{200b}é");
        let hidden = ['\u{ad}', '\u{61c}', '\u{180e}', '\u{2028}', '\u{2029}', '\u{2066}', '\u{feff}', '\u{e0041}'];
        assert_eq!(visible(&String::from_iter(hidden)), hidden.map(|c| c.escape_default().to_string()).concat());
    }
}
