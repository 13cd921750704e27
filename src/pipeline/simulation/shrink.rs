//! Makes a failure short: fewer inputs, fewer steps, as long as it still fails in the same way.

use super::Plan;

/// Runs that a search may take.
const TRIES: usize = 3_000;

/// A failing plan as a person wants to read it.
pub(super) fn report(plan: &Plan, why: &str) -> String {
    let shortest = shrink(plan, kind(why), |plan| plan.run(false).0);
    let (result, trace) = shortest.run(true);
    let now = result.err().unwrap_or_else(|| why.to_owned());
    let mut report = format!(
        "seed {}: {why}\n\nThe shortest schedule found ({} steps, {} inputs):\n",
        plan.seed,
        shortest.steps - shortest.muted.len(),
        shortest.posts
    );
    let skipped = trace.len().saturating_sub(120);
    if skipped > 0 {
        report.push_str(&format!("  … {skipped} steps before\n"));
    }
    trace.iter().skip(skipped).for_each(|line| report.push_str(&format!("  {line}\n")));
    report.push_str(&format!("\nIt ends with: {now}\nRun it again with SIMULATION_PLAN={}\n", shortest.text()));
    report
}

/// The beginning of a reason: a shorter schedule must fail in the same way.
fn kind(why: &str) -> &str {
    let end = why.match_indices(' ').nth(1).map_or(why.len(), |(at, _)| at);
    why[..end].trim_end_matches(|c: char| c.is_ascii_digit())
}

fn shrink(plan: &Plan, kind: &str, run: impl Fn(&Plan) -> Result<(), String>) -> Plan {
    let mut best = plan.clone();
    let mut left = TRIES;
    let mut fails = |plan: &Plan| {
        left = left.saturating_sub(1);
        left > 0 && run(plan).is_err_and(|why| why.starts_with(kind))
    };
    // The length first: everything else is cheaper on a short one.
    for part in [8, 4, 2, 4, 8, 16] {
        let shorter = Plan { steps: best.steps - best.steps / part, ..best.clone() };
        if fails(&shorter) {
            best = shorter;
        }
        let fewer = Plan { posts: best.posts - best.posts / part, ..best.clone() };
        if fails(&fewer) {
            best = fewer;
        }
    }
    let mut stretch = best.steps;
    while stretch > 0 {
        for from in (0..best.steps).step_by(stretch) {
            let mut calmer = best.clone();
            calmer.muted.extend(from..(from + stretch).min(best.steps));
            if calmer.muted != best.muted && fails(&calmer) {
                best = calmer;
            }
        }
        stretch /= 2;
    }
    best
}

#[test]
fn a_failure_is_cut_to_what_it_takes_and_its_plan_can_be_read_again() {
    let plan = Plan::of(7);
    let needed = [plan.steps / 3, plan.steps / 3 + 1, plan.steps / 2];
    let run = |plan: &Plan| {
        let has = |step: &usize| *step < plan.steps && !plan.muted.contains(step);
        if plan.posts >= 20 && needed.iter().all(has) { Err("scored lost p1".to_owned()) } else { Ok(()) }
    };
    let shortest = shrink(&plan, kind("scored lost p2"), run);
    assert!(run(&shortest).is_err());
    assert_eq!(shortest.steps - shortest.muted.len(), needed.len(), "{}", shortest.text());
    assert!(shortest.posts < plan.posts);
    assert_eq!(Plan::read(&shortest.text()), shortest);
    assert_eq!(Plan::read(&plan.text()), plan);
    // Another failure is not taken for it.
    assert_eq!(shrink(&plan, kind("mentions lost p2"), run), plan);
}
