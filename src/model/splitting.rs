//! What to do with a batch that fails: halve it until those that fail stand alone.
//!
//! A batch that is too large for the memory and a batch with one poisonous text look alike from outside, and halving
//! cures both: smaller batches fit, and a text that fails alone, and once more, is the culprit.

/// Runs `rows` through `run`, which gives one result a row or fails as a whole. A failing batch is halved; `done` gets
/// every row once, with its result or with the failure that it had alone, twice. Costs at most three runs a row.
pub fn divide<T, E>(
    rows: &[usize],
    run: &mut impl FnMut(&[usize]) -> Result<Vec<T>, E>,
    done: &mut impl FnMut(usize, Result<T, E>),
) {
    let tried = match (run(rows), rows) {
        // What passes is not the text's fault.
        (Err(_), [_]) => run(rows),
        (tried, _) => tried,
    };
    match tried {
        Ok(results) => rows.iter().zip(results).for_each(|(&row, result)| done(row, Ok(result))),
        Err(failure) => match rows {
            [] => {}
            [row] => done(*row, Err(failure)),
            _ => {
                let (left, right) = rows.split_at(rows.len() / 2);
                divide(left, run, done);
                divide(right, run, done);
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::divide;

    proptest! {
        #[test]
        fn exactly_the_failing_rows_fail_and_every_row_is_done_once(
            size in 0usize..70,
            poison in prop::collection::btree_set(0usize..70, 0..4),
        ) {
            let rows: Vec<usize> = (0..size).collect();
            let mut done: Vec<(usize, Result<usize, ()>)> = Vec::new();
            let mut run = |batch: &[usize]| {
                if batch.iter().any(|row| poison.contains(row)) { Err(()) } else { Ok(batch.to_vec()) }
            };
            divide(&rows, &mut run, &mut |row, result| done.push((row, result)));
            prop_assert_eq!(done.iter().map(|(row, _)| *row).collect::<Vec<_>>(), rows);
            let failed: BTreeSet<usize> = done.iter().filter(|(_, r)| r.is_err()).map(|(row, _)| *row).collect();
            prop_assert_eq!(failed, poison.into_iter().filter(|row| *row < size).collect::<BTreeSet<_>>());
            prop_assert!(done.iter().all(|(row, result)| result.is_err() || *result == Ok(*row)));
        }

        #[test]
        fn what_fails_once_fails_no_row(size in 1usize..70, at in 0usize..140) {
            let rows: Vec<usize> = (0..size).collect();
            let (mut runs, mut good) = (0, Vec::new());
            let mut run = |batch: &[usize]| {
                runs += 1;
                if runs == at { Err(()) } else { Ok(batch.to_vec()) }
            };
            divide(&rows, &mut run, &mut |row, result| {
                if result == Ok(row) {
                    good.push(row);
                }
            });
            prop_assert_eq!(good, rows);
        }

        #[test]
        fn a_batch_too_large_for_the_memory_gets_through_in_halves(size in 1usize..100, fits in 1usize..40) {
            let rows: Vec<usize> = (0..size).collect();
            let mut good = 0;
            let mut run = |batch: &[usize]| if batch.len() > fits { Err(()) } else { Ok(batch.to_vec()) };
            divide(&rows, &mut run, &mut |_, result: Result<usize, ()>| good += usize::from(result.is_ok()));
            prop_assert_eq!(good, size);
        }
    }
}
