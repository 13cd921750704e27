//! What a member has, and what it hears of what it has not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use crate::memory::{Log, ReadBack, Script, Source, Transactions};
use crate::stream::{Feed, Headers, Output, Partition, Position, Transaction as _};
use crate::time::{ManualClock, Timestamp};

fn partition(number: i32) -> Partition {
    Partition::new(&Arc::from("posts"), number)
}

/// Three partitions; a transaction of somebody else's carries positions of the first two.
fn hidden() -> (Log, Arc<str>, Transactions) {
    let (log, group) = (Log::new(), Arc::from("signal"));
    log.create(&Arc::from("posts"), 3);
    log.create(&Arc::from("alerts"), 3);
    log.next_generation(&group);
    let clock = Arc::new(ManualClock::default());
    let mut other = Transactions::new(log.clone(), group.clone(), "other", clock, Script::default());
    other.begin().unwrap();
    other.read_metadata().unwrap();
    other.send_offsets(&[0, 1].map(|number| (partition(number), Position::at(2)))).unwrap();
    (log, group, other)
}

fn begins(source: &mut Source) -> Vec<Partition> {
    let assigned = |feed| match feed {
        Feed::Assigned(assignment) => assignment.lease.partition().clone(),
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(|| source.poll(1)).map(assigned).collect()
}

#[test]
fn a_partition_that_is_lost_before_it_has_begun_never_begins_and_the_others_do() {
    let (log, group, mut other) = hidden();
    let mut source = Source::new(log, group, None);
    source.assign_topic(&Arc::from("posts"));
    assert_eq!(begins(&mut source), [partition(2)]);
    assert_eq!(source.partitions(), [partition(2), partition(0), partition(1)]);
    source.lose(&partition(0));
    assert!(matches!(source.poll(1), Some(Feed::Lost { partitions }) if partitions == [partition(0)]));
    other.commit().unwrap();
    assert_eq!(begins(&mut source), [partition(1)]);
}

#[test]
fn nothing_is_said_of_a_partition_that_this_member_has_not() {
    let (log, group, _other) = hidden();
    let mut source = Source::new(log, group, None);
    source.assign(partition(0));
    source.lose(&partition(1));
    assert!(source.poll(1).is_none());
    assert_eq!(source.partitions(), [partition(0)]);
}

#[test]
fn a_partition_that_is_read_ahead_is_this_members_once() {
    let (log, group, _other) = hidden();
    let back = ReadBack { look_back: Duration::from_secs(1), alerts: Arc::from("alerts") };
    let mut source = Source::new(log, group, Some(back));
    source.assign(partition(0));
    assert_eq!(begins(&mut source), [partition(0)], "it is not decided where, and what is before is read");
    assert_eq!(source.partitions(), [partition(0)]);
}

#[test]
fn what_is_read_ahead_ends_before_the_position_that_is_not_decided() {
    let (log, group, mut other) = hidden();
    let record = Output { topic: Arc::from("posts"), partition: 0, key: None, value: None, headers: Headers::new() };
    for second in 0..3 {
        log.append(&record, Timestamp::from_millis(second * 1_000)).unwrap();
    }
    log.commit_offsets(&group, &[(partition(0), Position::at(1))]);
    let back = ReadBack { look_back: Duration::from_secs(60), alerts: Arc::from("alerts") };
    let mut source = Source::new(log, group, Some(back));
    source.assign(partition(0));
    let mut offsets = || match source.poll(9) {
        Some(Feed::Assigned(assignment)) => vec![-1 - assignment.committed.offset()],
        Some(Feed::Records { records, .. }) => records.iter().map(|record| record.offset).collect(),
        None => Vec::new(),
        other => panic!("{other:?}"),
    };
    assert_eq!([offsets(), offsets(), offsets()], [vec![-2], vec![0], vec![]]);
    other.commit().unwrap();
    assert_eq!([offsets(), offsets()], [vec![-3], vec![1, 2]]);
}

#[test]
fn alerts_are_handed_over_up_to_the_end_that_they_had_when_it_was_decided_where_to_begin() {
    let (log, group, mut other) = hidden();
    let alert = Output { topic: Arc::from("alerts"), partition: 2, key: None, value: None, headers: Headers::new() };
    other.produce(&alert).unwrap();
    let back = ReadBack { look_back: Duration::from_secs(1), alerts: Arc::from("alerts") };
    let mut source = Source::new(log.clone(), group, Some(back));
    source.assign(partition(2));
    assert!(source.poll(1).is_none(), "the alert may still be given up");
    log.append(&alert, Timestamp::default()).unwrap();
    other.commit().unwrap();
    let Some(Feed::Assigned(assignment)) = source.poll(1) else { panic!("it begins") };
    assert_eq!(assignment.restored.iter().map(|alert| alert.offset).collect::<Vec<_>>(), [0]);
}
