//! Promise: GUARANTEES.md names tests that exist.

use std::path::Path;

/// `name` and `file` of each test that the page names: [`name`](file).
fn named(page: &str) -> Vec<(&str, &str)> {
    let links = page.split("[`").skip(1).filter_map(|rest| rest.split_once("`](")).filter_map(|(name, rest)| {
        let (file, _) = rest.split_once(')')?;
        file.ends_with(".rs").then_some((name, file))
    });
    links.collect()
}

/// Lines that are one word in capitals, and what people write for later: something was to be filled in there.
fn placeholders(page: &str) -> Vec<&str> {
    let later = |word: &&str| ["TBD", "FIXME", "XXX"].iter().any(|known| word.starts_with(known));
    let words = page.split(|c: char| !c.is_ascii_alphanumeric()).filter(later);
    let is_one = |line: &&str| {
        let capitals = |word: &str| word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        line.len() > 1 && line.starts_with(|c: char| c.is_ascii_uppercase()) && capitals(line)
    };
    page.lines().map(str::trim).filter(is_one).chain(words).collect()
}

#[test]
fn nothing_is_left_to_be_filled_in() {
    assert_eq!(placeholders("| a | TBD1 | XXXII\n"), ["TBD1", "XXXII"]);
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
    let table = page.split_once("| what happens | what follows | what you do |\n| --- | --- | --- |\n").unwrap().1;
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 15, "{} failures", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [what, follows, to_do] = cells[..] else { panic!("{} cells: {row}", cells.len()) };
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
