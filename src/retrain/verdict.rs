//! The verdict page of a retraining: what was found and decided, for people, in Markdown and in HTML with pictures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::retrain::compare::{Changed, Comparison, Sure};
use crate::retrain::dataset::DatasetReport;
use crate::retrain::gate::Decision;
use crate::retrain::{Confusion, TaskReport};
use crate::time::Timestamp;

/// Bins of the reliability diagram.
const BINS: usize = 10;

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
    /// How long each step took, seconds.
    pub(super) steps: &'a [(String, f64)],
}

impl Story<'_> {
    fn headline(&self) -> String {
        let verb = if self.decision.passed { "is promoted" } else { "is refused" };
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
    page += "\n## Gains on the newest rows\n\n| task | rows | difference | at least |\n| --- | --- | --- | --- |\n";
    for gain in &story.decision.gains {
        page += &format!("| {} | {} | {:+.4} | {:+.4} |\n", gain.task, gain.rows, gain.difference, gain.at_least);
    }
    for (set, comparison) in story.comparisons {
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

fn figure(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// A text of a stranger in a cell of a Markdown table.
fn cell(text: &str) -> String {
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(300).collect();
    plain.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('`', "\\`")
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
    page += "<h2 class=\"checks\">Checks</h2>\n";
    let checks = story.decision.checks.iter().map(|check| {
        let mark = if check.passed { "ok" } else { "failed" };
        vec![check.name.clone(), figure(check.champion), figure(check.candidate), check.bound.clone(), mark.to_owned()]
    });
    page += &table(&["", "champion", "candidate", "asked", ""], checks);
    page += "<h2>Gains on the newest rows</h2>\n";
    let gains = story.decision.gains.iter().map(|gain| {
        let difference = format!("{:+.4}", gain.difference);
        vec![gain.task.clone(), gain.rows.to_string(), difference, format!("{:+.4}", gain.at_least)]
    });
    page += &table(&["task", "rows", "difference", "at least"], gains);
    for (set, comparison) in story.comparisons {
        page += &pictures(set, comparison);
        page += &parts(set, comparison);
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

fn pictures(set: &str, comparison: &Comparison) -> String {
    let mut page = String::new();
    for (task, pair) in &comparison.pairs {
        page += &format!("<h2>{} on {set}</h2>\n<div class=\"pictures\">\n", escape(task));
        for (who, report) in [("champion", &pair.champion), ("candidate", &pair.candidate)] {
            page += &framed(&matrix(&report.confusion), &format!("{who}: {}", summary(report)));
        }
        if let Some((before, after)) = comparison.sure.get(task) {
            page += &framed(
                &reliability(before, after),
                "how often right (up), by how sure (across): champion grey, candidate blue",
            );
        }
        page += "</div>\n";
    }
    page
}

fn summary(report: &TaskReport) -> String {
    format!(
        "{} rows, accuracy {:.3}, macro F1 {:.3}, calibration error {:.3}",
        report.n, report.accuracy, report.macro_f1, report.ece
    )
}

fn framed(svg: &str, caption: &str) -> String {
    format!("<figure>{svg}<figcaption>{}</figcaption></figure>\n", escape(caption))
}

/// Truth down, answer across; the darker the more, a row at a time.
fn matrix(confusion: &Confusion) -> String {
    let count = confusion.labels.len();
    let (side, left) = (if count > 8 { 18 } else { 48 }, 110);
    // The names of the columns lean out to the lower right.
    let (width, height) = (left + side * count + 40, side * count + 90);
    let mut svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"confusion matrix: truth down, answer across\">"
    );
    for (down, (row, label)) in confusion.rows.iter().zip(&confusion.labels).enumerate() {
        let all: usize = row.iter().sum();
        let y = down * side;
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 6,
            y + side / 2 + 4,
            escape(label)
        );
        for (across, hits) in row.iter().enumerate() {
            let (x, share) = (left + across * side, *hits as f64 / all.max(1) as f64);
            let colour = if down == across { "#2166ac" } else { "#b2182b" };
            let _ = write!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" fill=\"{colour}\" fill-opacity=\"{share:.2}\" stroke=\"#ddd\"/>"
            );
            if *hits > 0 {
                let _ = write!(
                    svg,
                    "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{hits}</text>",
                    x + side / 2,
                    y + side / 2 + 4
                );
            }
        }
    }
    for (across, label) in confusion.labels.iter().enumerate() {
        let (x, y) = (left + across * side + side / 2, side * count + 8);
        let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" transform=\"rotate(60 {x} {y})\">{}</text>", escape(label));
    }
    svg + "</svg>"
}

/// Share of right answers by confidence; on the diagonal it is as often right as it is sure.
fn reliability(champion: &[Sure], candidate: &[Sure]) -> String {
    const SIDE: f64 = 220.0;
    let mut svg = format!(
        "<svg width=\"{0}\" height=\"{0}\" role=\"img\" aria-label=\"reliability diagram\"><rect width=\"{SIDE}\" height=\"{SIDE}\" x=\"30\" y=\"10\" fill=\"none\" stroke=\"#999\"/>",
        SIDE + 50.0
    );
    let at = |x: f64, y: f64| (30.0 + x * SIDE, 10.0 + (1.0 - y) * SIDE);
    let ((x1, y1), (x2, y2)) = (at(0.0, 0.0), at(1.0, 1.0));
    let _ =
        write!(svg, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"#999\" stroke-dasharray=\"4\"/>");
    for share in [0.0, 0.5, 1.0] {
        let ((x, below), (left, y)) = (at(share, 0.0), at(0.0, share));
        let (below, left, y) = (below + 15.0, left - 5.0, y + 4.0);
        let _ = write!(
            svg,
            "<text x=\"{x}\" y=\"{below}\" text-anchor=\"middle\">{share}</text><text x=\"{left}\" y=\"{y}\" text-anchor=\"end\">{share}</text>"
        );
    }
    for (answers, colour) in [(champion, "#888"), (candidate, "#2166ac")] {
        let points: Vec<String> = bins(answers)
            .into_iter()
            .map(|(sure, right)| {
                let (x, y) = at(sure, right);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        for point in points {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = write!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
    svg + "</svg>"
}

/// Mean confidence and share of right answers in each bin that has any.
fn bins(answers: &[Sure]) -> Vec<(f64, f64)> {
    let mut bins = [(0_usize, 0.0_f64, 0_usize); BINS];
    for (sure, right) in answers {
        let place = ((f64::from(*sure) * BINS as f64) as usize).min(BINS - 1);
        if let Some(bin) = bins.get_mut(place) {
            bin.0 += 1;
            bin.1 += f64::from(*sure);
            bin.2 += usize::from(*right);
        }
    }
    bins.iter().filter(|bin| bin.0 > 0).map(|(n, sure, right)| (sure / *n as f64, *right as f64 / *n as f64)).collect()
}

fn escape(text: &str) -> String {
    html_escape::encode_text(text).into_owned()
}
