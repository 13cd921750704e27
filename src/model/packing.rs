//! Cuts a pool of texts into batches of like length.
//!
//! A batch costs rows times its longest row, and a little for being run at all, so sorting by length is worth more than
//! any other setting: neighbours in length waste almost no padding. Where to cut the sorted pool is then a shortest
//! path: the cheapest way to each row over all batches that may end there. Longest first, so that the last batch to
//! finish is a short one.

use std::cmp::Reverse;

/// How large a batch may be and what it costs to run one at all, in padded tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackLimits {
    /// Rows times the longest row of a batch, unless it is a single row.
    pub tokens_max: usize,
    /// Rows of a batch; 0 is read as 1.
    pub rows_max: usize,
    /// What one run costs beside its tokens: this many tokens' worth of time.
    pub run_tokens: usize,
}

/// Indices into `lengths`, grouped into batches at the least total cost: every index stands in exactly one batch, and
/// every batch holds `limits`.
///
/// Batches and their rows go from long to short; equal lengths keep their order.
#[must_use]
pub fn pack(lengths: &[usize], limits: PackLimits) -> Vec<Vec<usize>> {
    let mut order: Vec<(usize, usize)> = lengths.iter().copied().enumerate().collect();
    order.sort_by_key(|&(_, length)| Reverse(length));

    let mut rest = order.as_slice();
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for rows in cuts(&order, limits).into_iter().rev() {
        let (batch, after) = rest.split_at(rows.min(rest.len()));
        batches.push(batch.iter().map(|&(index, _)| index).collect());
        rest = after;
    }
    batches
}

/// The rows of each batch, the last batch first.
fn cuts(order: &[(usize, usize)], limits: PackLimits) -> Vec<usize> {
    // For the first n rows: what they cost at least, and how many rows the last batch has then.
    let mut best: Vec<(usize, usize)> = vec![(0, 0)];
    for end in 1..=order.len() {
        let mut cheapest = (usize::MAX, 1);
        let firsts = order.iter().take(end).rev().zip(best.iter().rev());
        for (rows, (&(_, longest), &(before, _))) in (1..=limits.rows_max.max(1)).zip(firsts) {
            let tokens = longest.saturating_mul(rows);
            if rows > 1 && tokens > limits.tokens_max {
                break;
            }
            let cost = before.saturating_add(tokens).saturating_add(limits.run_tokens);
            if cost < cheapest.0 {
                cheapest = (cost, rows);
            }
        }
        best.push(cheapest);
    }
    let mut sizes = Vec::new();
    let mut end = order.len();
    while let Some(&(_, rows)) = best.get(end).filter(|&&(_, rows)| rows > 0) {
        sizes.push(rows);
        end -= rows;
    }
    sizes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::{PackLimits, pack};

    const fn limits(tokens_max: usize, rows_max: usize, run_tokens: usize) -> PackLimits {
        PackLimits { tokens_max, rows_max, run_tokens }
    }

    #[test]
    fn the_longest_texts_go_first_and_equal_ones_keep_their_order() {
        assert_eq!(pack(&[3, 9, 3, 10], limits(20, 8, 2)), vec![vec![3, 1], vec![0, 2]]);
    }

    #[test]
    fn a_text_beyond_the_budget_goes_alone() {
        assert_eq!(pack(&[50, 2, 2], limits(10, 8, 4)), vec![vec![0], vec![1, 2]]);
    }

    #[test]
    fn limits_of_zero_still_move_one_row_at_a_time() {
        assert_eq!(pack(&[1, 1], limits(0, 0, 0)), vec![vec![0], vec![1]]);
    }

    #[test]
    fn padding_is_accepted_where_it_costs_less_than_another_run() {
        assert_eq!(pack(&[10, 8], limits(100, 8, 3)), vec![vec![0, 1]]);
        assert_eq!(pack(&[10, 8], limits(100, 8, 1)), vec![vec![0], vec![1]]);
    }

    /// What a way to cut costs.
    fn cost(lengths: &[usize], batches: &[Vec<usize>], run_tokens: usize) -> usize {
        let longest = |batch: &[usize]| batch.iter().map(|&i| lengths[i]).max().unwrap_or(0);
        batches.iter().map(|batch| batch.len() * longest(batch) + run_tokens).sum()
    }

    /// The least cost over every way to cut the sorted rows, by trying them all.
    fn cheapest(lengths: &[usize], limits: PackLimits) -> usize {
        let mut sorted = lengths.to_vec();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let cut_into = |cuts: u32| {
            let mut batches: Vec<Vec<usize>> = Vec::new();
            for row in 0..sorted.len() {
                if row == 0 || cuts & (1 << row) != 0 {
                    batches.push(Vec::new());
                }
                batches.last_mut()?.push(row);
            }
            let fits = |batch: &Vec<usize>| {
                batch.len() == 1
                    || (batch.len() <= limits.rows_max && batch.len() * sorted[batch[0]] <= limits.tokens_max)
            };
            batches.iter().all(fits).then(|| cost(&sorted, &batches, limits.run_tokens))
        };
        (0..1_u32 << sorted.len()).filter_map(cut_into).min().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn every_index_stands_once_and_every_batch_holds_the_budget(
            lengths in prop::collection::vec(0usize..200, 0..300),
            tokens_max in 1usize..2_000,
            rows_max in 1usize..70,
            run_tokens in 0usize..600,
        ) {
            let batches = pack(&lengths, limits(tokens_max, rows_max, run_tokens));
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let longest = batch.iter().map(|&i| lengths[i]).max().unwrap_or(0);
                prop_assert!(!batch.is_empty() && batch.len() <= rows_max);
                prop_assert!(batch.len() == 1 || batch.len() * longest <= tokens_max);
            }
        }

        #[test]
        fn no_way_to_cut_the_sorted_rows_is_cheaper(
            lengths in prop::collection::vec(0usize..40, 0..9),
            tokens_max in 1usize..200,
            rows_max in 1usize..9,
            run_tokens in 0usize..50,
        ) {
            let limits = limits(tokens_max, rows_max, run_tokens);
            prop_assert_eq!(cost(&lengths, &pack(&lengths, limits), run_tokens), cheapest(&lengths, limits));
        }

        #[test]
        fn no_text_of_a_batch_is_longer_than_one_of_an_earlier_batch(
            lengths in prop::collection::vec(1usize..200, 1..200),
        ) {
            let flat: Vec<usize> = pack(&lengths, limits(512, 64, 8)).into_iter().flatten().map(|i| lengths[i]).collect();
            prop_assert!(flat.windows(2).all(|pair| pair[0] >= pair[1]));
        }
    }
}
