//! The rules: each takes a file and returns its faults, one sentence each, beginning with `path:line`.

use super::source::Source;
use super::{
    EMPTY_NAMES, FILE_LINES_MAX, FROM_FLOOR_2, FUNCTION_LINES_MAX, OPENING_LINES_MAX, OWNED, ROOMS, Room,
    STD_FROM_FLOOR_2, STD_NEVERTHELESS,
};

fn find_room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

fn fault(source: &Source, at: usize, message: &str) -> String {
    format!("src/{}:{}: {message}", source.path, source.line(at))
}

/// Every file lies in a room of the table; `lib.rs` is the tour and lies in none.
pub fn rooms(source: &Source) -> Vec<String> {
    if source.path == "lib.rs" || find_room(source.room()).is_some() {
        return Vec::new();
    }
    vec![fault(source, 0, &format!("`{}` is no room of the table in tests/layering/mod.rs", source.room()))]
}

/// No use upward, none sideways but for what the table names.
pub fn floors(source: &Source) -> Vec<String> {
    let Some(own) = find_room(source.room()) else { return Vec::new() };
    let mut faults = Vec::new();
    for (at, used) in rooms_used(source) {
        let Some(other) = find_room(used) else { continue };
        if other.name != own.name && other.floor >= own.floor && !own.also.contains(&other.name) {
            let way = if other.floor > own.floor { "up" } else { "sideways" };
            let message =
                format!("{} (floor {}) reaches {way} to {} (floor {})", own.name, own.floor, other.name, other.floor);
            faults.push(fault(source, at, &message));
        }
    }
    faults
}

/// The rooms that a file names, by `crate::`, by `bellwether::` or by as many `super::` as lead out of its room.
fn rooms_used(source: &Source) -> Vec<(usize, &str)> {
    let mut used = Vec::new();
    let depth = source.module().len();
    for (at, first, next) in source.paths() {
        match first {
            "crate" | "bellwether" => used.extend(next.into_iter().map(|room| (at, room))),
            "super" => {
                let packed: String = source.code[at..].chars().filter(|c| !c.is_whitespace()).take(200).collect();
                let rest = packed.trim_start_matches("super::");
                let supers = (packed.len() - rest.len()) / "super::".len();
                if supers >= depth
                    && let Some(room) = ROOMS.iter().find(|room| begins_with_word(rest, room.name))
                {
                    used.push((at, room.name));
                }
            }
            _ => {}
        }
    }
    used
}

fn begins_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// An outside library stays in its room.
pub fn libraries(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, first, _) in source.paths() {
        if let Some((library, owners)) = OWNED.iter().find(|(library, _)| *library == first)
            && !owners.contains(&source.room())
        {
            faults.push(fault(source, at, &format!("`{library}` belongs to {}", owners.join(" and "))));
        }
    }
    faults
}

/// Floors 0 and 1 have no runtime, no threads, no files, no environment and no network.
pub fn purity(source: &Source) -> Vec<String> {
    if find_room(source.room()).is_none_or(|room| room.floor > 1) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (at, first, next) in source.paths() {
        if FROM_FLOOR_2.contains(&first) {
            faults.push(fault(source, at, &format!("floors 0 and 1 do without `{first}`")));
        }
        for part in next {
            let allowed = STD_NEVERTHELESS.contains(&(source.room(), part));
            if first == "std" && STD_FROM_FLOOR_2.contains(&part) && !allowed {
                faults.push(fault(source, at, &format!("floors 0 and 1 do without `std::{part}`")));
            }
        }
    }
    faults
}

/// A file and its functions fit into a head.
pub fn sizes(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    if source.lines > FILE_LINES_MAX {
        let lines = source.lines;
        let message =
            format!("{lines} lines without tests, {FILE_LINES_MAX} are allowed: split it by what it is about");
        faults.push(fault(source, 0, &message));
    }
    for (at, name, lines) in source.functions() {
        if lines > FUNCTION_LINES_MAX {
            let message = format!("`{name}` has {lines} lines of code, {FUNCTION_LINES_MAX} are allowed");
            faults.push(fault(source, at, &message));
        }
    }
    faults
}

/// No file, module or kind of thing has an empty name or a version in its name.
pub fn names(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for part in source.path.trim_end_matches(".rs").split('/') {
        if EMPTY_NAMES.contains(&part) || has_version(part) {
            faults.push(fault(source, 0, &format!("`{part}` does not say what is inside")));
        }
    }
    let mut previous = "";
    for (at, word) in source.words() {
        let declared = matches!(previous, "mod" | "struct" | "enum" | "trait" | "type" | "fn");
        let lower = word.to_lowercase();
        let kind = matches!(previous, "struct" | "enum" | "trait" | "type");
        let empty =
            if kind { EMPTY_NAMES.iter().any(|name| lower.ends_with(name)) } else { EMPTY_NAMES.contains(&word) };
        if declared && (empty || has_version(word)) {
            faults.push(fault(source, at.start, &format!("`{word}` does not say what it is")));
        }
        previous = word;
    }
    faults
}

/// Whether a name ends in `_v2` or another number.
fn has_version(name: &str) -> bool {
    name.rsplit_once("_v").is_some_and(|(_, digits)| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()))
}

/// A file opens with `//!`, and with no more than a screen's corner of it; cover pages are chapters.
pub fn opening(source: &Source) -> Vec<String> {
    let opening = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    let cover = source.path == "lib.rs" || source.path.ends_with("mod.rs");
    if opening == 0 {
        return vec![fault(source, 0, "a file opens with `//!`: what it is, why it exists, what it is not")];
    }
    if opening > OPENING_LINES_MAX && !cover {
        return vec![fault(source, 0, &format!("{opening} lines of `//!`, {OPENING_LINES_MAX} are allowed"))];
    }
    Vec::new()
}

/// No `unwrap` and no `expect` outside tests.
pub fn unwraps(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, word) in source.words() {
        let called = source.code[..at.start].trim_end().ends_with(['.', ':'])
            && source.code[at.end..].trim_start().starts_with(['(', ')', ',']);
        if called && matches!(word, "unwrap" | "expect" | "unwrap_err" | "expect_err") {
            faults.push(fault(source, at.start, &format!("`{word}` outside tests: return an error")));
        }
    }
    faults
}
