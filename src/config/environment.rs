//! The only place that reads environment variables, and the layer that `BELLWETHER__SECTION__KEY` lays over a file.

use std::path::PathBuf;

use super::problem::{Place, Problem};
use super::tree::{Node, Table, Value, parse_value};

/// Variables that start with this are settings; all others are none of ours.
const PREFIX: &str = "BELLWETHER__";

/// The variables of this process; those that are not Unicode are left out.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The ONNX Runtime library that `ORT_DYLIB_PATH` names.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn ort_dylib_path() -> Option<PathBuf> {
    std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Set to `1` before it is loaded, ONNX Runtime reports nothing to its maker.
pub const REPORTING: &str = "ORT_DISABLE_TELEMETRY";

/// Whether somebody has decided what ONNX Runtime reports.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn is_reporting_decided() -> bool {
    std::env::var_os(REPORTING).is_some()
}

/// Who runs this process, as `USER` says.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn user() -> Option<String> {
    std::env::var("USER").ok().filter(|user| !user.is_empty())
}

/// Lays the settings of the environment over `root`, in the order of their names; what cannot be laid is a problem.
/// Whether a key exists is found later, when the sections are read.
pub(super) fn lay_over(root: &mut Table, variables: impl Iterator<Item = (String, String)>) -> Vec<Problem> {
    let (mut settings, others): (Vec<_>, Vec<_>) =
        variables.partition(|(name, _)| name.to_ascii_uppercase().starts_with(PREFIX));
    let mut problems: Vec<Problem> = others.iter().filter_map(|(name, _)| single(name)).collect();
    settings.sort();
    for (name, text) in settings {
        let place = Place::Environment(name.clone());
        let path = segments(&name);
        let node = parse_value(text.trim(), &place).unwrap_or(Node::Raw(text));
        if let Err(message) = put(root, &path, Value { node, place: place.clone() }) {
            problems.push(Problem {
                place,
                message,
                remedy: "a variable reads BELLWETHER__SECTION__KEY, one of a list BELLWETHER__SOURCE__0__TOPIC"
                    .to_owned(),
            });
        }
    }
    problems
}

/// Sections that a variable with single underscores may have meant.
const SECTIONS: &[&str] =
    &["kafka", "model", "instruments", "index", "sample", "archive", "web", "log", "dead_letters"];

/// A variable that is nearly one of ours: it would change nothing, and nobody would know why.
fn single(name: &str) -> Option<Problem> {
    let rest = name.to_ascii_lowercase().strip_prefix("bellwether_")?.to_owned();
    let section = SECTIONS.iter().find(|section| rest.starts_with(&format!("{section}_")))?;
    let key = rest.get(section.len() + 1..)?.trim_start_matches('_');
    let meant = format!("{PREFIX}{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase());
    Some(Problem {
        place: Place::Environment(name.to_owned()),
        message: "two underscores stand between BELLWETHER, section and key".to_owned(),
        remedy: format!("did you mean {meant}?"),
    })
}

/// The keys of a name, in lower case. Below `kafka.properties` a single underscore is librdkafka's dot.
fn segments(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let mut path: Vec<String> = lower.split("__").skip(1).map(str::to_owned).collect();
    if let [first, second, property] = path.as_mut_slice()
        && first == "kafka"
        && second == "properties"
    {
        let (stem, suffix) = property.strip_suffix("_file").map_or((property.as_str(), ""), |stem| (stem, "_file"));
        *property = stem.replace('_', ".") + suffix;
    }
    path
}

fn put(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    let Some((key, rest)) = path.split_first().filter(|(key, _)| !key.is_empty()) else {
        return Err("an empty name is no setting".to_owned());
    };
    if rest.is_empty() {
        table.insert(key.clone(), value);
        return Ok(());
    }
    let empty = if is_index(rest) { Node::List(Vec::new()) } else { Node::Table(Table::new()) };
    let below = table.entry(key.clone()).or_insert_with(|| Value { node: empty, place: value.place.clone() });
    put_below(below, key, rest, value)
}

fn put_below(below: &mut Value, key: &str, rest: &[String], value: Value) -> Result<(), String> {
    match &mut below.node {
        Node::Table(inner) => put(inner, rest, value),
        Node::List(items) => put_item(items, key, rest, value),
        other => Err(format!("`{key}` is {}, it has no `{}`", other.kind(), rest.join("."))),
    }
}

/// `rest` starts with an index; one past the end adds an item.
fn put_item(items: &mut Vec<Value>, key: &str, rest: &[String], value: Value) -> Result<(), String> {
    let Some((number, deeper)) = rest.split_first() else { return Ok(()) };
    let count = items.len();
    let index = number.parse::<usize>().ok().filter(|index| *index <= count);
    let index = index.ok_or_else(|| format!("`{key}` has {count} entries, `{number}` is none of them"))?;
    if index == count {
        items.push(Value { node: Node::Table(Table::new()), place: value.place.clone() });
    }
    let Some(item) = items.get_mut(index) else { return Ok(()) };
    match &mut item.node {
        _ if deeper.is_empty() => *item = value,
        Node::Table(inner) => put(inner, deeper, value)?,
        other => return Err(format!("`{key}.{index}` is {}, it has no `{}`", other.kind(), deeper.join("."))),
    }
    Ok(())
}

fn is_index(rest: &[String]) -> bool {
    rest.first().is_some_and(|key| key.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::sync::Arc;

    use super::*;
    use crate::config::tree;

    fn over(text: &str, variables: &[(&str, &str)]) -> (Table, Vec<Problem>) {
        let (mut table, _) = tree::parse(&Arc::from("f.toml"), text);
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let problems = lay_over(&mut table, owned);
        (table, problems)
    }

    #[test]
    fn a_name_with_single_underscores_is_asked_about_and_other_programs_names_are_not() {
        let others = [("BELLWETHER_WEB_LISTEN", "x"), ("BELLWETHER_TEST_KAFKA", "x"), ("WEB_LISTEN", "x")];
        let (_, problems) = over("", &others);
        let said: Vec<&str> = problems.iter().map(|problem| &*problem.remedy).collect();
        assert_eq!(said, ["did you mean BELLWETHER__WEB__LISTEN?"]);
    }

    #[test]
    fn a_variable_reaches_into_lists_of_tables() {
        let (table, problems) = over("[[source]]\ntopic = \"a\"\n", &[("BELLWETHER__SOURCE__0__TOPIC", "b")]);
        assert_eq!(problems, Vec::new());
        let Node::List(sources) = &table["source"].node else { panic!("a list") };
        let Node::Table(source) = &sources[0].node else { panic!("a table") };
        assert_eq!(source["topic"].node, Node::Raw("b".to_owned()));
        assert_eq!(source["topic"].place.to_string(), "environment BELLWETHER__SOURCE__0__TOPIC");
    }

    #[test]
    fn properties_are_named_with_underscores() {
        assert_eq!(segments("BELLWETHER__KAFKA__PROPERTIES__SASL_PASSWORD"), ["kafka", "properties", "sasl.password"]);
        let file = segments("BELLWETHER__KAFKA__PROPERTIES__SASL_PASSWORD_FILE");
        assert_eq!(file, ["kafka", "properties", "sasl.password_file"]);
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let (table, problems) = over("", &[("BELLWETHER_TEST_BROKER", "x"), ("HOME", "/"), ("BELLWETHER", "")]);
        assert!(table.is_empty() && problems.is_empty());
    }

    #[test]
    fn an_entry_beyond_the_end_is_a_problem() {
        let (_, problems) = over("[[source]]\ntopic = \"a\"\n", &[("BELLWETHER__SOURCE__3__TOPIC", "b")]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("1 entries"), "{}", problems[0]);
    }

    #[test]
    fn a_list_is_written_as_toml() {
        let (table, _) = over("", &[("bellwether__x", "[\"a\", \"b\"]")]);
        assert!(matches!(&table["x"].node, Node::List(items) if items.len() == 2));
    }
}
