//! When a segment ends, one reason at a time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::Envelope;
use crate::model::Task;
use crate::pipeline::archive::{ArchiveCore, ArchiveLimits, ArchiveNote, ArchiveRow, Content, Segment, SegmentDone};
use crate::pipeline::limit::Fate as _;
use crate::pipeline::score::Routes;
use crate::pipeline::stage::{Effect, Event, Stage as _};
use crate::pipeline::{DeadLetterLimit, Topics, Witness};
use crate::sample::Policy;
use crate::stream::{Assignment, Command, Feed, Headers, Lease, Outcome, Partition, Position, Record, Row};
use crate::time::Timestamp;

const AGE: Duration = Duration::from_secs(300);
const ROWS: usize = 100;
const LABEL: &[u8] = include_bytes!("../../../schemas/examples/label/v1/sentiment.json");

type Said = Effect<Segment, ArchiveNote>;

fn core(until_end: bool) -> ArchiveCore {
    core_of(until_end, 1 << 20)
}

fn core_of(until_end: bool, bytes: usize) -> ArchiveCore {
    let routes = Routes {
        topics: Topics::of("test"),
        envelope: Envelope { source: Arc::from("bellwether/test") },
        scored: 1,
        mentions: 1,
        dead_letters: 1,
        value_bytes_max: 1 << 20,
    };
    ArchiveCore::new(ArchiveLimits { rows: ROWS, bytes, age: AGE, policy: Policy::All, until_end }, routes)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// A partition of the labels.
fn partition(number: i32) -> Partition {
    Partition::new(&Topics::of("test").labels, number)
}

fn assign(core: &mut ArchiveCore, number: i32, committed: i64) -> Lease {
    let lease = Lease::grant(partition(number));
    let (committed, restored) = (Position::at(committed), Vec::new());
    let assignment = Assignment { lease: lease.clone(), committed, is_decided: true, restored };
    assert!(spans(core.on(Event::Feed(Feed::Assigned(assignment)), at(0))).is_empty());
    lease
}

/// Labels of these offsets come.
fn come(core: &mut ArchiveCore, lease: &Lease, offsets: std::ops::Range<i64>, now: i64) -> Vec<(i32, i64, i64)> {
    come_as(core, lease, offsets, now, LABEL)
}

fn come_as(
    core: &mut ArchiveCore,
    lease: &Lease,
    offsets: std::ops::Range<i64>,
    now: i64,
    value: &'static [u8],
) -> Vec<(i32, i64, i64)> {
    spans(core.on(Event::Feed(records(lease, offsets, value)), at(now)))
}

fn records(lease: &Lease, offsets: std::ops::Range<i64>, value: &'static [u8]) -> Feed {
    let record = |offset| Record {
        partition: lease.partition().clone(),
        offset,
        appended_at: at(offset),
        key: None,
        value: Some(Bytes::from_static(value)),
        headers: Headers::new(),
    };
    Feed::Records { lease: lease.clone(), records: offsets.map(record).collect() }
}

fn turn(core: &mut ArchiveCore, now: i64) -> Vec<(i32, i64, i64)> {
    spans(core.on(Event::Turn, at(now)))
}

/// A job comes back: the segment is published.
fn publish(core: &mut ArchiveCore, segment: Segment, now: i64) -> Vec<Said> {
    let note = ArchiveNote::Segment { dataset: "labels", kept: Vec::new(), bytes: 1, taken: false };
    let closed = segment.closed.transform(|_| vec![Row { outputs: Vec::new(), note }]);
    core.on(Event::Done(Ok(SegmentDone::Published(closed))), at(now))
}

fn segments(effects: Vec<Said>) -> Vec<Segment> {
    let segment = |effect| if let Effect::Work(segment) = effect { Some(segment) } else { None };
    effects.into_iter().filter_map(segment).collect()
}

fn is_finished(effects: &[Said]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Finished))
}

/// The segments that are to be written: partition, from, until.
fn spans(effects: Vec<Said>) -> Vec<(i32, i64, i64)> {
    let span = |effect| match effect {
        Effect::Work(Segment { closed, .. }) => {
            Some((closed.partition().number, closed.span().from.offset(), closed.span().until.offset()))
        }
        Effect::Halt(why) => panic!("{why}"),
        _ => None,
    };
    effects.into_iter().filter_map(span).collect()
}

#[test]
fn a_segment_ends_by_its_age_or_its_rows_and_not_before() {
    let mut core = core(false);
    let lease = assign(&mut core, 0, 0);
    assert_eq!(come(&mut core, &lease, 0..3, 10), []);
    assert_eq!(turn(&mut core, 309), []);
    assert_eq!(turn(&mut core, 310), [(0, 0, 3)]);
    let other = assign(&mut core, 1, 0);
    assert_eq!(come(&mut core, &other, 0..99, 320), []);
    assert_eq!(come(&mut core, &other, 99..100, 320), [(1, 0, 100)], "it is full");
}

#[test]
fn a_segment_ends_by_its_bytes_and_of_many_the_largest_when_all_together_have_too_many() {
    let lease = |core: &mut ArchiveCore, number| assign(core, number, 0);
    let weight = |labels: i64| {
        let mut core = core_of(false, 1 << 40);
        let lease = lease(&mut core, 0);
        assert_eq!(come(&mut core, &lease, 0..labels, 1), []);
        core.weight()
    };
    let one = weight(1);
    assert_eq!((one, weight(10)), (size_of::<ArchiveRow>() + LABEL.len(), 10 * one));
    let mut alone = core_of(false, 10 * one);
    let first = lease(&mut alone, 0);
    assert_eq!(come(&mut alone, &first, 0..9, 1), []);
    assert_eq!(come(&mut alone, &first, 9..10, 1), [(0, 0, 10)]);
    let mut many = core_of(false, 10 * one);
    let leases = [0, 1, 2].map(|number| lease(&mut many, number));
    for (lease, labels) in leases.iter().zip([2, 5, 2]) {
        assert_eq!(come(&mut many, lease, 0..labels, 1), []);
    }
    assert_eq!(come(&mut many, &leases[2], 2..3, 1), [(1, 0, 5)], "the largest");
    // That one is being written: of the others the largest is next, when all of them are too much again.
    assert_eq!(come(&mut many, &leases[1], 5..11, 1), [(2, 0, 3)]);
}

#[test]
fn a_partition_whose_segment_is_not_committed_waits_with_the_next_and_the_others_do_not() {
    let mut core = core(false);
    let (lease, other) = (assign(&mut core, 0, 0), assign(&mut core, 1, 0));
    assert_eq!(come(&mut core, &lease, 0..3, 10), []);
    let segment = segments(core.on(Event::Turn, at(310))).remove(0);
    let effects = publish(&mut core, segment, 311);
    let committing = effects.iter().any(|effect| matches!(effect, Effect::Commit(_)));
    assert!(committing);
    // While that end is committed, a second segment of another partition is published and waits.
    assert_eq!(come(&mut core, &other, 0..3, 312), []);
    let second = segments(core.on(Event::Turn, at(612))).remove(0);
    assert!(publish(&mut core, second, 613).iter().all(|effect| !matches!(effect, Effect::Commit(_))));
    assert_eq!((come(&mut core, &lease, 3..6, 614), come(&mut core, &other, 3..6, 614)), (vec![], vec![]));
    assert_eq!(
        turn(&mut core, 914),
        [],
        "where the next may turn out to end elsewhere, nothing of this one is under way"
    );
    let next = core.on(Event::Committed(Outcome::Committed(Vec::new())), at(915));
    assert!(next.iter().any(|effect| matches!(effect, Effect::Commit(_))), "the one that waited");
    assert_eq!(spans(next), [(0, 3, 6)]);
    let next = core.on(Event::Committed(Outcome::Committed(Vec::new())), at(916));
    assert_eq!(spans(next), [(1, 3, 6)]);
}

#[test]
fn it_is_finished_when_all_is_written_and_committed_and_not_before() {
    let mut core = core(false);
    let lease = assign(&mut core, 0, 0);
    assert_eq!(come(&mut core, &lease, 0..3, 10), []);
    let closing = core.on(Event::Finish, at(11));
    assert!(!is_finished(&closing), "it is not written");
    let segment = segments(closing).remove(0);
    assert!(!is_finished(&core.on(Event::Turn, at(12))));
    assert!(!is_finished(&publish(&mut core, segment, 13)), "it is not committed");
    assert!(is_finished(&core.on(Event::Committed(Outcome::Committed(Vec::new())), at(14))));
    assert!(!is_finished(&assigned_alone().on(Event::Turn, at(15))), "nobody asked for an end");
}

fn assigned_alone() -> ArchiveCore {
    let mut core = core(false);
    assign(&mut core, 0, 0);
    core
}

#[test]
fn a_partition_that_leaves_before_another_writers_end_is_let_go_with_what_it_has() {
    let (mut core, spans) = after_another(0);
    assert_eq!(spans, [(0, 0, 5)]);
    let ends = SegmentDone::EndsElsewhere { partition: partition(0), until: Position::at(7) };
    core.on(Event::Done(Ok(ends)), at(400));
    let lease = assign(&mut core, 0, 0);
    assert_eq!(come(&mut core, &lease, 0..4, 401), [], "it waits for 7");
    let (settled, _waiting) = sync_channel(1);
    let effects = core.on(Event::Feed(Feed::Revoked { partitions: vec![partition(0)], settled }), at(402));
    let gone = effects.iter().any(|effect| matches!(effect, Effect::Settled(those) if *those == [partition(0)]));
    assert!(gone && segments(effects).is_empty());
}

#[test]
fn a_partition_that_leaves_is_closed_at_once_and_the_others_stay_open() {
    let mut core = core(false);
    let (lease, other) = (assign(&mut core, 0, 0), assign(&mut core, 1, 0));
    assert_eq!((come(&mut core, &lease, 0..3, 10), come(&mut core, &other, 0..4, 10)), (vec![], vec![]));
    let (settled, _waiting) = sync_channel(1);
    let revoked = Feed::Revoked { partitions: vec![partition(0)], settled };
    assert_eq!(spans(core.on(Event::Feed(revoked), at(11))), [(0, 0, 3)]);
    assert_eq!(spans(core.on(Event::Finish, at(12))), [(1, 0, 4)], "and at the end all are");
}

#[test]
fn what_is_lost_is_never_written_and_the_rest_is() {
    let mut core = core(false);
    let (lease, other) = (assign(&mut core, 0, 0), assign(&mut core, 1, 0));
    assert_eq!((come(&mut core, &lease, 0..3, 10), come(&mut core, &other, 0..4, 10)), (vec![], vec![]));
    lease.turn_off();
    core.on(Event::Feed(Feed::Lost { partitions: vec![partition(0)] }), at(11));
    assert_eq!(core.held().into_iter().collect::<Vec<_>>(), [partition(1)]);
    assert_eq!(turn(&mut core, 400), [(1, 0, 4)]);
}

#[test]
fn at_the_end_of_what_was_there_everything_is_closed() {
    let mut core = core(true);
    let lease = assign(&mut core, 0, 0);
    assert_eq!(come(&mut core, &lease, 0..3, 10), []);
    assert_eq!(spans(core.on(Event::Feed(Feed::End { partition: partition(0) }), at(11))), [(0, 0, 3)]);
}

/// Another writer published a segment that ends at 5: ours begins again at `committed`, with labels 0 to 8 on the log.
fn after_another(committed: i64) -> (ArchiveCore, Vec<(i32, i64, i64)>) {
    let mut core = core(false);
    let (lease, bystander) = (assign(&mut core, 0, 0), assign(&mut core, 1, 0));
    assert_eq!((come(&mut core, &lease, 0..3, 10), come(&mut core, &bystander, 0..2, 10)), (vec![], vec![]));
    assert_eq!(turn(&mut core, 310), [(0, 0, 3), (1, 0, 2)]);
    let ends = |number, until| SegmentDone::EndsElsewhere { partition: partition(number), until: Position::at(until) };
    let effects = core.on(Event::Done(Ok(ends(1, 4))), at(311));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Source(Command::Reset(_)))));
    core.on(Event::Done(Ok(ends(0, 5))), at(311));
    // The bystander waits for its end too, and the other one's return changes nothing about it.
    let bystander = assign(&mut core, 1, 0);
    let lease = assign(&mut core, 0, committed);
    assert_eq!(come(&mut core, &bystander, 0..3, 312), []);
    assert_eq!(come(&mut core, &bystander, 3..9, 312), [(1, 0, 4)]);
    let spans = come(&mut core, &lease, committed..9, 312);
    (core, spans)
}

#[test]
fn a_segment_ends_where_another_writers_does() {
    assert_eq!(after_another(0).1, [(0, 0, 5)]);
    assert_eq!(after_another(3).1, [(0, 3, 5)]);
}

#[test]
fn the_source_is_not_made_to_wait_before_another_writers_end_however_far_it_is() {
    let one = size_of::<ArchiveRow>() + LABEL.len();
    let mut core = core_of(false, 3 * one);
    let lease = assign(&mut core, 0, 0);
    assert_eq!(come(&mut core, &lease, 0..3, 10), [(0, 0, 3)]);
    let ends = SegmentDone::EndsElsewhere { partition: partition(0), until: Position::at(50) };
    core.on(Event::Done(Ok(ends)), at(11));
    let lease = assign(&mut core, 0, 0);
    for (offsets, value) in [(0..48, LABEL), (48..49, b"none")] {
        let effects = core.on(Event::Feed(records(&lease, offsets, value)), at(12));
        assert!(effects.is_empty(), "{effects:?}");
    }
    let segment = segments(core.on(Event::Feed(records(&lease, 49..51, LABEL)), at(12))).remove(0);
    let rows = segment.closed.rows();
    let is_left = |row: &ArchiveRow| matches!(row.content, Content::NotKept) && row.bytes == 0;
    assert!(rows[..48].iter().all(is_left) && is_left(&rows[49]), "they are written");
    assert!(matches!(rows[48].content, Content::Dead { .. }), "its letter may not be sent");
    assert_eq!((rows.len(), core.weight()), (50, one), "what lies behind it is kept");
}

#[test]
fn an_end_that_somebody_committed_meanwhile_is_forgotten() {
    let (mut core, spans) = after_another(5);
    assert_eq!(spans, []);
    let aged = turn(&mut core, 900);
    assert!(aged.contains(&(0, 5, 9)), "{aged:?}");
}

#[test]
fn a_source_that_is_too_quick_waits_at_twice_the_bytes_and_goes_on_below_one_and_a_half_times() {
    let one = size_of::<ArchiveRow>() + LABEL.len();
    let mut core = core_of(false, 10 * one);
    let leases = [0, 1, 2, 3].map(|number| assign(&mut core, number, 0));
    let asked = |effects: Vec<Said>| {
        let command = |effect| if let Effect::Source(command) = effect { Some(command) } else { None };
        effects.into_iter().filter_map(command).collect::<Vec<_>>()
    };
    // Two jobs are under way and none comes back, so that what comes stays open.
    assert_eq!((come(&mut core, &leases[0], 0..10, 1), come(&mut core, &leases[1], 0..10, 1)).0.len(), 1);
    let mut feed =
        |number: usize, offsets| asked(core.on(Event::Feed(records(&leases[number], offsets, LABEL)), at(2)));
    assert_eq!(feed(2, 0..19), [], "nineteen of twenty");
    assert_eq!(feed(2, 19..20), [Command::Pause]);
    assert_eq!(feed(3, 0..1), [], "it was told already");
    core.on(Event::Feed(Feed::Lost { partitions: vec![partition(2)] }), at(3));
    // One is left, and it is below.
    assert_eq!(core.weight(), one);
    let after_a_loss = |kept: i64| {
        let mut core = core_of(false, 10 * one);
        let leases = [0, 1, 2, 3].map(|number| assign(&mut core, number, 0));
        come(&mut core, &leases[0], 0..10, 1);
        come(&mut core, &leases[1], 0..10, 1);
        let mut feed =
            |number: usize, offsets| asked(core.on(Event::Feed(records(&leases[number], offsets, LABEL)), at(2)));
        assert_eq!((feed(2, 0..kept), feed(3, 0..14)), (vec![], vec![Command::Pause]), "{kept} and fourteen");
        asked(core.on(Event::Feed(Feed::Lost { partitions: vec![partition(3)] }), at(3)))
    };
    assert_eq!(after_a_loss(15), [], "fifteen are not below fifteen");
    assert_eq!(after_a_loss(14), [Command::Resume]);
}

#[test]
fn a_revoke_waits_until_what_is_written_is_committed() {
    let mut core = core(false);
    let lease = assign(&mut core, 0, 0);
    assert_eq!(come(&mut core, &lease, 0..3, 10), []);
    let (settled, _waiting) = sync_channel(1);
    let revoked = Feed::Revoked { partitions: vec![partition(0)], settled };
    let is_settled = |effects: &[Said]| effects.iter().any(|effect| matches!(effect, Effect::Settled(_)));
    let effects = core.on(Event::Feed(revoked), at(11));
    assert!(!is_settled(&effects), "it is being written");
    let segment = segments(effects).remove(0);
    assert!(!is_settled(&core.on(Event::Turn, at(12))));
    assert!(!is_settled(&publish(&mut core, segment, 13)), "it is being committed");
    assert!(is_settled(&core.on(Event::Committed(Outcome::Committed(Vec::new())), at(14))));
}

#[test]
fn a_label_of_a_task_or_class_that_there_is_not_is_a_dead_letter_that_names_those_there_are() {
    let aliases = [("Bullish".to_owned(), "positive".to_owned())].into();
    let task = Task { aliases, ..Task::plain("sentiment", &["negative", "positive"]) };
    let mut core = core(false).knowing([task].into());
    let lease = assign(&mut core, 0, 0);
    let label = |task: &str, class: &str| {
        format!(
            r#"{{"post_id": "p", "task": "{task}", "label": "{class}", "annotator": "kim", "at": "2026-03-02T13:30:00Z"}}"#
        )
    };
    let all = [("sentiment", "negative"), ("sentiment", "Bullish"), ("sentiment", "angry"), ("mood", "negative")];
    for (offset, (task, class)) in (0..).zip(all) {
        assert_eq!(come_as(&mut core, &lease, offset..offset + 1, 10, label(task, class).leak().as_bytes()), []);
    }
    let closed = core.on(Event::Finish, at(11)).into_iter().find_map(|effect| match effect {
        Effect::Work(segment) => Some(segment.closed),
        _ => None,
    });
    let rows = closed.unwrap();
    let told: Vec<&str> = rows.rows().iter().map(|row| row.dead().map_or("kept", |(_, message)| message)).collect();
    let [first, alias, class, task] = told.as_slice() else { unreachable!("four rows") };
    assert_eq!((*first, *alias), ("kept", "kept"));
    assert_eq!(*class, "sentiment has no class \"angry\"; it has negative, positive");
    assert_eq!(*task, "there is no task \"mood\"; there are sentiment");
}

#[test]
fn a_label_that_cannot_be_read_counts_against_the_limit_and_the_figure_says_how_near_it_is() {
    let mut core = core(false).stopping_at(DeadLetterLimit { window_records: 10, share_max: 0.2 });
    let lease = assign(&mut core, 0, 0);
    let witness = Witness::alone(Arc::new(crate::time::ManualClock::default()));
    assert_eq!(come_as(&mut core, &lease, 0..1, 10, b"no label"), []);
    core.tell(&witness);
    let shown = witness.metrics.render();
    assert!(shown.contains("bellwether_dead_letter_limit_used_ratio{stage=\"archive\"} 0.5"), "{shown}");
    let bad = core.on(Event::Feed(records(&lease, 1..3, b"no label")), at(11));
    assert!(bad.iter().any(|effect| matches!(effect, Effect::BadData(_))), "{bad:?}");
}
