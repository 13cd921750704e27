//! The pictures of a verdict page, as SVG: confusion matrices and reliability diagrams.

use std::fmt::Write as _;

use crate::model::Graded;
use crate::retrain::compare::Comparison;
use crate::retrain::verdict::escape;
use crate::retrain::{Confusion, TaskReport};

/// Bins of the reliability diagram.
const BINS: usize = 10;

/// Champion and candidate on one set of rows, each task side by side.
pub(super) fn pictures(set: &str, comparison: &Comparison) -> String {
    let mut page = String::new();
    for (task, pair) in &comparison.pairs {
        page += &format!("<h2>{} on {set}</h2>\n<div class=\"pictures\">\n", escape(task));
        for (who, report) in [("champion", &pair.champion), ("candidate", &pair.candidate)] {
            page += &framed(&matrix(&report.confusion), &format!("{who}: {}", summary(report)));
        }
        if let Some((before, after)) = comparison.graded.get(task) {
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
fn reliability(champion: &[Graded], candidate: &[Graded]) -> String {
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
fn bins(answers: &[Graded]) -> Vec<(f64, f64)> {
    let mut bins = [(0_usize, 0.0_f64, 0_usize); BINS];
    for answer in answers {
        let place = ((f64::from(answer.sure) * BINS as f64) as usize).min(BINS - 1);
        if let Some(bin) = bins.get_mut(place) {
            bin.0 += 1;
            bin.1 += f64::from(answer.sure);
            bin.2 += usize::from(answer.is_right);
        }
    }
    bins.iter().filter(|bin| bin.0 > 0).map(|(n, sure, right)| (sure / *n as f64, *right as f64 / *n as f64)).collect()
}
