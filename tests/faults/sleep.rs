//! Processes that sleep inside a transaction, past the session of their group, and wake before the broker gives it up.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::crash::{is_open, stop_when};
use super::members::{PARTITIONS, share};
use super::{Figures, times, trial};
use crate::trial::{Follower, Running, SOON, Trial, ends, wait_for};

/// How long a transaction may last here: longer than anybody sleeps.
const TRANSACTION: Duration = Duration::from_secs(60);
/// How long the group may take to say what it has committed, where no transaction hides it.
const TOLD: Duration = Duration::from_secs(3);

#[test]
fn a_process_that_sleeps_before_it_sends_its_positions_commits_nothing_of_that_transaction_when_it_wakes() {
    let mut figures =
        Figures::new("SIGSTOP in a transaction, before its positions, past the session", times("zombies", 2));
    let (trial, mut running) = sleeper("sleeper");
    let follower = Follower::start(&trial);
    let load = trial.load(500);
    for round in 0..figures.times {
        follower.wait_more(50);
        let before = (refused(&running), lost(&running));
        let asleep = Asleep::put(&trial, &mut running, false);
        let done = || trial.committed("score", &trial.input("news")).into_iter().sum::<i64>();
        let done_before = done();
        let other = trial.run_as(&format!("other{round}"));
        wait_for("another has everything", || (other.partitions("score") == PARTITIONS).then_some(()));
        wait_for("and does what the sleeper had begun", || (done() > done_before + 500).then_some(()));
        figures.span("awake, until its transaction was over", asleep.wake(&running));
        assert_eq!(asleep.shown(&trial), 0, "it committed what another had done: {}", running.said());
        wait_for("it hears that it is out", || (lost(&running) > before.1).then_some(()));
        wait_for("its commit is refused", || (refused(&running) > before.0).then_some(()));
        running = alone_again(running, other);
    }
    let sent = load.stop();
    running.stop();
    figures.settle(&trial, sent);
}

#[test]
fn a_process_that_sleeps_after_it_sent_its_positions_commits_that_transaction_and_nobody_does_it_again() {
    let mut figures =
        Figures::new("SIGSTOP in a transaction, behind its positions, past the session", times("zombies", 1));
    let (trial, mut running) = sleeper("committed");
    let follower = Follower::start(&trial);
    let load = trial.load(500);
    for round in 0..figures.times {
        follower.wait_more(50);
        let asleep = Asleep::put(&trial, &mut running, true);
        let member = trial.member();
        let other = trial.run_as(&format!("other{round}"));
        wait_for("the group is another's", || trial.member().filter(|now| Some(now) != member.as_ref()));
        assert!(trial.hides_positions(), "it is decided where to begin");
        let taken = other.metric_or_zero("bellwether_records_total", "stage=\"score\"");
        assert_eq!(taken, 0.0, "another went on before it was decided where: {}", other.said());
        figures.span("awake, until its transaction was over", asleep.wake(&running));
        assert_eq!(asleep.shown(&trial), asleep.written(), "it stands: {}", running.said());
        running = alone_again(running, other);
    }
    let sent = load.stop();
    running.stop();
    figures.settle(&trial, sent);
}

/// Who was woken gets its share back, and then all: the other one goes.
fn alone_again(woken: Running, other: Running) -> Running {
    let mut both = [woken, other];
    share(&mut both);
    let [woken, mut other] = both;
    other.stop();
    woken
}

/// A pipeline and its only process. Few records at a time wait in its clients, so that a transaction is open for a while
/// before its positions are sent.
fn sleeper(name: &str) -> (Trial, Running) {
    let trial = trial(name)
        .set("kafka.transaction_timeout", &format!("{}s", TRANSACTION.as_secs()))
        .set("kafka.properties.queue_buffering_max_messages", "500");
    trial.done(&["topics"]);
    let mut running = trial.run_as("sleeper");
    running.wait_ready();
    (trial, running)
}

/// How often the score stage was told that its partitions are another's.
fn lost(running: &Running) -> f64 {
    running.metric_or_zero("bellwether_rebalances_total", "kind=\"lost\",stage=\"score\"")
}

/// How often it was told so by the broker when it wanted to commit, or saw by itself that it was too late.
fn refused(running: &Running) -> f64 {
    let commits = |outcome| format!("outcome=\"{outcome}\",stage=\"score\"");
    let count = |outcome| running.metric_or_zero("bellwether_commit_seconds_count", &commits(outcome));
    count("fenced") + count("dropped")
}

/// A process that sleeps in a transaction of its score stage.
struct Asleep {
    since: Instant,
    /// What it has written in it: from and until, by partition of the scored posts.
    spans: Vec<(i64, i64)>,
    topic: String,
    stable: BaseConsumer,
}

impl Asleep {
    /// Puts the only process to sleep before or behind the moment when the group takes the positions.
    fn put(trial: &Trial, running: &mut Running, has_sent: bool) -> Self {
        let topic = trial.own("scored");
        let (open, stable) = (trial.consumer(&topic, "read_uncommitted"), trial.consumer(&topic, "read_committed"));
        let is_there = || is_open(&open, &stable, &topic) && trial.hides_positions() == has_sent;
        let since = stop_when(running, is_there).at;
        let spans = ends(&stable, &topic).into_iter().zip(ends(&open, &topic)).collect();
        Self { since, spans, topic, stable }
    }

    /// Wakes it; how long it takes until the transaction is over, by its own doing.
    fn wake(&self, running: &Running) -> Duration {
        assert!(self.is_open(), "somebody else ended its transaction");
        running.signal("-CONT");
        let woke = Instant::now();
        wait_for("the end of its transaction", || (!self.is_open()).then_some(()));
        assert!(self.since.elapsed() < TRANSACTION, "the broker has given it up: that is another test");
        woke.elapsed()
    }

    /// Whether the transaction still hides what it wrote.
    fn is_open(&self) -> bool {
        let stable = ends(&self.stable, &self.topic);
        self.spans.iter().zip(stable).any(|((from, until), stable)| from < until && stable == *from)
    }

    fn written(&self) -> i64 {
        self.spans.iter().map(|(from, until)| until - from).sum()
    }

    /// Records of it that are committed.
    fn shown(&self, trial: &Trial) -> i64 {
        let all = trial.read(&self.topic);
        let of_it = all.iter().filter(|message| {
            let (from, until) = self.spans[usize::try_from(message.partition()).unwrap()];
            (from..until).contains(&message.offset())
        });
        i64::try_from(of_it.count()).unwrap()
    }
}

impl Trial {
    /// Whether a transaction holds positions of the score stage: what is committed cannot be told before it ends.
    fn hides_positions(&self) -> bool {
        ["news", "social"].iter().any(|kind| self.committed_within(TOLD, "score", &self.input(kind)).is_none())
    }

    /// The only member of the score stage's group, when all is quiet there.
    fn member(&self) -> Option<String> {
        let asks = self.consumer(&self.input("news"), "read_committed");
        let found = asks.fetch_group_list(Some(&self.own("score")), SOON).unwrap();
        let [group] = found.groups() else { return None };
        let [member] = group.members() else { return None };
        (group.state() == "Stable").then(|| member.id().to_owned())
    }
}
