//! The verdict page of a retraining: what was found and decided, for people, in Markdown and in HTML with pictures.

use std::collections::BTreeMap;

use crate::retrain::compare::{Changed, Comparison};
use crate::retrain::dataset::DatasetReport;
use crate::retrain::gate::{Decision, GOLDEN, Gain};
use crate::retrain::pictures::pictures;
use crate::time::Timestamp;

/// All that the page tells.
pub(super) struct Story<'a> {
    /// The model's name.
    pub(super) model: &'a str,
    /// Who answers.
    pub(super) champion: &'a str,
    /// Who wants to.
    pub(super) candidate: &'a str,
    /// When it was decided.
    pub(super) at: Timestamp,
    /// The data.
    pub(super) dataset: &'a DatasetReport,
    /// What it decided.
    pub(super) decision: &'a Decision,
    /// By set.
    pub(super) comparisons: &'a BTreeMap<&'static str, Comparison>,
    /// The champion's accuracy on the newest rows, guessed and found.
    pub(super) estimates: &'a [Estimate],
    /// How long each step took, seconds.
    pub(super) steps: &'a [(String, f64)],
}

impl Story<'_> {
    fn headline(&self) -> String {
        let verb = if self.decision.passed { "passes the gate" } else { "is refused" };
        format!("{} version {} {verb}", self.model, self.candidate)
    }
}

/// The page as Markdown, without pictures.
#[must_use]
pub(super) fn markdown(story: &Story<'_>) -> String {
    let mut page = format!("# {}\n\n", story.headline());
    page += &format!(
        "Compared with version {} at {}, on posts of `{}`.\n\n",
        story.champion, story.at, story.dataset.pipeline
    );
    if !story.decision.passed {
        page += "Why not:\n\n";
        for reason in story.decision.reasons() {
            page += &format!("- {reason}\n");
        }
        page.push('\n');
    }
    for note in &story.decision.notes {
        page += &format!("Note: {note}.\n\n");
    }
    page += "## Checks\n\n| | champion | candidate | asked | |\n| --- | --- | --- | --- | --- |\n";
    for check in &story.decision.checks {
        let mark = if check.passed { "ok" } else { "**failed**" };
        page += &format!(
            "| {} | {} | {} | {} | {mark} |\n",
            check.name,
            figure(check.champion),
            figure(check.candidate),
            check.bound
        );
    }
    let head = GAINS.join(" | ");
    page += &format!("\n## Gains on the newest rows\n\n| {head} |\n|{}\n", " --- |".repeat(GAINS.len()));
    for gain in &story.decision.gains {
        let cells = gain_cells(gain).join(" | ");
        page += &format!("| {cells} |\n");
    }
    for (set, comparison) in story.comparisons {
        page += &parts_in_words(set, comparison);
    }
    if !story.estimates.is_empty() {
        let head = Estimate::HEAD.join(" | ");
        page += &format!("\n## Accuracy of the champion\n\n| {head} |\n| --- | --- | --- | --- |\n");
        story.estimates.iter().for_each(|it| page += &format!("| {} |\n", it.cells().join(" | ")));
    }
    page += "\n## Data\n\n| cut | rows | from | until |\n| --- | --- | --- | --- |\n";
    for (side, split) in &story.dataset.splits {
        let shown = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        page += &format!("| {side} | {} | {} | {} |\n", split.rows, shown(split.from), shown(split.until));
    }
    for warning in story.dataset.warnings() {
        page += &format!("\n- {warning}");
    }
    page += "\n## Time\n\n| step | seconds |\n| --- | --- |\n";
    for (step, seconds) in story.steps {
        page += &format!("| {step} | {seconds:.1} |\n");
    }
    page
}

/// Slices and what changed.
fn parts_in_words(set: &str, comparison: &Comparison) -> String {
    let mut page = String::new();
    for (task, slices) in comparison.slices.iter().filter(|(_, slices)| !slices.is_empty()) {
        page += &format!(
            "\n## {task} on {set}, by part\n\n| part | rows | champion | candidate |\n| --- | --- | --- | --- |\n"
        );
        for (part, slice) in slices {
            let share = |right: usize| right as f64 / slice.rows.max(1) as f64;
            let (before, after) = (share(slice.champion), share(slice.candidate));
            page += &format!("| {} | {} | {before:.3} | {after:.3} |\n", cell(part), slice.rows);
        }
    }
    for (title, changed) in
        [("Right now, wrong before", &comparison.mended), ("Wrong now, right before", &comparison.broken)]
    {
        if !changed.is_empty() {
            page += &format!(
                "\n## {title}, on {set}\n\n| text | task | people | champion | candidate |\n| --- | --- | --- | --- | --- |\n"
            );
            for Changed { text, task, truth, champion, candidate } in changed {
                page += &format!("| {} | {task} | {truth} | {champion} | {candidate} |\n", cell(text));
            }
        }
    }
    page
}

const GAINS: [&str; 7] = ["task", "figure", "rows", "gain", "at least", "by chance", "counts"];

fn gain_cells(gain: &Gain) -> Vec<String> {
    let Gain { task, figure, rows, difference, at_least, by_chance, objection } = gain;
    let counts = match objection {
        Some(why) => format!("no: {why}"),
        None if *at_least > 0.0 => "yes".to_owned(),
        None => "no".to_owned(),
    };
    let figures = [format!("{difference:+.4}"), format!("{at_least:+.4}"), format!("{by_chance:.4}")];
    [task.clone(), (*figure).to_owned(), rows.to_string()].into_iter().chain(figures).chain([counts]).collect()
}

fn figure(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// A text of a stranger in a cell of a Markdown table.
fn cell(text: &str) -> String {
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(300).collect();
    plain.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('`', "\\`")
}

/// How good the champion is in a task: where it was judged, as estimated without labels on the newest rows, and as found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Estimate {
    /// The task.
    pub(super) task: String,
    /// Accuracy where it was judged.
    pub(super) judged: f64,
    /// Estimated for the newest rows.
    pub(super) estimated: f64,
    /// Found there.
    pub(super) found: f64,
}

impl Estimate {
    const HEAD: [&str; 4] = ["task", "when it was judged", "estimated now, without labels", "found now, by weight"];

    fn cells(&self) -> Vec<String> {
        let Self { task, judged, estimated, found } = self;
        std::iter::once(task.clone()).chain([judged, estimated, found].map(|figure| format!("{figure:.3}"))).collect()
    }
}

/// The page as one HTML file, with confusion matrices and reliability diagrams as SVG.
#[must_use]
pub(super) fn html(story: &Story<'_>) -> String {
    let title = escape(&story.headline());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    let champion = escape(story.champion);
    let pipeline = escape(&story.dataset.pipeline);
    page += &format!("<p>Compared with version {champion} at {}, on posts of {pipeline}.</p>\n", story.at);
    let reasons = story.decision.reasons();
    if !reasons.is_empty() {
        let items: String = reasons.iter().map(|reason| format!("<li>{}</li>", escape(reason))).collect();
        page += &format!("<h2>Why not</h2><ul class=\"bad\">{items}</ul>\n");
    }
    for note in &story.decision.notes {
        page += &format!("<p class=\"bad\">Note: {}.</p>\n", escape(note));
    }
    page += "<h2 class=\"checks\">Checks</h2>\n";
    let checks = story.decision.checks.iter().map(|check| {
        let mark = if check.passed { "ok" } else { "failed" };
        vec![check.name.clone(), figure(check.champion), figure(check.candidate), check.bound.clone(), mark.to_owned()]
    });
    page += &table(&["", "champion", "candidate", "asked", ""], checks);
    page += "<h2>Gains on the newest rows</h2>\n";
    page += &table(&GAINS, story.decision.gains.iter().map(gain_cells));
    for (set, comparison) in story.comparisons {
        // A picture of a dozen answers says less than the answers.
        if *set != GOLDEN {
            page += &pictures(set, comparison);
        }
        page += &parts(set, comparison);
    }
    if !story.estimates.is_empty() {
        page += "<h2>Accuracy of the champion, and what was said of it without labels</h2>\n";
        page += &table(&Estimate::HEAD, story.estimates.iter().map(Estimate::cells));
    }
    page += "<h2>Data</h2>\n";
    let splits = story.dataset.splits.iter().map(|(side, split)| {
        let shown = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        vec![side.clone(), split.rows.to_string(), shown(split.from), shown(split.until)]
    });
    page += &table(&["cut", "rows", "from", "until"], splits);
    let warnings: String =
        story.dataset.warnings().iter().map(|warning| format!("<li>{}</li>", escape(warning))).collect();
    page += &format!("<ul>{warnings}</ul>\n<h2>Time</h2>\n");
    page +=
        &table(&["step", "seconds"], story.steps.iter().map(|(step, took)| vec![step.clone(), format!("{took:.1}")]));
    page + "</body></html>\n"
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}\
.checks+table td:last-child{font-weight:600}.bad{color:#a40000}.pictures{display:flex;flex-wrap:wrap;gap:1.5rem 2.5rem}\
figure{margin:0;display:flex;flex-direction:column-reverse;justify-content:flex-end;gap:.5rem}figcaption{font-size:.9em}\
svg{overflow:visible}svg text{font:11px system-ui,sans-serif}";

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |tag: &str, cells: &[String]| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: String = rows.map(|row| format!("<tr>{}</tr>\n", line("td", &row))).collect();
    format!("<table><tr>{}</tr>\n{rows}</table>\n", line("th", &head))
}

fn parts(set: &str, comparison: &Comparison) -> String {
    let mut page = String::new();
    for (task, slices) in comparison.slices.iter().filter(|(_, slices)| !slices.is_empty()) {
        page += &format!("<h3>{} on {set}, by part</h3>\n", escape(task));
        page += &table(
            &["part", "rows", "champion", "candidate"],
            slices.iter().map(|(part, slice)| {
                let share = |right: usize| format!("{:.3}", right as f64 / slice.rows.max(1) as f64);
                vec![part.clone(), slice.rows.to_string(), share(slice.champion), share(slice.candidate)]
            }),
        );
    }
    for (title, changed) in
        [("Right now, wrong before", &comparison.mended), ("Wrong now, right before", &comparison.broken)]
    {
        if !changed.is_empty() {
            page += &format!("<h3>{title}, on {set}</h3>\n");
            let rows = changed
                .iter()
                .map(|it| [&it.text, &it.task, &it.truth, &it.champion, &it.candidate].map(Clone::clone).to_vec());
            page += &table(&["text", "task", "people", "champion", "candidate"], rows);
        }
    }
    page
}

/// A text of a stranger between tags.
pub(super) fn escape(text: &str) -> String {
    html_escape::encode_text(text).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::retrain::compare::Slice;
    use crate::retrain::gate::Check;

    fn dataset() -> DatasetReport {
        let split = serde_json::json!({
            "rows": 40, "from": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", "sources": {},
            "classes": {"sentiment": {"positive": 40}}, "sha256": "",
        });
        let report = serde_json::json!({
            "format": 1, "pipeline": "market", "made_at": "2026-03-03T00:00:00Z", "seed": 7, "near_copy": 0.6,
            "samples": 90, "model_versions": {}, "unknown_posts": [0, []], "left_out": 0, "agreement": {}, "moved": 0,
            "labels": {"read": 90, "unknown_task": 0, "unknown_class": 0, "superseded": 0, "beyond": 50},
            "splits": {"train": split}, "unlabelled": 0,
        });
        serde_json::from_value(report).unwrap()
    }

    fn pages(passed: bool) -> [String; 2] {
        let name = "accuracy of sentiment on test".to_owned();
        let check = Check { name, champion: 0.8, candidate: 0.85, bound: "at most 0.010 less".to_owned(), passed };
        let gain = |figure: &'static str, objection: Option<String>| Gain {
            task: "sentiment".to_owned(),
            figure,
            rows: 40,
            difference: 0.05,
            at_least: 0.012,
            by_chance: 0.004,
            objection,
        };
        let few = Some("12 test rows are too few".to_owned());
        let changed = Changed {
            text: "<b>Oak</b> | falls `3%`".to_owned(),
            task: "sentiment".to_owned(),
            truth: "negative".to_owned(),
            champion: "neutral".to_owned(),
            candidate: "negative".to_owned(),
        };
        let slice = Slice { rows: 40, champion: 32, candidate: 34 };
        let slices = BTreeMap::from([("sentiment".to_owned(), BTreeMap::from([("source <desk>".to_owned(), slice)]))]);
        let comparison = Comparison { mended: vec![changed], slices, ..Comparison::default() };
        let story = Story {
            model: "finance-en",
            champion: "3",
            candidate: "4",
            at: Timestamp::parse("2026-03-03T00:01:00Z").unwrap(),
            dataset: &dataset(),
            decision: &Decision {
                checks: vec![check],
                gains: vec![gain("accuracy", None), gain("log loss", few)],
                withheld: (!passed).then(|| "its labels are those of version 2".to_owned()),
                notes: vec!["the champion carries no regression set".to_owned()],
                passed,
            },
            comparisons: &BTreeMap::from([("test", comparison)]),
            estimates: &[Estimate { task: "sentiment".to_owned(), judged: 0.88, estimated: 0.84, found: 0.81 }],
            steps: &[("training".to_owned(), 148.2)],
        };
        [markdown(&story), html(&story)]
    }

    #[test]
    fn the_page_tells_all_that_was_found_and_takes_no_text_for_markup() {
        let [page, html] = pages(true);
        for line in [
            "# finance-en version 4 passes the gate",
            "| accuracy of sentiment on test | 0.8000 | 0.8500 | at most 0.010 less | ok |",
            "Note: the champion carries no regression set.",
            "| sentiment | accuracy | 40 | +0.0500 | +0.0120 | 0.0040 | yes |",
            "| sentiment | log loss | 40 | +0.0500 | +0.0120 | 0.0040 | no: 12 test rows are too few |",
            "| source &lt;desk> | 40 | 0.800 | 0.850 |",
            "| &lt;b>Oak&lt;/b> \\| falls \\`3%\\` | sentiment | negative | neutral | negative |",
            "| task | when it was judged | estimated now, without labels | found now, by weight |",
            "| sentiment | 0.880 | 0.840 | 0.810 |",
            "- all training rows of sentiment are `positive`: nothing can be learnt from one class",
            "- 50 labels are left out, the posts chosen by a hash: too many for memory",
            "| training | 148.2 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert!(!page.contains("Why not"));
        for part in [
            "Note: the champion carries no regression set.",
            "<td>0.0040</td><td>no: 12 test rows are too few</td>",
            "<td>sentiment</td><td>0.880</td><td>0.840</td><td>0.810</td>",
            "&lt;b&gt;Oak&lt;/b&gt; | falls `3%`",
            "<td>source &lt;desk&gt;</td><td>40</td><td>0.800</td><td>0.850</td>",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let [page, html] = pages(false);
        let why = "accuracy of sentiment on test: 0.8500 against 0.8000, at most 0.010 less";
        assert!(
            page.starts_with("# finance-en version 4 is refused") && page.contains(&format!("- {why}\n")),
            "{page}"
        );
        assert!(html.contains(&format!("<li>{why}</li>")), "{html}");
        let withheld = "its labels are those of version 2";
        assert!(page.contains(&format!("- {withheld}\n")) && html.contains(&format!("<li>{withheld}</li>")), "{page}");
    }
}
