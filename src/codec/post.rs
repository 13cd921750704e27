//! Posts in: a record of the world becomes a [`Post`], or a dead letter that says which field is wrong.
//!
//! Strict about what decides (id, text, times, action), lenient about what decorates: too long an author is cut, too
//! long a link left out. The text stays as it came; cleaning makes its own copy.

use std::borrow::Cow;
use std::sync::Arc;

use crate::codec::field::{Leaf, leaves};
use crate::codec::instant::{epoch, epoch_whole, instant};
use crate::codec::trace::traceparent_of;
use crate::codec::{Pointers, SourceSettings};
use crate::event::{Action, DeadLetter, Origin, Post, Reason};
use crate::stream::Record;
use crate::time::Timestamp;

/// The most bytes of text that a post keeps; the rest is cut off.
pub const TEXT_BYTES_MAX: usize = 64 * 1_024;

/// The most symbols that a post keeps; the rest is left out.
pub const SYMBOLS_MAX: usize = 64;

const ID_BYTES_MAX: usize = 1_024;
const SYMBOL_BYTES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 256;
const URL_BYTES_MAX: usize = 2_048;
/// What follows from a post repeats its id, its link and its source, which have so many bytes at most.
pub const NAMES_BYTES_MAX: usize = ID_BYTES_MAX + URL_BYTES_MAX + NAME_BYTES_MAX;

/// Characters of a bad value that a message quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The class.
    pub reason: Reason,
    /// The field and what was expected of it.
    pub message: String,
}

impl Fault {
    fn invalid(name: &str, pointer: &str, problem: impl std::fmt::Display) -> Self {
        Self { reason: Reason::InvalidField, message: format!("field {name} at {pointer}: {problem}") }
    }

    fn missing(name: &str, pointers: &Pointers) -> Self {
        let message = format!("field {name} is missing: nothing at {}", pointers.join(", "));
        Self { reason: Reason::MissingField, message }
    }
}

/// The post in a record of an input topic. A missing id becomes `topic+partition+offset`, a missing `published_at` the
/// append time, and one in the future is pulled back to it.
///
/// # Errors
/// A dead letter of stage `score`: malformed JSON; no text (an empty one is a post); a field of the wrong type; a time
/// or an action that cannot be read; a deletion without an id.
pub fn decode_post(record: &Record, source: &SourceSettings) -> Result<Post, DeadLetter> {
    let origin =
        Origin { topic: record.partition.topic.clone(), partition: record.partition.number, offset: record.offset };
    let trace = traceparent_of(record);
    let value = record.value.as_deref().unwrap_or_default();
    read(value, source, origin, record.appended_at).map(|post| Post { traceparent: trace, ..post }).map_err(|fault| {
        DeadLetter { record: record.clone(), stage: "score", reason: fault.reason, message: fault.message }
    })
}

/// The post in line `number` (from 1) of a file of JSON lines. The line stands for a record of the source's topic,
/// partition 0, that was appended at `appended_at`.
///
/// # Errors
/// As [`decode_post`], with the field in the message.
pub fn post_from_line(line: &str, source: &SourceSettings, number: i64, appended_at: Timestamp) -> Result<Post, Fault> {
    let origin = Origin { topic: source.topic.clone(), partition: 0, offset: number };
    read(line.as_bytes(), source, origin, appended_at)
}

fn read(value: &[u8], source: &SourceSettings, origin: Origin, appended_at: Timestamp) -> Result<Post, Fault> {
    if value.is_empty() {
        return Err(Fault { reason: Reason::Malformed, message: "the record has no value".to_owned() });
    }
    let mut fields = Fields::read(value, source)?;
    let action = fields.action()?;
    let id = match fields.id()? {
        Some(id) => id,
        None if action == Action::Deleted => return Err(Fault::missing("id", &source.fields.id)),
        None => Arc::from(origin.to_string()),
    };
    let updated_at = fields.time(Slot::UpdatedAt)?;
    let published_at = fields.time(Slot::PublishedAt)?.unwrap_or(appended_at);
    let (text, truncated) = if action == Action::Deleted { (String::new(), false) } else { fields.text()? };
    let (symbols, symbols_dropped) = fields.symbols()?;
    let url = fields.name(Slot::Url, usize::MAX)?.filter(|url| url.len() <= URL_BYTES_MAX);
    Ok(Post {
        id,
        revision: updated_at.unwrap_or(appended_at),
        action,
        text,
        truncated,
        published_at: published_at.min(appended_at),
        appended_at,
        lang: fields.name(Slot::Lang, NAME_BYTES_MAX)?,
        source: fields.name(Slot::Source, NAME_BYTES_MAX)?.map_or_else(|| source.topic.clone(), Arc::from),
        kind: source.kind.clone(),
        author: fields.name(Slot::Author, NAME_BYTES_MAX)?,
        url,
        symbols,
        symbols_dropped,
        origin,
        traceparent: None,
    })
}

/// The fields of a post, in the order of [`Fields::NAMES`].
#[derive(Clone, Copy)]
enum Slot {
    Id,
    Text,
    PublishedAt,
    UpdatedAt,
    Lang,
    Source,
    Author,
    Url,
    Symbols,
    Action,
}

/// What the mapping found: per field its pointers and what stood there.
struct Fields<'a, 's> {
    source: &'s SourceSettings,
    found: Vec<Option<Leaf<'a>>>,
}

impl<'a, 's> Fields<'a, 's> {
    const NAMES: [&'static str; 10] =
        ["id", "text", "published_at", "updated_at", "lang", "source", "author", "url", "symbols", "action"];

    const SLOTS: [Slot; 10] = [
        Slot::Id,
        Slot::Text,
        Slot::PublishedAt,
        Slot::UpdatedAt,
        Slot::Lang,
        Slot::Source,
        Slot::Author,
        Slot::Url,
        Slot::Symbols,
        Slot::Action,
    ];

    fn read(value: &'a [u8], source: &'s SourceSettings) -> Result<Self, Fault> {
        let slots = Self::SLOTS.iter().flat_map(|slot| pointers(source, *slot));
        let wanted: Vec<&str> = slots.map(String::as_str).collect();
        let found = leaves(value, &wanted)
            .map_err(|error| Fault { reason: Reason::Malformed, message: format!("not one JSON object: {error}") })?;
        Ok(Self { source, found })
    }

    /// The leaves of a field that are there, with their pointers.
    fn take(&mut self, slot: Slot) -> impl Iterator<Item = (&'s str, Leaf<'a>)> {
        let before = Self::SLOTS.iter().take(slot as usize).map(|slot| pointers(self.source, *slot).len()).sum();
        let pointers = pointers(self.source, slot);
        let leaves = self.found.iter_mut().skip(before).take(pointers.len()).map(Option::take);
        let there: Vec<_> =
            pointers.iter().zip(leaves).filter_map(|(pointer, leaf)| Some((pointer.as_str(), leaf?))).collect();
        there.into_iter()
    }

    fn name_of(slot: Slot) -> &'static str {
        Self::NAMES.get(slot as usize).copied().unwrap_or_default()
    }

    fn id(&mut self) -> Result<Option<Arc<str>>, Fault> {
        let Some((pointer, leaf)) = self.take(Slot::Id).next() else { return Ok(None) };
        let id = match leaf {
            Leaf::Text(text) => text,
            Leaf::Whole(number) => Cow::Owned(number.to_string()),
            Leaf::Large(number) => Cow::Owned(number.to_string()),
            other => return Err(expected("id", pointer, "a text or a whole number", &other)),
        };
        if id.len() > ID_BYTES_MAX {
            return Err(Fault::invalid("id", pointer, format_args!("longer than {ID_BYTES_MAX} bytes")));
        }
        Ok(Some(id.trim()).filter(|id| !id.is_empty()).map(Arc::from))
    }

    fn action(&mut self) -> Result<Action, Fault> {
        let Some((pointer, leaf)) = self.take(Slot::Action).next() else { return Ok(Action::Created) };
        let Leaf::Text(text) = &leaf else { return Err(expected("action", pointer, "a text", &leaf)) };
        let known =
            [("created", Action::Created), ("updated", Action::Updated), ("deleted", Action::Deleted)].into_iter();
        known.into_iter().find(|(name, _)| text.trim().eq_ignore_ascii_case(name)).map(|(_, action)| action).ok_or_else(
            || {
                Fault::invalid(
                    "action",
                    pointer,
                    format_args!("expected created, updated or deleted, found {}", quoted(text)),
                )
            },
        )
    }

    fn time(&mut self, slot: Slot) -> Result<Option<Timestamp>, Fault> {
        const FORMS: &str = "a time (RFC 3339, RFC 2822 or seconds, milliseconds or microseconds since 1970)";
        let Some((pointer, leaf)) = self.take(slot).next() else { return Ok(None) };
        let name = Self::name_of(slot);
        let (at, found) = match &leaf {
            Leaf::Text(text) if text.trim().is_empty() => return Ok(None),
            Leaf::Text(text) => (instant(text), quoted(text)),
            Leaf::Whole(number) => (epoch_whole(*number), number.to_string()),
            Leaf::Large(number) => (None, number.to_string()),
            Leaf::Real(number) => (epoch(*number), number.to_string()),
            other => return Err(expected(name, pointer, FORMS, other)),
        };
        at.map(Some).ok_or_else(|| Fault::invalid(name, pointer, format_args!("expected {FORMS}, found {found}")))
    }

    /// All texts that are there, joined by a blank line, and whether some of it was cut off; a title that the text
    /// repeats is not said twice.
    fn text(&mut self) -> Result<(String, bool), Fault> {
        let (mut joined, mut truncated): (Option<String>, bool) = (None, false);
        for (pointer, leaf) in self.take(Slot::Text) {
            let Leaf::Text(text) = &leaf else { return Err(expected("text", pointer, "a text", &leaf)) };
            truncated |= text.len() > TEXT_BYTES_MAX;
            let text = head(text, TEXT_BYTES_MAX);
            match &mut joined {
                None => joined = Some(text.to_owned()),
                Some(whole) if whole.trim().is_empty() || text.trim_start().starts_with(whole.trim()) => {
                    text.clone_into(whole);
                }
                Some(_) if text.trim().is_empty() => {}
                Some(whole) => {
                    whole.push_str("\n\n");
                    whole.push_str(text);
                }
            }
        }
        let mut text = joined.ok_or_else(|| Fault::missing("text", &self.source.fields.text))?;
        truncated |= text.len() > TEXT_BYTES_MAX;
        text.truncate(head(&text, TEXT_BYTES_MAX).len());
        Ok((text, truncated))
    }

    /// A text that decorates; numbers count as text (an author's id), an empty one is none.
    fn name(&mut self, slot: Slot, bytes_max: usize) -> Result<Option<String>, Fault> {
        let Some((pointer, leaf)) = self.take(slot).next() else { return Ok(None) };
        let text = match leaf {
            Leaf::Text(text) => text,
            Leaf::Whole(number) => Cow::Owned(number.to_string()),
            Leaf::Large(number) => Cow::Owned(number.to_string()),
            other => return Err(expected(Self::name_of(slot), pointer, "a text", &other)),
        };
        let text = head(text.trim(), bytes_max).trim_end();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// The symbols and how many more were read; a longer list is not read to its end.
    fn symbols(&mut self) -> Result<(Vec<String>, usize), Fault> {
        let (mut symbols, mut dropped) = (Vec::new(), 0);
        let Some((pointer, leaf)) = self.take(Slot::Symbols).next() else { return Ok((symbols, dropped)) };
        let mut add = |text: &str| {
            let text = text.trim();
            if text.is_empty() {
                return;
            }
            if text.len() <= SYMBOL_BYTES_MAX && symbols.len() < SYMBOLS_MAX {
                symbols.push(text.to_owned());
            } else {
                dropped += 1;
            }
        };
        match leaf {
            Leaf::Text(text) => text.split(',').for_each(add),
            Leaf::List(elements) => {
                for element in &elements {
                    match element {
                        Leaf::Null => {}
                        Leaf::Text(text) => add(text),
                        Leaf::Whole(number) => add(&number.to_string()),
                        other => return Err(expected("symbols", pointer, "texts in the array", other)),
                    }
                }
            }
            other => return Err(expected("symbols", pointer, "an array of texts or one text", &other)),
        }
        Ok((symbols, dropped))
    }
}

fn pointers(source: &SourceSettings, slot: Slot) -> &Pointers {
    let fields = &source.fields;
    match slot {
        Slot::Id => &fields.id,
        Slot::Text => &fields.text,
        Slot::PublishedAt => &fields.published_at,
        Slot::UpdatedAt => &fields.updated_at,
        Slot::Lang => &fields.lang,
        Slot::Source => &fields.source,
        Slot::Author => &fields.author,
        Slot::Url => &fields.url,
        Slot::Symbols => &fields.symbols,
        Slot::Action => &fields.action,
    }
}

/// The longest start of `text` that has at most `bytes_max` bytes and ends between two characters.
fn head(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn expected(name: &str, pointer: &str, what: &str, found: &Leaf<'_>) -> Fault {
    Fault::invalid(name, pointer, format_args!("expected {what}, found {}", found.kind()))
}

fn quoted(text: &str) -> String {
    let start: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if start.len() < text.len() { format!("`{start}…`") } else { format!("`{start}`") }
}

#[cfg(test)]
#[path = "post_tests.rs"]
mod tests;
