//! An alert in one sentence.

use std::time::Duration;

use crate::event::{AlertState, Evidence};
use crate::rule::{Bound, Rule};
use crate::window::Reading;

/// What happened to `subject`, as it is called, for a person: figure, window, mentions, bound and the post of the
/// evidence that weighs most.
#[must_use]
pub fn summary(rule: &Rule, subject: &str, state: AlertState, shown: (&Reading, &[Evidence])) -> String {
    let (reading, evidence) = shown;
    let (moved, bound) = match rule.bound {
        Bound::Below(bound) => ("fell to", bound),
        Bound::Above(bound) => ("rose to", bound),
    };
    let over = span(rule.over);
    let window = format!("over {over} ({} mentions, bound {})", reading.mentions, signed(bound));
    let weightiest = evidence.first().map_or_else(String::new, |post| format!(": weightiest “{}”", post.excerpt));
    let Some(value) = reading.value else {
        return format!("{subject} has no sentiment {window}");
    };
    match state {
        AlertState::Pending => format!(
            "{subject} sentiment {moved} {} {window}, an alert if it lasts {}{weightiest}",
            signed(value),
            span(rule.hold)
        ),
        AlertState::Firing => format!("{subject} sentiment {moved} {} {window}{weightiest}", signed(value)),
        AlertState::Resolved if rule.holds(reading) => {
            format!("{subject} sentiment is {} {window}, no longer watched", signed(value))
        }
        AlertState::Resolved if reading.tellings < rule.mentions_min => {
            format!("{subject} is quiet again: sentiment {} {window}, too few to judge", signed(value))
        }
        AlertState::Resolved => format!("{subject} sentiment is back at {} {window}", signed(value)),
    }
}

/// Two decimals with a real minus sign.
fn signed(value: f32) -> String {
    if value < 0.0 { format!("−{:.2}", -value) } else { format!("{value:.2}") }
}

/// The largest unit that says it whole: `30m`, `2h`, `90s`.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{}ms", span.as_millis()),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
