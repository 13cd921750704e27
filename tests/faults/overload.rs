//! More than the model can take, and an end in the middle of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};

use super::{Figures, burn, times, trial};
use crate::trial::{Follower, Running, SOON, Trial, ends, json_of, segments, text, wait_for, wait_within};

/// What the slowed model takes for a post: 100 posts a second.
const PER_POST: Duration = Duration::from_millis(10);
/// Posts that come at once: two thirds of a minute's work.
const FLOOD: usize = 4_000;
/// What each of them weighs, so that all of them together are more than a process may hold.
const LARGE: usize = 64 << 10;
/// How long the flood may take to drain on a machine that does other things too.
const DRAINED: Duration = Duration::from_secs(240);
/// What a process may hold beyond what it held before, in bytes.
const GROWTH_MAX: f64 = 200e6;
/// Instruments that only a flash talks about, one a round.
const FLASHES: [&str; 5] = ["Cinder Oak", "Copper Reef", "Cobalt Bay", "Cedar Ridge", "Coral Point"];
/// Stories that have next to no word in common.
const STORIES: [&str; 6] = [
    "halts trading before the opening bell",
    "finds a hole of two billion in its accounts, auditors tell the court",
    "loses its chief executive overnight",
    "recalls every engine sold since spring after fires in three countries",
    "is raided by prosecutors, witnesses report",
    "cannot pay its bonds this week, lenders say",
];

#[test]
fn lag_grows_and_memory_does_not_and_when_the_load_goes_the_lag_goes() {
    let count = times("flood", 1);
    let trial = trial("flood");
    let models = burn::model(&trial, PER_POST);
    let trial = trial
        .set("model.directory", models.to_str().unwrap())
        .set("model.name", burn::NAME)
        .set("model.sessions", "1")
        .set("kafka.partitions", "1")
        .set("index.partition_mentions_max", "20000")
        .set("archive.segment_bytes", "1MiB");
    let bound = trial.memory_bytes_max();
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let mut figures = Figures::new("4,000 posts of 64 KiB at once for a model that takes 100 a second", count);
    let (mut sent, mut flashes) = (0, 0);
    let mut running = trial.run_as("only");
    running.wait_ready();
    for round in 0..count {
        // A little, so that everything that is made once is made.
        let load = trial.load(100);
        follower.wait_more(100);
        sent += load.stop();
        let before = running.memory();
        let began = Instant::now();
        trial.pile_up_large(FLOOD, LARGE);
        sent += FLOOD;
        let rate = FLOOD as f64 / began.elapsed().as_secs_f64();
        let flashed = Instant::now();
        flashes += trial.flash(round);
        let backlog = trial.backlog();
        let mut peak = running.memory();
        // A tenth, or less, was taken meanwhile: it came at ten times what the model can take.
        assert!(backlog >= i64::try_from(FLOOD / 10 * 9).unwrap(), "of {FLOOD} posts {backlog} wait");
        let took = trial.alerted(round, flashed, &mut running, &mut peak);
        figures.span("a flash, from published to alert, behind that backlog", took);
        let drained = Instant::now();
        wait_within(DRAINED, "the lag is gone", || {
            peak = peak.max(running.memory());
            (trial.backlog() == 0 && lag(&running) == 0.0).then_some(())
        });
        figures.span("and the rest of the lag is gone", drained.elapsed());
        let grown = peak - before;
        figures.note(format!("{rate:.0} posts a second came, lag {backlog}, memory +{:.0} MB", grown / 1e6));
        assert!(grown < GROWTH_MAX, "{grown} bytes more");
        assert!(peak < bound, "{peak} bytes, where `check` says {bound} at most");
        running.assert_runs();
    }
    running.stop();
    let trial = trial.set("model.directory", concat!(env!("CARGO_MANIFEST_DIR"), "/models")).set("model.name", "tiny");
    figures.settle(&trial, sent + flashes);
}

/// Posts that have all that a post may have: as many instruments, as long an id, a link, a source and a text.
const FULL: usize = 1_000;

#[test]
fn posts_that_have_all_that_a_post_may_have_take_no_more_memory_than_check_says() {
    let trial = trial("full")
        .set("kafka.partitions", "1")
        .set("model.pool_posts_max", "64")
        .set("model.pool_bytes_max", "1MiB")
        .set("index.partition_mentions_max", "20000")
        .set("archive.segment_bytes", "1MiB");
    let names: Vec<String> = (0..32).map(|number| format!("XTST:F{number:02}")).collect();
    let lines: String = names.iter().map(|name| format!("{name},Full {name},\n")).collect();
    std::fs::write(trial.path("instruments.csv"), format!("id,name,aliases\n{lines}")).unwrap();
    let bound = trial.memory_bytes_max();
    trial.done(&["topics"]);
    let mut running = trial.run_as("only");
    running.wait_ready();
    let before = running.memory();
    let producer = trial.producer();
    for number in 0..FULL {
        let post = json!({
            "id": format!("{number:01024}"),
            "url": format!("https://example.org/{number:02028}"),
            "source": format!("{number:0256}"),
            "text": format!("Shares of number {number} fall. ").repeat(64_000 / 32),
            "symbols": &names,
        });
        while producer.send(BaseRecord::to(&trial.input("news")).key("full").payload(&post.to_string())).is_err() {
            producer.flush(SOON).unwrap();
        }
    }
    producer.flush(SOON).unwrap();
    let mut peak = before;
    wait_within(DRAINED, "all of it is through", || {
        peak = peak.max(running.memory());
        let mentions = trial.committed("signal", &trial.own("mentions")).into_iter().sum::<i64>();
        (mentions >= i64::try_from(FULL * 33).unwrap() && trial.backlog() == 0).then_some(())
    });
    println!("before {:.0} MB, peak {:.0} MB, bound {:.0} MB", before / 1e6, peak / 1e6, bound / 1e6);
    assert!(
        running.metric("bellwether_mentions_ignored_total", "reason=\"overflow\"") > 0.0,
        "the windows are not full"
    );
    assert!(peak < bound, "{peak} bytes, where `check` says {bound} at most");
    running.stop();
}

/// Records of ten megabytes and more, of each shape.
const HUGE: usize = 8;
/// What stands for five million levels.
const DEEP: &str = "deep";

#[test]
fn records_of_ten_megabytes_and_a_million_symbols_take_no_more_memory_than_check_says() {
    let trial = trial("huge")
        .set("kafka.partitions", "1")
        .set("kafka.record_bytes_max", "16MiB")
        .set("dead_letters.share_max", "1.0")
        .set("model.pool_posts_max", "64")
        .set("model.pool_bytes_max", "1MiB")
        .set("index.partition_mentions_max", "20000")
        .set("archive.segment_bytes", "1MiB");
    let bound = trial.memory_bytes_max();
    trial.done(&["topics"]);
    let mut running = trial.run_as("only");
    running.wait_ready();
    let before = running.memory();
    let shapes = [
        json!({ "text": "Shares fall. ".repeat(10_000_000 / 13) }),
        json!({ "text": "Shares fall.", "symbols": vec!["XTST:F01"; 1_000_000] }),
        json!({ "text": "Shares fall.", "note": "[".repeat(10_000_000) }),
        json!({ "text": "Shares fall.", "note": DEEP }),
    ];
    let deep = format!("{}{}", "[".repeat(5_000_000), "]".repeat(5_000_000));
    let mut config = trial.producer_config();
    let large: ThreadedProducer<DefaultProducerContext> =
        config.set("compression.type", "lz4").set("message.max.bytes", "20000000").create().unwrap();
    for number in 0..HUGE {
        for (shape, record) in shapes.iter().enumerate() {
            let mut record = record.clone();
            record["id"] = json!(format!("{number}-{shape}"));
            let whole = record.to_string().replace(&format!("\"{DEEP}\""), &deep);
            // The last part of every other one is missing.
            let value = if number % 2 == 0 { &whole } else { &whole[..whole.len() - 1] };
            large
                .send(BaseRecord::<str, str>::to(&trial.input("news")).payload(value))
                .map_err(|(error, _)| error)
                .unwrap();
            large.flush(SOON).unwrap();
        }
    }
    let mut peak = before;
    wait_within(DRAINED, "each is a post or a dead letter", || {
        peak = peak.max(running.memory());
        running.assert_runs();
        (trial.backlog() == 0).then_some(())
    });
    println!("before {:.0} MB, peak {:.0} MB, bound {:.0} MB", before / 1e6, peak / 1e6, bound / 1e6);
    assert!(peak - before < GROWTH_MAX, "{} bytes more", peak - before);
    assert!(peak < bound, "{peak} bytes, where `check` says {bound} at most");
    running.stop();
    let outcome = trial.outcome();
    // Nobody reads five million levels, whole or not.
    let whole = HUGE / 2 * (shapes.len() - 1);
    assert_eq!((outcome.scored.len(), outcome.dead.len()), (whole, whole + HUGE));
}

#[test]
fn sigterm_under_full_load_drains_within_the_grace_and_leaves_nothing_to_do_again() {
    let count = times("terms", 1);
    let trial = trial("term").set("grace", "4s").set("archive.segment_rows", "200");
    trial.done(&["topics"]);
    let follower = Follower::start(&trial);
    let mut figures = Figures::new("SIGTERM under full load", count);
    let mut sent = 0;
    for _ in 0..count {
        let backlog = 20_000;
        trial.pile_up(backlog);
        sent += backlog;
        let begun = || {
            [("signal", "mentions"), ("archive", "scored")]
                .map(|(stage, reads)| trial.committed(stage, &trial.own(reads)).into_iter().sum::<i64>())
        };
        let before = begun();
        let mut running = trial.run_as("only");
        follower.wait_more(500);
        wait_for("a commit of each stage", || {
            before.iter().zip(begun()).all(|(before, now)| now > *before).then_some(())
        });
        let told = Instant::now();
        running.signal("-TERM");
        let status = running.wait();
        figures.span("until the exit", told.elapsed());
        assert_eq!(status.code(), Some(0), "{}", running.said());
        let outcome = trial.sums();
        assert!(!outcome.lost.is_empty(), "it was not stopped in the middle");
        assert!(outcome.twice.is_empty(), "{}", outcome.twice);
        // What was told is what was committed: nothing will be done again.
        for kind in ["news", "social"] {
            let topic = trial.input(kind);
            let committed = trial.committed("score", &topic);
            for (partition, until) in committed.iter().enumerate() {
                let partition = i32::try_from(partition).unwrap();
                let told = outcome.places().filter(|place| place.0 == topic && place.1 == partition);
                let told: Vec<i64> = told.map(|place| place.2).collect();
                assert_eq!(i64::try_from(told.len()).unwrap(), *until, "{topic}/{partition}: told and committed");
                assert!(told.iter().all(|offset| offset < until), "{topic}/{partition}: told beyond the committed");
            }
        }
        let signals = trial.judge_signals();
        assert!(signals.is_empty(), "index and alerts are those of the committed mentions:\n{signals}");
        let mut archived: BTreeMap<i32, i64> = BTreeMap::new();
        for segment in segments(&trial.path("archive")) {
            archived.insert(segment.partition.1, segment.until);
        }
        let committed = trial.committed("archive", &trial.own("scored"));
        let written = (0..).zip(&committed).map(|(partition, _)| archived.get(&partition).copied().unwrap_or(0));
        assert_eq!(written.collect::<Vec<_>>(), committed, "the ends of the segments and what is committed");
    }
    figures.settle(&trial, sent);
}

impl Trial {
    /// The memory that a process takes at most, as `check` says.
    pub(super) fn memory_bytes_max(&self) -> f64 {
        let mut check = self.start(&["check", "--json"]);
        assert_eq!(check.wait().code(), Some(0), "{}", check.said());
        let said = check.said();
        let report: Value = said.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap();
        report["memory_bytes_max"].as_f64().unwrap()
    }

    /// Stories about an instrument that nobody talks about otherwise; how many.
    fn flash(&self, round: usize) -> usize {
        let producer = self.producer();
        for (number, story) in STORIES.iter().enumerate() {
            let says = format!("{} {story}", FLASHES[round]);
            let post = json!({ "id": format!("flash-{round}-{number}"), "text": says });
            let key = text(&post["id"]);
            producer.send(BaseRecord::to(&self.input("news")).key(&key).payload(&post.to_string())).unwrap();
        }
        producer.flush(SOON).unwrap();
        STORIES.len()
    }

    /// Posts that wait before the score stage, as the broker says.
    fn backlog(&self) -> i64 {
        let topics = ["news", "social"].map(|kind| self.input(kind));
        let behind = |topic: &String| -> i64 {
            let ends: i64 = ends(&self.consumer(topic, "read_committed"), topic).into_iter().sum();
            ends - self.committed("score", topic).into_iter().sum::<i64>()
        };
        topics.iter().map(behind).sum()
    }

    /// How long after `since` the alert of the flash could be read; `peak` grows with what the process holds meanwhile.
    fn alerted(&self, round: usize, since: Instant, running: &mut Running, peak: &mut f64) -> Duration {
        let subject = format!("XTST:CND{round}");
        let fires = |alert: Value| alert["subject"] == subject.as_str() && alert["state"] == "firing";
        wait_within(DRAINED, "the flash's alert", || {
            running.assert_runs();
            *peak = peak.max(running.memory());
            self.read(&self.own("alerts")).iter().map(json_of).any(fires).then(|| since.elapsed())
        })
    }
}

/// Posts that wait before the score stage, as the process itself says; the inputs are not written in transactions, so
/// that it is zero at rest.
fn lag(running: &Running) -> f64 {
    running.metric("bellwether_consumer_lag_records", "stage=\"score\"")
}
