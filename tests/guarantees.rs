//! Promise: GUARANTEES.md names tests that exist, and bounds that are those of the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bellwether::config;
use bellwether::pipeline::footprint::footprint;

/// `name` and `file` of each test that the page names: [`name`](file).
fn named(page: &str) -> Vec<(&str, &str)> {
    let links = page.split("[`").skip(1).filter_map(|rest| rest.split_once("`](")).filter_map(|(name, rest)| {
        let (file, _) = rest.split_once(')')?;
        file.ends_with(".rs").then_some((name, file))
    });
    links.collect()
}

/// Lines, and cells of four letters and more, that are one word in capitals, and what people write for later: something
/// was to be filled in there.
fn placeholders(page: &str) -> Vec<&str> {
    let later = |word: &&str| ["TBD", "FIXME", "XXX"].iter().any(|known| word.starts_with(known));
    let words = page.split(|c: char| !c.is_ascii_alphanumeric()).filter(later);
    let is_one = |line: &&str| {
        let capitals = |word: &str| word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        line.len() > 1 && line.starts_with(|c: char| c.is_ascii_uppercase()) && capitals(line)
    };
    let cells = page.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|')).map(str::trim);
    let cells = cells.filter(|cell| cell.len() > 3 && is_one(cell));
    page.lines().map(str::trim).filter(is_one).chain(cells).chain(words).collect()
}

#[test]
fn nothing_is_left_to_be_filled_in() {
    assert_eq!(placeholders("| a | TBD1 | XXXII_\n"), ["TBD1", "XXXII_", "TBD1", "XXXII"]);
    assert_eq!(placeholders("| a | STATE | |\n"), ["STATE"]);
    assert_eq!(placeholders("# WHY\n\nTODO\n\n| KIP |\n\n  TABLE_2  \n\nWhat.\nA\n"), ["TODO", "TABLE_2"]);
    for name in ["GUARANTEES.md", "FAULTS.md", "README.md"] {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        assert_eq!(placeholders(&page), [""; 0], "{name} has a placeholder");
    }
}

#[test]
fn each_failure_has_a_test_and_says_what_to_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("GUARANTEES.md")).unwrap();
    let runbook = std::fs::read_to_string(root.join("monitoring/runbook.md")).unwrap().to_lowercase();
    let failures = section(&page, "## What each failure leads to\n");
    let failures: Vec<&str> = failures.split("\n### ").skip(1).collect();
    assert!(failures.len() > 15, "{} failures", failures.len());
    for failure in failures {
        let (what, told) = failure.split_once('\n').unwrap();
        let (follows, to_do) = told.split_once("**What you do:**").unwrap_or_else(|| panic!("what to do when: {what}"));
        assert!(!named(follows).is_empty(), "no test holds what follows when: {what}");
        assert!(!to_do.trim().is_empty(), "what to do when: {what}");
        for link in to_do.split("runbook.md#").skip(1) {
            let section = link.split(')').next().unwrap();
            assert!(runbook.contains(&format!("\n## {section}\n")), "the runbook has no section {section}");
        }
    }
}

#[test]
fn each_test_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("GUARANTEES.md")).unwrap();
    let named = named(&page);
    assert!(named.len() > 12, "{} tests are named", named.len());
    for (name, file) in named {
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let is_test = source.contains(&format!("#[test]\nfn {name}()"))
            || source.contains(&format!("    #[test]\n    fn {name}()"));
        assert!(is_test, "{file} has no test {name}");
    }
}

/// What stands under a heading, up to the next of its kind.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, told) = page.split_once(heading).unwrap_or_else(|| panic!("no section {heading}"));
    told.split("\n## ").next().unwrap_or(told)
}

/// The rows of the table that begins with this head, cell by cell.
fn rows<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, table) = page.split_once(head).unwrap_or_else(|| panic!("no table {head}"));
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The constants of the table of bounds: name, file, and what the table says of it.
fn bounds(page: &str) -> Vec<(&str, &str, &str)> {
    let rows = rows(page, "| what | at most | constant |");
    let each = rows.iter().flat_map(|cells| {
        let [what, most, constants] = cells[..] else { panic!("{} cells: {cells:?}", cells.len()) };
        let (most, constants): (Vec<_>, Vec<_>) = (most.split("; ").collect(), constants.split("; ").collect());
        assert_eq!(most.len(), constants.len(), "{what}");
        most.into_iter().zip(constants)
    });
    each.map(|(most, constant)| {
        let (name, file) = constant.trim_start_matches('`').split_once("` in [").unwrap();
        (name, file.split_once("](").unwrap().1.trim_end_matches(')'), most)
    })
    .collect()
}

/// The numbers of `64 KiB`, of `10 s`, of `2,000 and 16`.
fn told(most: &str) -> Vec<u64> {
    let number = |text: &str| -> u64 { text.replace(',', "").parse().unwrap_or_else(|_| panic!("{most}")) };
    let one = |text: &str| match text.split_once(' ') {
        None => number(text),
        Some((text, "s")) => number(text),
        Some((text, "KiB")) => number(text) << 10,
        Some((text, "MiB")) => number(text) << 20,
        Some((_, unit)) => panic!("{unit}"),
    };
    most.split(" and ").map(one).collect()
}

/// The numbers of `const NAME: usize = 64 << 10;`, of `(2_000, 16)`, of `Duration::from_secs(10)`.
fn set_to(source: &str, name: &str) -> Option<Vec<u64>> {
    let (_, value) = source.lines().find(|line| line.contains(&format!("const {name}: ")))?.split_once(" = ")?;
    let value = value.trim_end_matches(';').trim_start_matches("Duration::from_secs").trim_matches(['(', ')']);
    let number = |text: &str| text.replace('_', "").parse::<u64>().ok();
    let one = |text: &str| match (text.split_once(" << "), text.split_once(" * ")) {
        (Some((left, right)), _) => Some(number(left)? << number(right)?),
        (None, Some((left, right))) => Some(number(left)? * number(right)?),
        (None, None) => number(text),
    };
    value.split(", ").map(one).collect()
}

#[test]
fn each_bound_is_what_the_code_says() {
    let code = "/// A.\npub(super) const A: usize = 64 * 1_024;\nconst AB: (usize, usize) = (2_000, 16);\n\
        const B: u64 = 4 << 20;\nconst C: Duration = Duration::from_secs(10);\nconst D: u8 = A;\n";
    for (name, most) in [("A", "64 KiB"), ("AB", "2,000 and 16"), ("B", "4 MiB"), ("C", "10 s")] {
        assert_eq!(set_to(code, name), Some(told(most)), "{name}");
    }
    assert_eq!((set_to(code, "D"), set_to(code, "E")), (None, None));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("GUARANTEES.md")).unwrap();
    let bounds = bounds(&page);
    assert!(bounds.len() > 60, "{} bounds", bounds.len());
    for (name, file, most) in bounds {
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(set_to(&source, name), Some(told(most)), "{name} in {file}, of which the page says {most}");
    }
}

#[test]
fn each_planted_bug_has_a_row_that_says_what_finds_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("GUARANTEES.md")).unwrap();
    let planted = std::fs::read_to_string(root.join("tests/planted.toml")).unwrap();
    let said = |line: &str, key: &str| line.strip_prefix(key)?.trim().strip_suffix('"').map(ToOwned::to_owned);
    let all = |key: &str| planted.lines().filter_map(|line| said(line, key)).collect::<Vec<_>>();
    let bugs: BTreeSet<(String, String)> = all("name = \"").into_iter().zip(all("breaks = \"")).collect();
    let rows = rows(&page, "| planted bug | what it breaks | what finds it: the first seed, or that test |");
    assert_eq!(rows.iter().map(|cells| (cells[0].to_owned(), cells[1].to_owned())).collect::<BTreeSet<_>>(), bugs);
    for cells in &rows {
        let finder = cells[2].trim();
        let is_seed = finder.parse::<u32>().is_ok_and(|seed| seed < 1_000);
        assert!(is_seed || page.contains(&format!("[{finder}](tests/kafka/")), "{} is found by {finder}", cells[0]);
    }
}

#[test]
fn each_key_that_bounds_something_is_one_and_each_part_of_the_memory_has_a_bound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("GUARANTEES.md")).unwrap();
    let settings = files(&root.join("src/config")).into_iter().map(|file| std::fs::read_to_string(file).unwrap());
    let settings: String = settings.collect();
    let rows = rows(&page, "| key | what it bounds |");
    let keys: Vec<&str> = rows.iter().flat_map(|cells| cells[0].split(", ")).collect();
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        let name = key.trim_matches('`').split_once('.').unwrap().1;
        assert!(settings.contains(&format!("\"{name}\",")), "no setting {key}");
    }
    let settings = config::load(&root.join("pipelines/market.toml"), []).unwrap().settings;
    for part in footprint(&settings, 1, 1, 1) {
        assert!(!part.bounded_by.is_empty(), "nothing bounds {}", part.name);
    }
}

/// The Rust files below a folder that are no tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "simulation" && name != "tests" {
            found.extend(files(&path));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

/// The capacities that a file gives its channels.
fn capacities(source: &str) -> Vec<&str> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut calls = Vec::new();
    for word in ["bounded(", "bounded::<", "sync_channel(", "sync_channel::<"] {
        for (at, _) in code.match_indices(word) {
            // Behind the type, where one is named: it may have brackets of its own.
            let opening = if word.ends_with('<') { ">(" } else { "(" };
            let opened = at + code[at..].find(opening).unwrap() + opening.len();
            let mut open = 1;
            let closed = code[opened..].find(|c| {
                open += i32::from(c == '(') - i32::from(c == ')');
                open == 0
            });
            calls.push(&code[opened..opened + closed.unwrap()]);
        }
    }
    calls
}

#[test]
fn each_channel_has_a_bound_that_is_named() {
    assert_eq!(capacities("a(bounded(1), bounded::<()>(0), sync_channel::<u8>(rows.len()))"), ["1", "0", "rows.len()"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("GUARANTEES.md")).unwrap();
    let named: BTreeSet<&str> = bounds(&page).into_iter().map(|(name, _, _)| name).collect();
    let mut channels = 0;
    for file in files(&root.join("src")) {
        let source = std::fs::read_to_string(&file).unwrap();
        for capacity in capacities(&source) {
            channels += 1;
            // One, as many as there are answers to come, or a bound of the table and what is in hand.
            let is_one = ["0", "1"].contains(&capacity) || capacity.ends_with(".len()");
            let is_named = named.contains(capacity.trim_end_matches(" + 1"));
            assert!(
                is_one || is_named,
                "{}: a channel of {capacity}, which GUARANTEES.md does not name",
                file.display()
            );
        }
    }
    assert!(channels > 15, "{channels} channels");
}
