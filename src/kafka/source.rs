//! The source: one thread that polls, as long as it lives, and hands records over in order.
//!
//! When the stage takes nothing for [`PATIENCE`], all partitions are paused and polling goes on, so that a slow stage
//! is never taken for a dead one. A pause drops what was fetched ahead, hence the patience.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};

use crate::kafka::client;
use crate::kafka::desk::Desk;
use crate::kafka::handle::{Order, SourceHandle};
use crate::kafka::membership::{Board, Membership};
use crate::kafka::outlet::Outlet;
use crate::kafka::placement::Placement;
use crate::kafka::rebalance::Listener;
use crate::kafka::scout::{Deadline, Scout};
use crate::kafka::stall::Stalls;
use crate::kafka::{KafkaError, KafkaSettings, wire};
use crate::stream::{Command, Feed, Lease, Partition, Position, Span};
use crate::time::Clock;

/// How long the stage may take nothing before the partitions are paused.
const PATIENCE: Duration = Duration::from_secs(1);
/// One poll, at most.
const POLL: Duration = Duration::from_millis(100);
/// Records taken from the client between two looks at the commands.
const SWEEP: usize = 2_000;
/// Bytes after which a sweep ends early.
pub(super) const SWEEP_BYTES: usize = 4 << 20;
/// How long a partition must be quiet before its end is looked for behind the last record.
const QUIET: Duration = Duration::from_millis(300);
/// How often it is asked how far a topic has grown while nothing of it is read.
const GROWTH: Duration = Duration::from_secs(2);

/// State that a stage gets back when a partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Records that were appended within this span before now are replayed.
    pub look_back: Duration,
    /// The same partition number of this topic is read whole.
    pub alerts_topic: Arc<str>,
}

/// What a source reads and how.
pub struct SourceConfig {
    /// The brokers.
    pub settings: KafkaSettings,
    /// The consumer group.
    pub group: String,
    /// The topics.
    pub topics: Vec<Arc<str>>,
    /// What is read back when a partition begins.
    pub read_back: Option<ReadBack>,
    /// So many records before its committed position come with a partition, where nothing else is read back.
    pub tail_records: usize,
    /// Whether [`Feed::End`] is wanted for the end that each partition has when it is assigned.
    pub until_end: bool,
    /// The name by which brokers' logs know us.
    pub client_id: String,
    /// What time it is, for the look-back and for waiting.
    pub clock: Arc<dyn Clock>,
}

/// A subscription. [`Source::start`] is the way in, [`SourceHandle`] what stays.
#[derive(Debug)]
pub struct Source;

impl Source {
    /// Joins the group and hands everything to `feed`, which may block (it has a thread of its own) and returns false
    /// when the stage is gone. Blocks until the brokers have answered once.
    ///
    /// # Errors
    /// [`KafkaError::Unavailable`] when no broker answered within `start_timeout`, [`KafkaError::MissingTopics`],
    /// [`KafkaError::Settings`].
    pub fn start(
        config: SourceConfig,
        feed: impl FnMut(Feed) -> bool + Send + 'static,
    ) -> Result<SourceHandle, KafkaError> {
        let SourceConfig { settings, group, topics, read_back, tail_records, until_end, client_id, clock } = config;
        let board = Arc::new(Board::default());
        let (outlet, feeder) = Outlet::start(&client_id, feed)?;
        // A dead owner's transaction is ended by the broker after its timeout, looked for every 10 s; and brokers may
        // be away for longer than a start waits for them.
        let patience = settings.transaction_timeout.saturating_mul(2) + settings.start_timeout.saturating_mul(3);
        let patience = patience.min(client::POLL_INTERVAL / 3);
        let scout = Scout::new(&settings, &group, &clock)?;
        let listener = Listener {
            desk: Desk::new(topics.clone(), outlet, board.clone(), until_end).into(),
            placement: Placement { scout, read_back, tail_records, patience, clock: clock.clone() },
            drain_timeout: settings.drain_timeout.min(client::POLL_INTERVAL / 3),
            clock: clock.clone(),
        };
        let consumer: BaseConsumer<Listener> =
            client::consumer(&settings, &group, &client_id).create_with_context(listener)?;
        let counts = client::reach(&consumer, &settings, &topics, clock.as_ref())?;
        let missing: Vec<String> = counts.iter().filter(|it| it.1 == 0).map(|it| it.0.to_string()).collect();
        if !missing.is_empty() {
            return Err(KafkaError::MissingTopics(missing));
        }
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&names)?;
        let consumer = Arc::new(consumer);
        let membership = Membership { consumer: Arc::downgrade(&consumer), board: board.clone() };
        let (orders, inbox) = bounded(64);
        let stalls = Stalls::new(client::fetch_wait(&settings), clock.monotonic());
        board.polled(clock.monotonic());
        let thread = std::thread::Builder::new()
            .name(format!("{client_id}-poll"))
            .spawn(move || {
                Poller {
                    consumer,
                    inbox,
                    clock,
                    board,
                    asked_to_pause: false,
                    looked_at: Duration::ZERO,
                    grown_at: Duration::ZERO,
                    stalls,
                }
                .run()
            })
            .map_err(|error| KafkaError::refused("starting a thread", error))?;
        Ok(SourceHandle { orders, membership, threads: vec![thread, feeder] })
    }
}

/// The polling thread.
struct Poller {
    consumer: Arc<BaseConsumer<Listener>>,
    inbox: Receiver<Order>,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    /// The stage wants nothing now.
    asked_to_pause: bool,
    /// When ends were looked for last.
    looked_at: Duration,
    /// When it was last asked how far the topics have grown.
    grown_at: Duration,
    /// Partitions of which nothing comes.
    stalls: Stalls,
}

impl Poller {
    fn run(mut self) {
        let mut blocked_since = None;
        while self.obey() {
            self.board.polled(self.clock.monotonic());
            if self.listener().desk().outlet.pump(if blocked_since.is_some() { POLL } else { Duration::ZERO }) {
                blocked_since = None;
                self.set_paused(self.asked_to_pause);
                self.sweep();
                self.look_for_ends();
                self.look_for_stalls();
            } else {
                let now = self.clock.monotonic();
                let since = *blocked_since.get_or_insert(now);
                if now.saturating_sub(since) >= PATIENCE {
                    self.set_paused(true);
                    self.sweep();
                }
            }
            self.look_for_growth();
        }
        self.leave();
    }

    fn listener(&self) -> &Listener {
        self.consumer.context()
    }

    /// Does what was asked; false when the source is to end.
    fn obey(&mut self) -> bool {
        loop {
            {
                let desk = self.listener().desk();
                if desk.failed.is_some() || desk.outlet.is_closed() {
                    return false;
                }
            }
            match self.inbox.try_recv() {
                Ok(Order::Command(Command::Pause)) => self.asked_to_pause = true,
                Ok(Order::Command(Command::Resume)) => self.asked_to_pause = false,
                Ok(Order::Command(Command::Reset(partition))) => self.reset(&partition),
                Ok(Order::MarkEnd) => self.mark_end(),
                Ok(Order::Command(Command::Stop)) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn set_paused(&mut self, paused: bool) {
        if paused {
            self.stalls.forget();
        }
        let mut desk = self.consumer.context().desk();
        if desk.paused == paused {
            return;
        }
        let all = wire::bare_list(desk.held.keys());
        let done = if paused { self.consumer.pause(&all) } else { self.consumer.resume(&all) };
        match done {
            Ok(()) => desk.paused = paused,
            Err(error) => desk.fail(error.to_string()),
        }
    }

    /// Polls until nothing is there any more or [`SWEEP`] records or [`SWEEP_BYTES`] came, then hands over what was
    /// gathered.
    fn sweep(&mut self) {
        let (mut wait, mut bytes) = (POLL, 0);
        for _ in 0..SWEEP {
            let Some(polled) = self.consumer.poll(wait) else {
                self.stalls.drained();
                break;
            };
            wait = Duration::ZERO;
            match polled {
                Ok(message) => bytes += self.listener().desk().take(&message, self.clock.monotonic()),
                Err(error) => self.judge(&error),
            }
            if bytes >= SWEEP_BYTES {
                break;
            }
        }
        self.listener().desk().flush();
    }

    /// Most errors of a poll are librdkafka's business, which tries again; these are not.
    fn judge(&self, error: &Theirs) {
        let fatal = matches!(error, Theirs::MessageConsumptionFatal(_))
            || matches!(
                error.rdkafka_error_code(),
                Some(
                    Code::AutoOffsetReset
                        | Code::OffsetOutOfRange
                        | Code::TopicAuthorizationFailed
                        | Code::GroupAuthorizationFailed
                        | Code::UnknownTopic
                        | Code::Fatal
                )
            );
        if fatal {
            self.listener().desk().fail(error.to_string());
        } else if error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            tracing::debug!(%error, "reading");
        } else {
            tracing::warn!(%error, "reading");
        }
    }

    /// The same way as an assignment: lease off, place anew, new lease.
    fn reset(&self, partition: &Partition) {
        let listener = self.listener();
        {
            let mut desk = listener.desk();
            let leases = desk.release(std::slice::from_ref(partition));
            if leases.is_empty() {
                return;
            }
            leases.iter().for_each(Lease::turn_off);
        }
        let placed = listener.placement.place(std::slice::from_ref(partition));
        let sought = placed.and_then(|placed| {
            for one in &placed {
                self.seek(partition, one.start)?;
            }
            Ok(placed)
        });
        let mut desk = listener.desk();
        match sought {
            Ok(placed) => placed.into_iter().for_each(|one| desk.grant(one, self.clock.monotonic())),
            Err(error) => desk.fail(error.to_string()),
        }
    }

    fn seek(&self, at: &Partition, to: Position) -> Result<(), KafkaError> {
        let deadline = Deadline::after(&self.clock, client::POLL_INTERVAL / 10);
        deadline.ask(&format!("going back to {to} in {at}"), |limit| {
            self.consumer.seek(&at.topic, at.number, rdkafka::Offset::Offset(to.offset()), limit)
        })
    }

    fn mark_end(&self) {
        let deadline = Deadline::after(&self.clock, client::POLL_INTERVAL / 10);
        let listener = self.listener();
        let partitions = listener.desk().partitions();
        for at in partitions {
            let bounds = listener.placement.scout.bounds(&at, &deadline);
            let mut desk = listener.desk();
            match (bounds, desk.held.get_mut(&at)) {
                (Ok(bounds), Some(held)) => held.target = Some(Position::at(bounds.high)),
                (Ok(_), None) => {}
                (Err(error), _) => desk.fail(error.to_string()),
            }
        }
        listener.desk().flush();
    }

    /// The client learns where a partition ends by reading it. While it is paused it is asked for, for the lag grows all
    /// the same.
    fn look_for_growth(&mut self) {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.grown_at) < GROWTH || !self.listener().desk().paused {
            return;
        }
        self.grown_at = now;
        let partitions = self.listener().desk().partitions();
        let deadline = Deadline::after(&self.clock, POLL);
        for at in partitions {
            match self.listener().placement.scout.bounds(&at, &deadline) {
                Ok(bounds) => self.board.ends(&at.topic, at.number, bounds.high),
                Err(error) => {
                    tracing::debug!(%error, "asking how far a topic has grown");
                    break;
                }
            }
        }
    }

    /// Where only transaction markers or aborted records are left before an end, no record will ever say so: look.
    fn look_for_ends(&mut self) {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.looked_at) < QUIET {
            return;
        }
        self.looked_at = now;
        let listener = self.listener();
        let quiet: Vec<(Partition, Position, Position)> = {
            let desk = listener.desk();
            if desk.paused {
                return;
            }
            let is_quiet = |held: &&crate::kafka::desk::Held| now.saturating_sub(held.moved_at) >= QUIET;
            let held = desk.held.iter().filter(|(_, held)| is_quiet(held));
            held.filter_map(|(at, held)| Some((at.clone(), held.next, held.target?))).collect()
        };
        for (at, next, end) in quiet {
            let deadline = Deadline::after(&self.clock, Duration::from_secs(2));
            match listener.placement.scout.read(&at, Span { from: next, until: end }, 1, &deadline) {
                Ok(found) if found.is_empty() => listener.desk().ended(&at),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "looking for the end"),
            }
        }
    }

    /// Records that wait on the log and are not brought make the source fail: a new process gets them.
    fn look_for_stalls(&mut self) {
        let now = self.clock.monotonic();
        if !self.stalls.is_due(now) {
            return;
        }
        let listener = self.consumer.context();
        let desk = listener.desk();
        let held = desk.held.iter().map(|(at, held)| (at.clone(), held.next, held.moved_at));
        let quiet = self.stalls.quiet(held, now);
        drop(desk);
        let deadline = Deadline::after(&self.clock, Duration::from_secs(2));
        if let Some(why) = self.stalls.find(&quiet, &listener.placement.scout, &self.board, &deadline) {
            listener.desk().fail(why);
        }
    }

    /// Leaves the group the polite way, or at once when the source failed.
    fn leave(self) {
        let listener = self.listener();
        let failed = listener.desk().failed.clone();
        if let Some(why) = &failed {
            let mut desk = listener.desk();
            let all = desk.partitions();
            for lease in desk.release(&all) {
                lease.turn_off();
            }
            desk.outlet.push(Feed::Failed(why.clone()));
        }
        let deadline = Deadline::after(&self.clock, listener.drain_timeout + Duration::from_secs(5));
        self.consumer.unsubscribe();
        while !listener.desk().held.is_empty() && !deadline.left().is_zero() {
            if let Some(Err(error)) = self.consumer.poll(POLL) {
                tracing::debug!(%error, "leaving");
            }
        }
        let mut desk = listener.desk();
        let left = desk.partitions();
        desk.lose(left);
        let told = desk.outlet.pump(listener.drain_timeout);
        if !told {
            tracing::warn!("the stage did not take the last of what was read");
        }
        desk.outlet.close();
        self.board.member.store(false, Ordering::SeqCst);
    }
}
