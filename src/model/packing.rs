//! Cuts a pool of texts into batches of like length.
//!
//! A batch costs rows times its longest row, so sorting by length is worth more than any other setting: neighbours in
//! length waste almost no padding. Longest first, so that the last batch to finish is a short one.

use std::cmp::Reverse;

/// Indices into `lengths`, grouped into batches: every index stands in exactly one batch, a batch has at most
/// `rows_max` rows, and rows times its longest row is at most `tokens_max`, unless it is a single row.
///
/// Batches and their rows go from long to short; equal lengths keep their order.
#[must_use]
pub fn pack(lengths: &[usize], tokens_max: usize, rows_max: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<(usize, usize)> = lengths.iter().copied().enumerate().collect();
    order.sort_by_key(|&(_, length)| Reverse(length));

    let mut batches = Vec::new();
    let mut batch: Vec<usize> = Vec::new();
    let mut longest = 0;
    for (index, length) in order {
        let full = batch.len() >= rows_max || (batch.len() + 1).saturating_mul(longest) > tokens_max;
        if full && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
        }
        if batch.is_empty() {
            longest = length;
        }
        batch.push(index);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::pack;

    #[test]
    fn the_longest_texts_go_first_and_equal_ones_keep_their_order() {
        assert_eq!(pack(&[3, 9, 3, 10], 20, 8), vec![vec![3, 1], vec![0, 2]]);
    }

    #[test]
    fn a_text_beyond_the_budget_goes_alone() {
        assert_eq!(pack(&[50, 2, 2], 10, 8), vec![vec![0], vec![1, 2]]);
    }

    #[test]
    fn limits_of_zero_still_move_one_row_at_a_time() {
        assert_eq!(pack(&[1, 1], 0, 0), vec![vec![0], vec![1]]);
    }

    proptest! {
        #[test]
        fn every_index_stands_once_and_every_batch_holds_the_budget(
            lengths in prop::collection::vec(0usize..200, 0..300),
            tokens_max in 1usize..2_000,
            rows_max in 1usize..70,
        ) {
            let batches = pack(&lengths, tokens_max, rows_max);
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
        fn no_text_of_a_batch_is_longer_than_one_of_an_earlier_batch(
            lengths in prop::collection::vec(1usize..200, 1..200),
        ) {
            let flat: Vec<usize> = pack(&lengths, 512, 64).into_iter().flatten().map(|i| lengths[i]).collect();
            prop_assert!(flat.windows(2).all(|pair| pair[0] >= pair[1]));
        }
    }
}
