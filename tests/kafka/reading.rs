//! How a source begins, reads, ends and gives up.

use std::collections::BTreeMap;

use super::*;
use bellwether::kafka::{KafkaError, Producer, Tail};
use bellwether::stream::{Intake, Ledger, Transaction};
use rdkafka::consumer::CommitMode;

#[test]
fn a_partition_begins_at_the_oldest_record_and_then_where_it_was_committed() {
    let corner = Corner::new("begin");
    let topic = corner.topic("in", 1, Upkeep::Input);
    corner.write(&topic, numbered(0..10));
    let first = corner.read(&[&topic]);
    assert_eq!(first.assigned().committed, Position::at(0));
    let (_, records) = first.records(10);
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), (0..10).collect::<Vec<i64>>());
    assert_eq!(value(&records[9]), "value-9");
    let mut port = Producer::offsets_only(&corner.settings, first.source().membership(), corner.clock.clone());
    port.flush().unwrap();
    port.commit_offsets(&[(Partition::new(&topic, 0), Position::at(4))]).unwrap();
    assert_eq!(first.source().lags()[0].records, 6);
    first.stop();
    let second = corner.read(&[&topic]);
    assert_eq!(second.assigned().committed, Position::at(4));
    assert_eq!(second.records(6).1[0].offset, 4);
    second.stop();
}

#[test]
fn transaction_markers_lie_inside_spans_and_spans_touch() {
    let corner = Corner::new("markers");
    let topic = corner.topic("in", 1, Upkeep::Retained);
    corner.transaction(&topic, 0, &["a", "b", "c"]);
    corner.transaction(&topic, 0, &["d", "e"]);
    let reader = corner.read(&[&topic]);
    let Assignment { lease, committed, .. } = reader.assigned();
    let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
    intake.assign(lease.clone(), committed);
    ledger.assign(lease.clone(), committed);
    let mut read = 0;
    while read < 5 {
        let (lease, records) = reader.records(1);
        read += records.len();
        ledger.add(intake.take(&lease, records).unwrap().live).unwrap();
    }
    let closed = ledger.close_part(lease.partition()).unwrap();
    // Offsets 0 1 2, a marker at 3, then 4 5, and a marker at 6 that nobody has passed yet.
    assert_eq!(closed.span().to_string(), "[0..6)");
    corner.transaction(&topic, 0, &["f"]);
    let (lease, records) = reader.records(1);
    assert_eq!(records[0].offset, 7);
    ledger.add(intake.take(&lease, records).unwrap().live).unwrap();
    assert_eq!(ledger.close_part(lease.partition()).unwrap().span().to_string(), "[6..8)");
    reader.stop();
}

#[test]
fn a_group_that_nobody_knows_is_refused_where_it_has_written_and_not_where_its_inputs_are_new() {
    let corner = Corner::new("traces");
    let [old, new, output, aborted] =
        ["old", "new", "out", "aborted"].map(|name| corner.topic(name, 1, Upkeep::Retained));
    corner.transaction(&output, 0, &["a"]);
    corner.open_transaction(&aborted, 0, &["b"]).abort_transaction(SOON).unwrap();
    let config = |traces| SourceConfig { traces, ..corner.config(&[&new]) };
    let written = |topic: &Arc<str>| config(Traces::Records(vec![topic.clone()]));
    let refused = Source::start(written(&output), |_| true).unwrap_err().to_string();
    assert!(
        refused.contains(&format!("the group {} has no", corner.group())) && refused.contains(&*output),
        "{refused}"
    );
    // The first transaction of a process that died.
    Reader::start(SourceConfig { group: corner.prefix.clone(), ..written(&aborted) }).stop();
    // The group is there: only its input is another one now.
    let mut position = TopicPartitionList::new();
    position.add_partition_offset(&old, 0, Offset::Offset(0)).unwrap();
    corner.client_of(&corner.group()).commit(&position, CommitMode::Sync).unwrap();
    Reader::start(written(&output)).stop();
}

#[test]
fn the_end_is_reported_behind_markers_aborted_records_and_in_empty_partitions() {
    let corner = Corner::new("end");
    let topic = corner.topic("in", 4, Upkeep::Retained);
    corner.transaction(&topic, 0, &["a", "b"]);
    corner.open_transaction(&topic, 1, &["never"]).abort_transaction(SOON).unwrap();
    corner.transaction(&topic, 3, &["c"]);
    corner.open_transaction(&topic, 3, &["never", "either"]).abort_transaction(SOON).unwrap();
    let reader = Reader::start(SourceConfig { until_end: true, ..corner.config(&[&topic]) });
    let (mut read, mut ended) = (Vec::new(), Vec::new());
    while ended.len() < 4 {
        match reader.next() {
            Feed::Records { records, .. } => {
                assert!(!ended.contains(&records[0].partition.number), "records after the end");
                read.extend(records.iter().map(value));
            }
            Feed::End { partition } => ended.push(partition.number),
            _ => {}
        }
    }
    read.sort();
    ended.sort_unstable();
    assert_eq!((read, ended), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], vec![0, 1, 2, 3]));
    // A later end can be asked for.
    corner.transaction(&topic, 2, &["late"]);
    reader.source().mark_end();
    let mut ends = 0;
    while ends < 4 {
        ends += usize::from(matches!(reader.next(), Feed::End { .. }));
    }
    reader.stop();
}

#[test]
fn a_reset_reads_again_from_the_committed_position_under_a_new_lease() {
    let corner = Corner::new("reset");
    let topic = corner.topic("in", 1, Upkeep::Input);
    corner.write(&topic, numbered(0..3_000));
    let reader = corner.read(&[&topic]);
    let old = reader.assigned().lease;
    let at = old.partition().clone();
    let mut port = Producer::offsets_only(&corner.settings, reader.source().membership(), corner.clock.clone());
    port.commit_offsets(&[(at.clone(), Position::at(100))]).unwrap();
    reader.records(700);
    reader.source().command(Command::Reset(vec![at]));
    let new = loop {
        match reader.next() {
            Feed::Assigned(assignment) => break assignment,
            Feed::Records { lease, .. } => assert_eq!(lease, old),
            other => panic!("{other:?}"),
        }
    };
    assert!(!old.is_live() && new.lease.is_live());
    assert_eq!(new.committed, Position::at(100));
    let (_, records) = reader.records(2_900);
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), (100..3_000).collect::<Vec<i64>>());
    reader.stop();
}

#[test]
fn a_stage_that_takes_nothing_for_long_loses_nothing_and_polling_goes_on() {
    let corner = Corner::new("pressure");
    let topic = corner.topic("in", 1, Upkeep::Input);
    corner.write(&topic, numbered(0..60_000));
    let (sender, feeds) = bounded(0);
    let source = Source::start(corner.config(&[&topic]), move |feed| sender.send(feed).is_ok()).unwrap();
    let mut next = 0;
    let mut polled = Duration::ZERO;
    while next < 60_000 {
        if let Feed::Records { records, .. } = feeds.recv_timeout(SOON).unwrap() {
            for record in records {
                assert_eq!(record.offset, next);
                next += 1;
            }
            if next == 500 || next == 20_000 {
                std::thread::sleep(Duration::from_secs(3));
                assert!(source.polled_at() > polled + Duration::from_secs(2), "polling stood still");
                polled = source.polled_at();
            }
        }
    }
    source.command(Command::Pause);
    std::thread::sleep(Duration::from_millis(500));
    corner.write(&topic, ["after the pause".to_owned()]);
    assert!(feeds.recv_timeout(Duration::from_secs(2)).is_err(), "it was paused");
    source.command(Command::Resume);
    let Feed::Records { records, .. } = feeds.recv_timeout(SOON).unwrap() else { panic!("no records") };
    assert_eq!(records[0].offset, 60_000);
    source.command(Command::Stop);
    drop(feeds);
    source.join();
}

/// Mentions in partition 0 and alerts beside them, a signal stage's view.
fn signal(corner: &Corner) -> (Arc<str>, Arc<str>, SourceConfig) {
    let mentions = corner.topic("mentions", 1, Upkeep::Retained);
    let alerts_topic = corner.topic("alerts", 1, Upkeep::CompactedAfter(Duration::from_secs(604_800)));
    let read_back = Some(ReadBack { look_back: Duration::from_secs(3_600), alerts_topic: alerts_topic.clone() });
    let config = SourceConfig { read_back, ..corner.config(&[&mentions]) };
    (mentions, alerts_topic, config)
}

#[test]
fn alerts_of_an_open_transaction_are_waited_for_and_mentions_are_replayed() {
    let corner = Corner::new("restore");
    let (mentions, alerts, config) = signal(&corner);
    corner.transaction(&mentions, 0, &["m1", "m2", "m3"]);
    // A first owner commits the position after m2.
    let first = corner.read(&[&mentions]);
    let at = first.assigned().lease.partition().clone();
    let mut port = Producer::offsets_only(&corner.settings, first.source().membership(), corner.clock.clone());
    port.commit_offsets(&[(at, Position::at(2))]).unwrap();
    first.stop();
    corner.transaction(&alerts, 0, &["firing"]);
    let open = corner.open_transaction(&alerts, 0, &["resolved"]);
    let reader = Reader::start(config);
    // Only who has its partition could begin it: a slow start is no waiting.
    corner.wait_for_a_member();
    assert!(reader.feeds.recv_timeout(Duration::from_secs(3)).is_err(), "the open transaction was not waited for");
    open.commit_transaction(SOON).unwrap();
    let assignment = reader.assigned();
    // Of an alert (they have one key here) only what was said last is handed over.
    assert_eq!(assignment.restored.iter().map(value).collect::<Vec<_>>(), ["resolved"]);
    assert_eq!(assignment.committed, Position::at(2));
    let (lease, records) = reader.records(3);
    let mut intake = Intake::default();
    intake.assign(lease.clone(), assignment.committed);
    let taken = intake.take(&lease, records).unwrap();
    assert_eq!(taken.replay.iter().map(value).collect::<Vec<_>>(), ["m1", "m2"]);
    assert_eq!(taken.live.rows().map(value).collect::<Vec<_>>(), ["m3"]);
    reader.stop();
}

/// Mentions of which an owner that is dead had committed some, and an open transaction of its with an alert and a later
/// position.
struct Hidden {
    corner: Corner,
    config: SourceConfig,
    open: ThreadedProducer<DefaultProducerContext>,
}

impl Hidden {
    fn new(name: &str, mentions: usize, (known, hidden): (i64, i64)) -> Self {
        let corner = Corner::new(name);
        let (topic, alerts, config) = signal(&corner);
        corner.write(&topic, numbered(0..mentions));
        let first = corner.read(&[&topic]);
        let at = first.assigned().lease.partition().clone();
        let mut port = Producer::offsets_only(&corner.settings, first.source().membership(), corner.clock.clone());
        port.commit_offsets(&[(at.clone(), Position::at(known))]).unwrap();
        first.stop();
        corner.transaction(&alerts, 0, &["pending"]);
        let open = corner.open_transaction(&alerts, 0, &["firing"]);
        let mut positions = TopicPartitionList::new();
        positions.add_partition_offset(&at.topic, at.number, Offset::Offset(hidden)).unwrap();
        let member = corner.client_of(&corner.group()).group_metadata().unwrap();
        open.send_offsets_to_transaction(&positions, &member, SOON).unwrap();
        Self { corner, config, open }
    }
}

#[test]
fn what_is_committed_so_far_is_read_back_while_a_transaction_hides_the_rest() {
    let Hidden { config, open, corner: _corner } = Hidden::new("ahead", 2_000, (1_400, 1_700));
    let reader = Reader::start(config);
    let ahead = reader.assigned();
    assert_eq!(ahead.restored.iter().map(value).collect::<Vec<_>>(), ["pending"]);
    assert_eq!(ahead.committed, Position::at(1_400));
    let mut intake = Intake::default();
    intake.assign(ahead.lease.clone(), ahead.committed);
    let (lease, records) = reader.records(1_000);
    let mut replay = intake.take(&lease, records).unwrap().replay;
    assert_eq!(replay.len(), 1_000, "before anything is decided");
    open.commit_transaction(SOON).unwrap();
    let decided = loop {
        match reader.next() {
            Feed::Records { lease, records } => replay.extend(intake.take(&lease, records).unwrap().replay),
            Feed::Assigned(assignment) => break assignment,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(decided.lease, ahead.lease);
    assert_eq!(decided.restored.iter().map(value).collect::<Vec<_>>(), ["firing"]);
    assert_eq!(decided.committed, Position::at(1_700));
    intake.assign(decided.lease.clone(), decided.committed);
    let mut live = Vec::new();
    while live.len() < 300 {
        let (lease, records) = reader.records(1);
        let taken = intake.take(&lease, records).unwrap();
        replay.extend(taken.replay);
        live.extend(taken.live.rows().cloned());
    }
    assert_eq!(replay.iter().map(value).collect::<Vec<_>>(), numbered(0..1_700).collect::<Vec<_>>());
    assert_eq!(live.iter().map(value).collect::<Vec<_>>(), numbered(1_700..2_000).collect::<Vec<_>>());
    reader.stop();
}

#[test]
fn several_partitions_are_read_ahead_and_each_goes_on_from_its_own_place() {
    let corner = Corner::new("ahead-of-many");
    let mentions = corner.topic("mentions", 2, Upkeep::Retained);
    let alerts = corner.topic("alerts", 2, Upkeep::CompactedAfter(Duration::from_secs(604_800)));
    let read_back = Some(ReadBack { look_back: Duration::from_secs(3_600), alerts_topic: alerts.clone() });
    let config = SourceConfig { read_back, ..corner.config(&[&mentions]) };
    corner.transaction(&mentions, 0, &["a1", "a2", "a3", "a4"]);
    corner.transaction(&mentions, 1, &["b1", "b2", "b3", "b4"]);
    let first = corner.read(&[&mentions]);
    let (one, other) = (first.assigned().lease, first.assigned().lease);
    let mut port = Producer::offsets_only(&corner.settings, first.source().membership(), corner.clock.clone());
    let known = [0, 1].map(|number| (Partition::new(&mentions, number), Position::at(1 + i64::from(number))));
    port.commit_offsets(&known).unwrap();
    drop((one, other));
    first.stop();
    // What the dead owner had in hand: an alert and a later position of the one, a later position of the other.
    let open = corner.open_transaction(&alerts, 0, &["firing"]);
    let mut positions = TopicPartitionList::new();
    for number in [0, 1] {
        positions.add_partition_offset(&mentions, number, Offset::Offset(2 + i64::from(number))).unwrap();
    }
    let member = corner.client_of(&corner.group()).group_metadata().unwrap();
    open.send_offsets_to_transaction(&positions, &member, SOON).unwrap();
    let reader = Reader::start(config);
    let mut intake = Intake::default();
    let mut leases = BTreeMap::new();
    let (mut replay, mut live) = (Vec::new(), Vec::new());
    let mut open = Some(open);
    while live.len() < 3 {
        match reader.next() {
            Feed::Assigned(assignment) => {
                let number = assignment.lease.partition().number;
                let restored: Vec<_> = assignment.restored.iter().map(value).collect();
                let is_decided = leases.insert(number, assignment.lease.clone()).is_some_and(|lease| {
                    assert_eq!(lease, assignment.lease, "it goes on under the same lease");
                    true
                });
                let told: &[&str] = if is_decided && number == 0 { &["firing"] } else { &[] };
                assert_eq!(restored, told, "partition {number}");
                let place = Position::at(1 + i64::from(number) + i64::from(is_decided));
                assert_eq!(assignment.committed, place, "partition {number}");
                intake.assign(assignment.lease, assignment.committed);
            }
            Feed::Records { lease, records } => {
                let taken = intake.take(&lease, records).unwrap();
                replay.extend(taken.replay.iter().map(value));
                live.extend(taken.live.rows().map(value));
            }
            other => panic!("{other:?}"),
        }
        // Both begin with what is known before anything is decided.
        if let Some(open) = open.take_if(|_| leases.len() == 2) {
            assert!(live.is_empty(), "{live:?}");
            open.commit_transaction(SOON).unwrap();
        }
    }
    replay.sort();
    live.sort();
    assert_eq!(replay, ["a1", "a2", "b1", "b2", "b3"]);
    assert_eq!(live, ["a3", "a4", "b4"]);
    reader.stop();
}

#[test]
fn reading_ahead_ends_when_it_is_decided_and_the_rest_is_read_as_anything_else() {
    let Hidden { config, open, corner: _corner } = Hidden::new("slow", 60_000, (59_000, 59_500));
    // A stage that takes one thing now and then cannot have been handed all of it.
    let (sender, feeds) = bounded(0);
    let source = Source::start(config, move |feed| sender.send(feed).is_ok()).unwrap();
    let take = || feeds.recv_timeout(SOON).expect("nothing came in time");
    let Feed::Assigned(ahead) = take() else { panic!("it begins with what is known") };
    let mut intake = Intake::default();
    intake.assign(ahead.lease.clone(), ahead.committed);
    let mut open = Some(open);
    let (mut before, mut replayed, mut live) = (0, 0, 0);
    while live < 500 {
        match take() {
            Feed::Records { lease, records } => {
                let taken = intake.take(&lease, records).unwrap();
                replayed += taken.replay.len();
                live += taken.live.rows().count();
                if let Some(open) = open.take() {
                    open.commit_transaction(SOON).unwrap();
                    std::thread::sleep(Duration::from_secs(2));
                }
            }
            Feed::Assigned(decided) => {
                assert_eq!((&decided.lease, decided.committed), (&ahead.lease, Position::at(59_500)));
                before = replayed;
                intake.assign(decided.lease, decided.committed);
            }
            _ => {}
        }
    }
    assert!((500..30_000).contains(&before), "{before} records were handed over before the decision was");
    assert_eq!((replayed, live), (59_500, 500));
    source.command(Command::Stop);
    drop(feeds);
    source.join();
}

#[test]
fn an_open_transaction_that_does_not_end_stops_the_source() {
    let mut corner = Corner::new("restore-deadline");
    corner.settings.transaction_timeout = Duration::from_secs(1);
    corner.settings.start_timeout = Duration::from_secs(2);
    let (_, alerts, config) = signal(&corner);
    let open = corner.open_transaction(&alerts, 0, &["hanging"]);
    let reader = Reader::start(config);
    let why = reader.failed();
    assert!(why.contains("open transaction") && why.contains("8 s"), "{why}");
    open.abort_transaction(SOON).unwrap();
    reader.stop();
}

#[test]
fn a_committed_position_that_is_not_on_the_log_stops_the_source() {
    let corner = Corner::new("range");
    let topic = corner.topic("in", 1, Upkeep::Input);
    corner.write(&topic, numbered(0..3));
    let first = corner.read(&[&topic]);
    let at = first.assigned().lease.partition().clone();
    let mut port = Producer::offsets_only(&corner.settings, first.source().membership(), corner.clock.clone());
    port.commit_offsets(&[(at, Position::at(77))]).unwrap();
    first.stop();
    let second = corner.read(&[&topic]);
    let why = second.failed();
    assert!(why.contains("77") && why.contains("[0..3)"), "{why}");
    second.stop();
}

#[test]
fn a_reader_that_retention_overtakes_says_so_and_skips_nothing() {
    let corner = Corner::new("overtaken");
    let topic = corner.topic("in", 1, Upkeep::Input);
    corner.write(&topic, numbered(0..10));
    let reader = corner.read(&[&topic]);
    reader.assigned();
    assert_eq!(reader.records(10).1.len(), 10);
    reader.source().command(Command::Pause);
    // It is paused when it brings nothing of what is written.
    let mut next = 10;
    let paused_at = loop {
        corner.write(&topic, ["more".to_owned()]);
        match reader.feeds.recv_timeout(Duration::from_secs(2)) {
            Ok(Feed::Records { records, .. }) => next += records.len(),
            Ok(other) => panic!("{other:?}"),
            Err(_) => break next,
        }
    };
    corner.write(&topic, numbered(0..10));
    let (low, high) = (paused_at as i64 + 5, corner.end(&topic));
    corner.remove_before(&topic, low);
    reader.source().command(Command::Resume);
    let why = loop {
        match reader.next() {
            Feed::Records { records, .. } => panic!("it skipped to {}", records[0].offset),
            Feed::Failed(why) => break why,
            _ => {}
        }
    };
    assert!(why.contains(&format!("position {paused_at} of {topic}/0")), "{why}");
    assert!(why.contains(&format!("[{low}..{high})")), "{why}");
    reader.stop();
}

#[test]
fn brokers_that_are_away_are_given_up_after_the_start_timeout() {
    let mut corner = Corner::new("away");
    corner.settings.bootstrap_servers = "127.0.0.1:1".to_owned();
    corner.settings.start_timeout = Duration::from_secs(1);
    let began = Instant::now();
    let error = Source::start(corner.config(&[&"any".into()]), |_| true).unwrap_err();
    assert!(matches!(error, KafkaError::Unavailable { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let error = bellwether::kafka::partition_counts(&corner.settings, &["any".into()], corner.clock.as_ref());
    assert!(matches!(error, Err(KafkaError::Unavailable { .. })));
}

#[test]
fn a_missing_topic_is_named() {
    let corner = Corner::new("missing");
    let error = Source::start(corner.config(&[&format!("{}.none", corner.prefix).into()]), |_| true).unwrap_err();
    assert!(matches!(&error, KafkaError::MissingTopics(names) if names[0].ends_with(".none")), "{error}");
}

#[test]
fn a_tail_shows_the_last_records_and_those_that_follow() {
    let corner = Corner::new("tail");
    let topic = corner.topic("in", 1, Upkeep::Input);
    corner.write(&topic, numbered(0..10));
    let tail = Tail::start(&corner.settings, std::slice::from_ref(&topic), 2, corner.clock.as_ref()).unwrap();
    let next = || loop {
        if let Some(record) = tail.next(SOON).unwrap() {
            return value(&record);
        }
    };
    assert_eq!((next(), next()), ("value-8".to_owned(), "value-9".to_owned()));
    corner.write(&topic, ["more".to_owned()]);
    assert_eq!(next(), "more");
}

#[test]
fn a_partition_is_read_from_before_its_committed_position_where_that_is_wanted() {
    let corner = Corner::new("tail");
    let topic = corner.topic("in", 1, Upkeep::Input);
    // Together more than one hand-over holds.
    corner.write(&topic, numbered(0..10).map(|value| value + &"-".repeat(600 << 10)));
    let with_tail = |tail| Reader::start(SourceConfig { tail, ..corner.config(&[&topic]) });
    let first = with_tail(4);
    assert_eq!(first.assigned().committed, Position::at(0), "nothing is committed yet");
    let mut port = Producer::offsets_only(&corner.settings, first.source().membership(), corner.clock.clone());
    port.commit_offsets(&[(Partition::new(&topic, 0), Position::at(7))]).unwrap();
    first.stop();
    for (wanted, from) in [(0, 7), (4, 3), (100, 0)] {
        let reader = with_tail(wanted);
        let assignment = reader.assigned();
        let mut intake = Intake::default();
        intake.assign(assignment.lease, assignment.committed);
        let (mut replay, mut live) = (Vec::new(), Vec::new());
        while live.len() < 3 {
            let (lease, records) = reader.records(1);
            let taken = intake.take(&lease, records).unwrap();
            replay.extend(taken.replay.iter().map(|record| record.offset));
            live.extend(taken.live.rows().map(|record| record.offset));
        }
        assert_eq!((replay, live), ((from..7).collect(), vec![7, 8, 9]));
        reader.stop();
    }
}

#[test]
fn what_was_given_up_takes_no_place_among_the_records_that_are_read_again() {
    let corner = Corner::new("tail-given-up");
    let topic = corner.topic("in", 1, Upkeep::Input);
    corner.write(&topic, numbered(0..5));
    corner.open_transaction(&topic, 0, &["given up"; 40]).abort_transaction(SOON).unwrap();
    corner.transaction(&topic, 0, &["value-5"]);
    corner.transaction(&topic, 0, &["value-6", "value-7"]);
    let committed = Position::at(5 + 41 + 2 + 3);
    let with_tail = |tail| Reader::start(SourceConfig { tail, ..corner.config(&[&topic]) });
    let first = with_tail(0);
    assert_eq!(first.assigned().committed, Position::at(0));
    let mut port = Producer::offsets_only(&corner.settings, first.source().membership(), corner.clock.clone());
    port.commit_offsets(&[(Partition::new(&topic, 0), committed)]).unwrap();
    first.stop();
    for (wanted, from) in [(1, 7), (3, 5), (4, 4), (7, 1), (8, 0), (9, 0)] {
        let reader = with_tail(wanted);
        let assignment = reader.assigned();
        assert_eq!(assignment.committed, committed);
        let values = reader
            .records(8 - from)
            .1
            .into_iter()
            .map(|record| String::from_utf8_lossy(&record.value.unwrap()).into_owned());
        assert_eq!(values.collect::<Vec<_>>(), numbered(from..8).collect::<Vec<_>>(), "{wanted}");
        reader.stop();
    }
}

#[test]
fn the_lag_grows_while_reading_is_paused() {
    let corner = Corner::new("paused-lag");
    let input = corner.topic("in", 1, Upkeep::Input);
    let reader = corner.read(&[&input]);
    drop(reader.assigned());
    reader.source().command(bellwether::stream::Command::Pause);
    std::thread::sleep(Duration::from_millis(500));
    corner.write(&input, (0..25).map(|number| number.to_string()));
    let lag = || reader.source().lags().iter().map(|lag| lag.records).sum::<i64>();
    let began = std::time::Instant::now();
    while lag() < 25 {
        assert!(began.elapsed() < SOON, "the lag stands at {}", lag());
        std::thread::sleep(Duration::from_millis(100));
    }
    reader.stop();
}

#[test]
fn a_header_whose_name_is_no_text_harms_nobody() {
    let corner = Corner::new("names");
    let topic = corner.topic("in", 1, Upkeep::Input);
    let headers: [(&[u8], &[u8]); 3] = [(b"first", b"1"), (b"\xff\xfe\x80", b"2"), (b"last", b"3")];
    // Refused, and so not written, as long as the new topic has no leader.
    let servers = &corner.settings.bootstrap_servers;
    wait_until("the record is taken", || raw::produce(servers, &topic, b"value-0", &headers) == 0);
    corner.write(&topic, numbered(1..3));
    let reader = corner.read(&[&topic]);
    reader.assigned();
    let (_, records) = reader.records(3);
    assert_eq!(records.iter().map(value).collect::<Vec<_>>(), numbered(0..3).collect::<Vec<_>>());
    let told: Vec<(&str, Option<&[u8]>)> = records[0].headers.iter().collect();
    assert_eq!(told, [("first", Some(&b"1"[..])), ("\u{fffd}", None), ("last", Some(b"3"))]);
    assert!(!bellwether::kafka::is_reading_names());
    reader.stop();
}

#[test]
fn a_client_that_brings_nothing_of_what_is_there_is_replaced_and_what_it_held_is_read_again() {
    let mut corner = Corner::new("stall");
    let topic = corner.topic("in", 1, Upkeep::Input);
    // After the first answer it fetches no more for five minutes, as one that hangs.
    for (name, value) in [("queued.min.messages", "1"), ("fetch.queue.backoff.ms", "300000")] {
        corner.settings.properties.insert(name.to_owned(), value.to_owned());
    }
    corner.write(&topic, numbered(0..10));
    let reader = corner.read(&[&topic]);
    let first = reader.assigned();
    corner.write(&topic, numbered(10..12));
    let (mut began, mut read) = (Instant::now(), 0);
    loop {
        match reader.feeds.recv_timeout(SOON * 2).expect("the source neither reads nor begins anew") {
            Feed::Lost { partitions } => break assert_eq!(partitions, [Partition::new(&topic, 0)]),
            Feed::Records { records, .. } => (began, read) = (Instant::now(), read + records.len()),
            Feed::Failed(why) => panic!("{why}"),
            _ => {}
        }
    }
    assert!(read < 12 && began.elapsed() >= Duration::from_secs(20), "{read} records, then {:?}", began.elapsed());
    assert!(!first.lease.is_live());
    let again = reader.assigned();
    assert!(again.committed == Position::at(0) && again.lease.is_live());
    // The new one hangs as well, but its place in the group is as good as any.
    let membership = reader.source().membership();
    let mut port = Producer::offsets_only(&corner.settings, membership, corner.clock.clone());
    port.commit_offsets(&[(Partition::new(&topic, 0), Position::at(1))]).unwrap();
    reader.stop();
    corner.settings.properties.clear();
    let reader = corner.read(&[&topic]);
    assert_eq!(reader.assigned().committed, Position::at(1));
    assert_eq!(reader.records(11).1[0].offset, 1);
    reader.stop();
    // Who has nothing to bring is let alone.
    let quiet = corner.topic("quiet", 1, Upkeep::Retained);
    corner.open_transaction(&quiet, 0, &["never"]).abort_transaction(SOON).unwrap();
    let reader = Reader::start(SourceConfig { group: format!("{}.quiet", corner.prefix), ..corner.config(&[&quiet]) });
    reader.assigned();
    assert!(reader.feeds.recv_timeout(Duration::from_secs(35)).is_err(), "nothing comes, and nothing fails");
    reader.stop();
}
