//! The rules of the guarantee, one by one. The outcomes of a commit are tested on the in-process log (`memory`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;

use proptest::prelude::*;

use crate::stream::{
    Batch, Disorder, Ends, Headers, Intake, Lease, Ledger, Output, Partition, Position, Record, Row, Span, Weigh,
};
use crate::time::Timestamp;

fn partition(number: i32) -> Partition {
    Partition::new(&Arc::from("posts"), number)
}

fn record(number: i32, offset: i64) -> Record {
    Record {
        partition: partition(number),
        offset,
        appended_at: Timestamp::from_millis(offset),
        key: None,
        value: None,
        headers: Headers::new(),
    }
}

fn records(number: i32, offsets: &[i64]) -> Vec<Record> {
    offsets.iter().map(|offset| record(number, *offset)).collect()
}

/// An offset stands for a row and weighs as much.
impl Weigh for i64 {
    fn weight(&self) -> usize {
        usize::try_from(*self).unwrap()
    }
}

fn assigned(committed: i64) -> (Intake, Ledger<i64>, Lease) {
    let lease = Lease::grant(partition(0));
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(lease.clone(), Position::at(committed));
    ledger.assign(lease.clone(), Position::at(committed));
    (intake, ledger, lease)
}

fn take(intake: &mut Intake, lease: &Lease, offsets: &[i64]) -> Batch<i64> {
    intake.take(lease, records(0, offsets)).unwrap().live.map(|record| record.offset)
}

fn span(from: i64, until: i64) -> Span {
    Span { from: Position::at(from), until: Position::at(until) }
}

#[test]
fn a_filtered_row_still_advances_the_offset() {
    let (mut intake, mut ledger, lease) = assigned(10);
    let batch = take(&mut intake, &lease, &[10, 11, 12]).transform(|_| Vec::<i64>::new());
    ledger.add(batch).unwrap();
    let epoch = ledger.close().unwrap();
    assert_eq!(epoch.parts()[0].span(), span(10, 13));
    assert_eq!(epoch.rows().count(), 0);
}

#[test]
fn an_idle_partition_that_is_to_be_said_has_its_position_in_the_next_epoch_and_in_no_other() {
    let (mut intake, mut ledger, lease) = assigned(10);
    ledger.assign(Lease::grant(partition(1)), Position::at(0));
    ledger.assign(Lease::grant(partition(2)), Position::at(0));
    ledger.say(&partition(1));
    assert!(ledger.is_empty() && ledger.close().is_none(), "by itself it makes none");
    ledger.add(take(&mut intake, &lease, &[10])).unwrap();
    let spans = |ledger: &mut Ledger<i64>| -> Vec<(i32, Span)> {
        ledger.close().unwrap().parts().iter().map(|part| (part.partition().number, part.span())).collect()
    };
    assert_eq!(spans(&mut ledger), [(0, span(10, 11)), (1, span(0, 0))]);
    ledger.add(take(&mut intake, &lease, &[11])).unwrap();
    assert_eq!(spans(&mut ledger), [(0, span(11, 12))]);
    ledger.assign(Lease::grant(partition(2)), Position::at(0));
    ledger.say(&partition(2));
    ledger.add(take(&mut intake, &lease, &[12])).unwrap();
    assert_eq!(spans(&mut ledger), [(0, span(12, 13)), (2, span(0, 0))]);
}

#[test]
fn transaction_markers_lie_inside_spans() {
    let (mut intake, mut ledger, lease) = assigned(10);
    // 10 and 13 are records; 11, 12 and 14 are markers. The first span begins at the committed position.
    ledger.add(take(&mut intake, &lease, &[10])).unwrap();
    ledger.add(take(&mut intake, &lease, &[13])).unwrap();
    assert_eq!(ledger.close().unwrap().parts()[0].span(), span(10, 14));
    ledger.add(take(&mut intake, &lease, &[15])).unwrap();
    assert_eq!(ledger.close().unwrap().parts()[0].span(), span(14, 16), "spans touch");
}

#[test]
fn batches_are_put_back_into_span_order() {
    let (mut intake, mut ledger, lease) = assigned(0);
    let first = take(&mut intake, &lease, &[0, 1]);
    let second = take(&mut intake, &lease, &[2, 3]);
    ledger.add(second).unwrap();
    assert!(ledger.close().is_none(), "a batch that came early waits");
    ledger.add(first).unwrap();
    let epoch = ledger.close().unwrap();
    assert_eq!(epoch.rows().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(epoch.parts()[0].span(), span(0, 4));
}

#[test]
fn a_batch_that_comes_twice_is_refused() {
    let (mut intake, mut ledger, lease) = assigned(0);
    ledger.add(take(&mut intake, &lease, &[0, 1])).unwrap();
    let mut again = Intake::default();
    again.assign(lease.clone(), Position::at(0));
    let refused = ledger.add(take(&mut again, &lease, &[0, 1])).unwrap_err();
    assert_eq!(refused, Disorder::Overlap { partition: partition(0), from: Position::at(0), next: Position::at(2) });
}

#[test]
fn a_lost_batch_is_found_as_a_gap() {
    let (mut intake, mut ledger, lease) = assigned(0);
    drop(take(&mut intake, &lease, &[0]));
    let mut add = |offset| ledger.add(take(&mut intake, &lease, &[offset])).err().map(|error| (offset, error));
    let gap = (1..200).find_map(&mut add);
    // Sixty-four may wait.
    assert_eq!(gap, Some((65, Disorder::Gap { partition: partition(0), next: Position::at(0) })));
    assert!(ledger.close().is_none(), "nothing behind the gap may be committed");
}

#[test]
fn records_before_the_committed_position_are_replay() {
    let (mut intake, _, lease) = assigned(5);
    let taken = intake.take(&lease, records(0, &[3, 4, 5, 6])).unwrap();
    assert_eq!(taken.replay.iter().map(|record| record.offset).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(taken.live.len(), 2);
}

#[test]
fn a_committed_position_that_is_decided_later_moves_and_what_was_read_stays_read() {
    let (mut intake, _, lease) = assigned(5);
    drop(take(&mut intake, &lease, &[3, 4]));
    intake.assign(lease.clone(), Position::at(6));
    assert!(intake.take(&lease, records(0, &[4])).is_err(), "it was read");
    let taken = intake.take(&lease, records(0, &[5, 6])).unwrap();
    assert_eq!((taken.replay.len(), taken.live.len()), (1, 1));
    let span = taken.live.parts[0].progress.span;
    assert_eq!((span.from, span.until), (Position::at(6), Position::at(7)));
}

#[test]
fn an_offset_that_comes_again_without_a_reset_is_an_error() {
    let (mut intake, _, lease) = assigned(0);
    drop(take(&mut intake, &lease, &[0, 1]));
    let back = intake.take(&lease, records(0, &[1])).unwrap_err();
    assert_eq!(back.to_string(), "posts/0 went back to offset 1 while 2 was expected");
}

#[test]
fn what_was_read_under_an_old_lease_is_nobodys() {
    let (mut intake, mut ledger, old) = assigned(0);
    let stale = take(&mut intake, &old, &[0, 1]);
    old.turn_off();
    let new = Lease::grant(partition(0));
    intake.assign(new.clone(), Position::at(0));
    ledger.assign(new.clone(), Position::at(0));
    ledger.add(stale).unwrap();
    assert!(ledger.close().is_none());
    assert!(intake.take(&old, records(0, &[2])).unwrap().live.is_empty());
    ledger.add(take(&mut intake, &new, &[0, 1])).unwrap();
    assert_eq!(ledger.close().unwrap().parts()[0].span(), span(0, 2));
}

#[test]
fn a_released_partition_keeps_nothing() {
    let (mut intake, mut ledger, lease) = assigned(0);
    ledger.add(take(&mut intake, &lease, &[0])).unwrap();
    ledger.release(&partition(0));
    assert!(intake.release(&partition(0)).is_some());
    assert!(ledger.close().is_none());
    assert!(intake.take(&lease, records(0, &[1])).unwrap().live.is_empty());
}

#[test]
fn rows_aside_carry_the_unchanged_position() {
    let (_, mut ledger, _) = assigned(7);
    assert!(ledger.add_aside(&partition(0), vec![99]));
    assert!(!ledger.add_aside(&partition(1), vec![99]), "not ours");
    assert_eq!(ledger.close().unwrap().parts()[0].span(), span(7, 7));
    assert!(ledger.close().is_none());
}

#[test]
fn open_rows_are_weighed_until_they_leave() {
    let (mut intake, mut ledger, lease) = assigned(0);
    let (first, second) = (take(&mut intake, &lease, &[0, 1, 2]), take(&mut intake, &lease, &[3, 4]));
    ledger.add(second).unwrap();
    assert_eq!(ledger.weight(), 0, "it waits for the first");
    ledger.add(first).unwrap();
    assert!(ledger.add_aside(&partition(0), vec![90]));
    assert_eq!((ledger.weight(), ledger.weight_of(&partition(0)), ledger.weight_of(&partition(1))), (100, 100, 0));
    assert!(ledger.close_part(&partition(0)).is_some());
    assert_eq!((ledger.weight(), ledger.len()), (0, 0));
    ledger.add(take(&mut intake, &lease, &[5])).unwrap();
    ledger.release(&partition(0));
    assert_eq!(ledger.weight(), 0);
}

impl Ends for i64 {
    fn next(&self) -> Position {
        Position::after(*self)
    }
}

#[test]
fn a_part_that_is_closed_at_an_end_leaves_what_lies_behind_it_and_is_never_empty() {
    let (mut intake, mut ledger, lease) = assigned(2);
    ledger.add(take(&mut intake, &lease, &[2, 3, 4])).unwrap();
    for until in [1, 2, 6] {
        assert!(ledger.close_part_until(&partition(0), Position::at(until)).is_none(), "until {until}");
    }
    let closed = ledger.close_part_until(&partition(0), Position::at(4)).unwrap();
    assert_eq!((closed.span(), closed.rows()), (span(2, 4), &[2, 3][..]));
    assert_eq!((ledger.rows(&partition(0)), ledger.weight()), (&[4][..], 4));
    let rest = ledger.close_part_until(&partition(0), Position::at(5)).unwrap();
    assert_eq!((rest.span(), rest.rows()), (span(4, 5), &[4][..]));
}

#[test]
fn a_batch_names_the_leases_that_it_was_read_under() {
    let (mut intake, _, lease) = assigned(0);
    let mut batch = take(&mut intake, &lease, &[0, 1]);
    let apart = take(&mut intake, &lease, &[2]);
    batch.merge(take(&mut intake, &lease, &[3]));
    assert_eq!(batch.leases().count(), 2, "it does not go on where the other ends");
    let mut batch = take(&mut intake, &lease, &[4]);
    batch.merge(take(&mut intake, &lease, &[5]));
    assert_eq!((batch.leases().count(), apart.len()), (1, 1), "it does");
    let other = Lease::grant(partition(1));
    intake.assign(other.clone(), Position::at(0));
    batch.merge(intake.take(&other, records(1, &[0])).unwrap().live.map(|record| record.offset));
    assert_eq!(batch.leases().collect::<Vec<_>>(), [&lease, &other]);
}

#[test]
fn a_batch_is_split_after_so_many_rows_wherever_its_parts_end() {
    let (mut intake, _, lease) = assigned(0);
    let other = Lease::grant(partition(1));
    intake.assign(other.clone(), Position::at(0));
    let both = |intake: &mut Intake, from: i64| {
        let mut batch = intake.take(&lease, records(0, &[from, from + 1])).unwrap().live;
        batch.merge(intake.take(&other, records(1, &[from, from + 1, from + 2])).unwrap().live);
        batch
    };
    let rows = |batch: &Batch<Record>| batch.rows().map(|row| (row.partition.number, row.offset)).collect::<Vec<_>>();
    let all = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)];
    for count in 0..=6_usize {
        let mut intake = Intake::default();
        intake.assign(lease.clone(), Position::at(0));
        intake.assign(other.clone(), Position::at(0));
        let (head, tail) = both(&mut intake, 0).split_at(count);
        let cut = count.min(all.len());
        assert_eq!((rows(&head), rows(&tail)), (all[..cut].to_vec(), all[cut..].to_vec()), "{count}");
        assert_eq!((head.is_empty(), tail.is_empty()), (count == 0, count >= all.len()), "{count}");
    }
}

#[test]
fn records_and_rows_weigh_what_they_hold() {
    let (key, value) = (Some(Bytes::from_static(b"four")), Some(Bytes::from_static(b"sixsix")));
    let headers: Headers = [("abc", Some("defg")), ("f", None)].into_iter().collect();
    let full = Record { key: key.clone(), value: value.clone(), headers: headers.clone(), ..record(0, 1) };
    assert_eq!(full.size(), 4 + 6 + 3 + 4 + 1);
    assert_eq!(full.weight(), size_of::<Record>() + 18);
    let output = Output { topic: Arc::from("out"), partition: 0, key, value, headers };
    assert_eq!(output.size(), 18);
    let row = Row { outputs: vec![output.clone(), output], note: () };
    assert_eq!(row.weight(), 2 * 2 * (size_of::<Output>() + 18));
}

#[test]
fn nothing_is_taken_under_a_lease_that_is_another_or_off_and_replay_is_no_progress() {
    let (mut intake, _, lease) = assigned(5);
    let stranger = Lease::grant(partition(0));
    assert!(intake.take(&stranger, records(0, &[5])).unwrap().live.is_empty(), "it is on, and another one");
    let replay = intake.take(&lease, records(0, &[3, 4])).unwrap();
    assert_eq!((replay.replay.len(), replay.live.leases().count()), (2, 0));
    lease.turn_off();
    assert!(intake.take(&lease, records(0, &[5])).unwrap().live.is_empty(), "it is the same, and off");
}

#[test]
fn a_join_with_too_few_values_is_refused() {
    let (mut intake, _, lease) = assigned(0);
    let batch = take(&mut intake, &lease, &[0, 1]);
    assert_eq!(batch.zip(vec!['a']).unwrap_err().to_string(), "1 values were given for 2 rows");
}

proptest! {
    /// Whatever is cut, merged, split and reordered: the epoch holds every row once, in order, under one span.
    #[test]
    fn no_cut_changes_what_an_epoch_holds(
        gaps in prop::collection::vec(1_i64..4, 1..60),
        cuts in prop::collection::vec(1_usize..9, 1..40),
        pool in 1_usize..20,
        seed in any::<u64>(),
    ) {
        let mut offsets = vec![];
        let mut next = 0;
        for gap in &gaps { offsets.push(next); next += gap; }
        let (mut intake, mut ledger, lease) = assigned(0);
        let mut batches = Vec::new();
        let mut rest = offsets.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            let mut merged = intake.take(&lease, records(0, head)).unwrap().live;
            rest = tail;
            while !merged.is_empty() {
                let (one, other) = merged.split_at(pool);
                batches.push(one.map(|record| record.offset));
                merged = other;
            }
        }
        if batches.len() > 60 { return Ok(()); }
        let mut state = seed;
        while !batches.is_empty() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = usize::try_from(state >> 33).unwrap() % batches.len();
            ledger.add(batches.swap_remove(index)).unwrap();
        }
        let epoch = ledger.close().unwrap();
        prop_assert_eq!(epoch.rows().copied().collect::<Vec<_>>(), offsets.clone());
        prop_assert_eq!(epoch.parts()[0].span(), span(0, offsets.last().unwrap() + 1));
    }
}
