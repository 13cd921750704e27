//! A Rust file as the rules see it: its code without comments, without what is quoted, without its tests. A scanner of
//! characters, not a parser: it knows just enough of the language for the rules, and nothing about macros.

use std::ops::Range;

/// One file below `src/`.
pub struct Source {
    /// Its path below `src/`, with slashes.
    pub path: String,
    /// Its text as it is.
    pub text: String,
    /// Its code: comments, strings and items under `#[cfg(test)]` are blank, every line keeps its place.
    pub code: String,
    /// Its number of lines, those under `#[cfg(test)]` left out.
    pub lines: usize,
    test_modules: Vec<TestModule>,
}

/// A module for tests only that is a file of its own.
enum TestModule {
    /// Declared by `mod name;`: below the file that declares it.
    Below(String),
    /// Named by `#[path]`: beside that file.
    Beside(String),
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let mut code = blank_quoted(text);
        let (test_modules, test_lines) = blank_tests(&mut code, text);
        let lines = text.lines().count() - test_lines;
        Self { path: path.to_owned(), text: text.to_owned(), code: code.into_iter().collect(), lines, test_modules }
    }

    /// The room that the file lies in: the first part of its path.
    pub fn room(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The module path: `kafka/source.rs` is `["kafka", "source"]`, `kafka/mod.rs` is `["kafka"]`.
    pub fn module(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self.path.trim_end_matches(".rs").split('/').collect();
        if parts.last() == Some(&"mod") || self.path == "lib.rs" {
            parts.pop();
        }
        parts
    }

    /// Modules that this file declares for tests only, as module paths joined by `/`.
    pub fn test_modules(&self) -> Vec<String> {
        let own = self.module().join("/");
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let place = |module: &TestModule| match module {
            TestModule::Below(name) => format!("{own}/{name}").trim_start_matches('/').to_owned(),
            TestModule::Beside(name) => format!("{folder}/{name}").trim_start_matches('/').to_owned(),
        };
        self.test_modules.iter().map(place).collect()
    }

    /// Whether this file is the given module or lies below it.
    pub fn lies_in(&self, module: &str) -> bool {
        let own = self.module().join("/");
        own == module || own.starts_with(&format!("{module}/"))
    }

    /// Whether the code has `mod name;`.
    pub fn declares(&self, name: &str) -> bool {
        self.words().any(|(at, word)| word == "mod" && rest_is(&self.code[at.end..], &format!("{name};")))
    }

    /// The line of a place in the code, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Every word of the code with its place.
    pub fn words(&self) -> impl Iterator<Item = (Range<usize>, &str)> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = from + self.code[from..].find(is_word)?;
            let end = self.code[start..].find(|c| !is_word(c)).map_or(self.code.len(), |length| start + length);
            from = end;
            Some((start..end, &self.code[start..end]))
        })
    }

    /// Every path of the code that does not continue another one: its place, its first word, and the words that come
    /// next (several where braces follow). `use a;` is a path too, `x.a` is none.
    pub fn paths(&self) -> Vec<(usize, &str, Vec<&str>)> {
        let mut previous = "";
        let mut found = Vec::new();
        for (at, word) in self.words() {
            let before = self.code[..at.start].trim_end();
            let after = self.code[at.end..].trim_start();
            let begins = !before.ends_with("::") && !before.ends_with('.') || before.ends_with("..");
            let imported = previous == "use" && (after.starts_with(';') || after.starts_with("as "));
            if begins && (after.starts_with("::") || imported) {
                found.push((at.start, word, next_words(after)));
            }
            previous = word;
        }
        found
    }

    /// Every function: its place, its name and the number of its lines that hold code.
    pub fn functions(&self) -> Vec<(usize, &str, usize)> {
        let words: Vec<(Range<usize>, &str)> = self.words().collect();
        words
            .windows(2)
            .filter(|pair| pair[0].1 == "fn" && self.code[pair[0].0.end..pair[1].0.start].trim().is_empty())
            .filter_map(|pair| {
                let rest = &self.code[pair[0].0.start..];
                let open = signature_end(rest)?;
                let length = open + block(&rest[open..])?;
                let lines = rest[..length].lines().filter(|line| !line.trim().is_empty()).count();
                Some((pair[0].0.start, pair[1].1, lines))
            })
            .collect()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a text, its white space left out, begins like that.
fn rest_is(text: &str, wanted: &str) -> bool {
    let mut left = text.chars().filter(|c| !c.is_whitespace());
    wanted.chars().all(|c| left.next() == Some(c))
}

/// The length of the braces that a text begins with, or nothing where it does not begin with braces that close.
fn block(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (c == '}').then_some(at + 1);
        }
    }
    None
}

/// Where a signature ends: at the first brace or semicolon outside parentheses and brackets.
fn signature_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' | ';' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The words that come after the `::` that a text begins with: one, or the first ones of each branch in braces.
fn next_words(text: &str) -> Vec<&str> {
    let Some(tree) = text.strip_prefix("::").map(str::trim_start) else { return Vec::new() };
    let word = |text: &'_ str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    if !tree.starts_with('{') {
        return vec![&tree[..word(tree)]];
    }
    let inside = &tree[1..block(tree).map_or(tree.len(), |length| length - 1)];
    let mut depth = 0_usize;
    let mut branches: Vec<std::ops::Range<usize>> = std::iter::once(0..inside.len()).collect();
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => branches.push(at + 1..inside.len()),
            _ => {}
        }
    }
    branches
        .into_iter()
        .map(|range| inside[range].trim_start())
        .map(|text| &text[..word(text)])
        .filter(|word| !word.is_empty())
        .collect()
}

/// The text with comments, strings and character literals blank. Line ends stay.
fn blank_quoted(text: &str) -> Vec<char> {
    let mut chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let end = quoted_end(&chars, at);
        for c in &mut chars[at..end] {
            if *c != '\n' {
                *c = ' ';
            }
        }
        at = end.max(at + 1);
    }
    chars
}

/// Where a comment or literal that begins at `at` ends; `at` itself where none begins.
fn quoted_end(chars: &[char], at: usize) -> usize {
    let peek = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    match (peek(0), peek(1)) {
        ('/', '/') => find(chars, at, "\n"),
        ('/', '*') => block_comment_end(chars, at),
        ('r', '"' | '#') if at == 0 || !is_word(chars[at - 1]) || chars[at - 1] == 'b' => raw_end(chars, at),
        ('"', _) => literal_end(chars, at, '"'),
        // A quotation mark that closes after one character, escaped or not, is a literal; else it is a lifetime.
        ('\'', '\\') => literal_end(chars, at, '\''),
        ('\'', _) if peek(2) == '\'' => at + 3,
        _ => at,
    }
}

/// Where a wanted text begins next, or the end.
fn find(chars: &[char], from: usize, wanted: &str) -> usize {
    let wanted: Vec<char> = wanted.chars().collect();
    (from..chars.len()).find(|&at| chars[at..].starts_with(&wanted)).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut next = at;
    while next < chars.len() {
        if chars[next..].starts_with(&['/', '*']) {
            depth += 1;
            next += 2;
        } else if chars[next..].starts_with(&['*', '/']) {
            depth -= 1;
            next += 2;
            if depth == 0 {
                return next;
            }
        } else {
            next += 1;
        }
    }
    next
}

fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at; // a raw identifier such as r#type
    }
    let close = format!("\"{}", "#".repeat(hashes));
    (find(chars, at + 2 + hashes, &close) + close.len()).min(chars.len())
}

fn literal_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut next = at + 1;
    while next < chars.len() && chars[next] != quote {
        next += if chars[next] == '\\' { 2 } else { 1 };
    }
    (next + 1).min(chars.len())
}

/// Blanks every item under `#[cfg(test)]`. Returns the names of modules among them that are files of their own, and the
/// number of lines that became blank. What is quoted is blank already: the name in a `#[path]` is taken from `text`.
fn blank_tests(chars: &mut [char], text: &str) -> (Vec<TestModule>, usize) {
    let (mut modules, mut lines, mut from) = (Vec::new(), 0, 0);
    loop {
        let start = find(chars, from, "#[cfg(test)]");
        if start == chars.len() {
            return (modules, lines);
        }
        let item: String = chars[start..].iter().collect();
        let head = signature_end(&item).unwrap_or(item.len());
        let length = head + block(&item[head..]).unwrap_or(1).min(item.len() - head);
        if item[head..].starts_with(';')
            && let Some((_, name)) = item[..head].rsplit_once("mod ")
        {
            let quoted: String = text.chars().skip(start).take(item[..head].chars().count()).collect();
            let path = quoted.split_once("#[path").and_then(|(_, rest)| rest.split('"').nth(1));
            modules.push(path.map_or_else(
                || TestModule::Below(name.trim().to_owned()),
                |path| TestModule::Beside(path.trim_end_matches(".rs").to_owned()),
            ));
        }
        from = start + item[..length].chars().count();
        lines += item[..length].lines().count();
        for c in &mut chars[start..from] {
            if *c != '\n' {
                *c = ' ';
            }
        }
    }
}
