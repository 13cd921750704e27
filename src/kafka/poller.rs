//! The polling thread: polls as long as the source lives, and hands records over in order.
//!
//! When the stage takes nothing for [`PATIENCE`], all partitions are paused and polling goes on, so that a slow stage
//! is never taken for a dead one. A pause drops what was fetched ahead, hence the patience. A client that hangs is let
//! go: what it held is lost, as after any other loss of its partitions, and a new one joins the group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};

use crate::kafka::deadline::Deadline;
use crate::kafka::desk::Held;
use crate::kafka::handle::Order;
use crate::kafka::hang::{CLIENTS_MAX, Hang, Renewals};
use crate::kafka::membership::{Board, Membership};
use crate::kafka::rebalance::{Listener, Seat};
use crate::kafka::stall::Stalls;
use crate::kafka::{KafkaError, client, wire};
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

/// The polling thread.
pub(super) struct Poller {
    seat: Arc<Seat>,
    /// The client in place.
    consumer: Arc<BaseConsumer<Listener>>,
    /// How another one is made.
    config: ClientConfig,
    membership: Membership,
    board: Arc<Board>,
    inbox: Receiver<Order>,
    clock: Arc<dyn Clock>,
    /// The stage wants nothing now.
    asked_to_pause: bool,
    /// When ends were looked for last.
    looked_at: Duration,
    /// When it was last asked how far the topics have grown.
    grown_at: Duration,
    /// Partitions of which nothing comes.
    stalls: Stalls,
    /// Whether the client hangs.
    hang: Hang,
    renewals: Renewals,
}

impl Poller {
    /// For a consumer that has subscribed, and how it was made.
    pub(super) fn new(
        seat: Arc<Seat>,
        (consumer, config): (Arc<BaseConsumer<Listener>>, ClientConfig),
        membership: Membership,
        inbox: Receiver<Order>,
        stalls: Stalls,
    ) -> Self {
        let (clock, board) = (seat.clock.clone(), membership.board.clone());
        let now = clock.monotonic();
        board.polled(now);
        board.reached(now);
        Self {
            seat,
            consumer,
            config,
            membership,
            board,
            inbox,
            clock,
            asked_to_pause: false,
            looked_at: Duration::ZERO,
            grown_at: Duration::ZERO,
            stalls,
            hang: Hang::default(),
            renewals: Renewals::default(),
        }
    }

    pub(super) fn run(mut self) {
        let mut blocked_since = None;
        while self.obey() {
            self.board.polled(self.clock.monotonic());
            let limit = if blocked_since.is_some() { POLL } else { Duration::ZERO };
            if self.seat.desk().outlet.pump(|| limit) {
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
            self.look_for_hang();
        }
        self.leave();
    }

    /// Does what was asked; false when the source is to end. Partitions that are to begin again do so together: each time
    /// may take as long as the brokers need to say what is committed, and nobody polls meanwhile.
    fn obey(&mut self) -> bool {
        let mut again = BTreeSet::new();
        loop {
            {
                let desk = self.seat.desk();
                if desk.failed.is_some() || desk.outlet.is_closed() {
                    return false;
                }
            }
            match self.inbox.try_recv() {
                Ok(Order::Command(Command::Pause)) => self.asked_to_pause = true,
                Ok(Order::Command(Command::Resume)) => self.asked_to_pause = false,
                Ok(Order::Command(Command::Reset(partitions))) => again.extend(partitions),
                Ok(Order::MarkEnd) => self.mark_end(),
                Ok(Order::Command(Command::Stop)) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) if again.is_empty() => return true,
                Err(TryRecvError::Empty) => self.reset(&Vec::from_iter(std::mem::take(&mut again))),
            }
        }
    }

    fn set_paused(&mut self, paused: bool) {
        if paused {
            self.stalls.forget();
        }
        let mut desk = self.seat.desk();
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
                Ok(message) => {
                    let size = self.seat.desk().take(&message, self.clock.monotonic());
                    self.stalls.took(size);
                    bytes += size;
                    self.renewals.brought();
                }
                Err(error) => self.judge(&error),
            }
            if bytes >= SWEEP_BYTES {
                break;
            }
        }
        self.seat.desk().flush();
    }

    /// Most errors of a poll are librdkafka's business, which tries again; these are not.
    fn judge(&self, error: &Theirs) {
        let is_off_the_log = matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange));
        let fatal = matches!(error, Theirs::MessageConsumptionFatal(_))
            || matches!(
                error.rdkafka_error_code(),
                Some(
                    Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::UnknownTopic | Code::Fatal
                )
            );
        if wire::is_unreadable(error) {
            self.seat.desk().fail(format!("a topic holds what cannot be read, and none of it is skipped: {error}"));
        } else if is_off_the_log {
            self.seat.overtaken(error);
        } else if fatal {
            self.seat.desk().fail(error.to_string());
        } else if error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            tracing::debug!(%error, "reading");
        } else {
            tracing::warn!(%error, "reading");
        }
    }

    /// The same way as an assignment: lease off, place anew, new lease.
    fn reset(&self, partitions: &[Partition]) {
        let seat = &self.seat;
        let ours: Vec<Partition> = {
            let mut desk = seat.desk();
            let leases = desk.release(partitions);
            leases.iter().for_each(Lease::turn_off);
            leases.iter().map(|lease| lease.partition().clone()).collect()
        };
        if ours.is_empty() {
            return;
        }
        let placed = seat.place(&ours);
        let sought = placed.and_then(|placed| {
            for one in &placed {
                self.seek(one.lease.partition(), one.start)?;
            }
            Ok(placed)
        });
        let mut desk = seat.desk();
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
        let seat = &self.seat;
        let partitions = seat.desk().partitions();
        for at in partitions {
            let bounds = seat.placement.scout.bounds(&at, &deadline);
            let mut desk = seat.desk();
            match (bounds, desk.held.get_mut(&at)) {
                (Ok(bounds), Some(held)) => held.target = Some(Position::at(bounds.high)),
                (Ok(_), None) => {}
                (Err(error), _) => desk.fail(error.to_string()),
            }
        }
        seat.desk().flush();
    }

    /// The client learns where a partition ends by reading it. While it is paused it is asked for, for the lag grows all
    /// the same.
    fn look_for_growth(&mut self) {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.grown_at) < GROWTH || !self.seat.desk().paused {
            return;
        }
        self.grown_at = now;
        let partitions = self.seat.desk().partitions();
        let deadline = Deadline::after(&self.clock, POLL);
        for at in partitions {
            match self.seat.placement.scout.bounds(&at, &deadline) {
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
        let seat = &self.seat;
        let quiet: Vec<(Partition, Position, Position)> = {
            let desk = seat.desk();
            if desk.paused {
                return;
            }
            let is_quiet = |held: &&Held| now.saturating_sub(held.moved_at) >= QUIET;
            let held = desk.held.iter().filter(|(_, held)| is_quiet(held));
            held.filter_map(|(at, held)| Some((at.clone(), held.next, held.target?))).collect()
        };
        for (at, next, end) in quiet {
            let deadline = Deadline::after(&self.clock, Duration::from_secs(2));
            match seat.placement.scout.read(&at, Span { from: next, until: end }, 1, &deadline) {
                Ok(found) if found.is_empty() => seat.desk().ended(&at),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "looking for the end"),
            }
        }
    }

    /// Who brings nothing of what waits on the log hangs.
    fn look_for_stalls(&mut self) {
        let now = self.clock.monotonic();
        if !self.stalls.is_due(now) {
            return;
        }
        let desk = self.seat.desk();
        let held = desk.held.iter().map(|(at, held)| (at.clone(), held.next, held.moved_at));
        let quiet = self.stalls.quiet(held, now);
        drop(desk);
        let deadline = Deadline::after(&self.clock, Duration::from_secs(2));
        if let Some(why) = self.stalls.find(&quiet, &self.seat.placement.scout, &self.board, &deadline) {
            self.renew(&why);
        }
    }

    /// Who finds no broker while another client is answered hangs.
    fn look_for_hang(&mut self) {
        if !self.hang.is_due(self.clock.monotonic(), self.board.reached_at()) {
            return;
        }
        let deadline = Deadline::after(&self.clock, Duration::from_secs(1));
        let first = self.seat.desk().topics.first().map(|topic| Partition::new(topic, 0));
        let is_answered = first.is_some_and(|at| self.seat.placement.scout.finds_coordinator(&at, &deadline));
        if self.hang.is_certain(self.clock.monotonic(), is_answered) {
            self.renew("it finds no broker, and another client does");
        }
    }

    /// Another client takes the place. Its partitions come back to it, or go to another member.
    fn renew(&mut self, why: &str) {
        if !client::may_replace() {
            return self.seat.desk().fail(format!("too many clients that were replaced have not ended: {why}"));
        }
        if !self.renewals.may_renew() {
            return self.seat.desk().fail(format!("{CLIENTS_MAX} clients hang, one after the other: {why}"));
        }
        tracing::warn!(why, "the client hangs: a new one takes its place");
        self.seat.present.fetch_add(1, Ordering::SeqCst);
        let lost = self.seat.desk().partitions();
        self.seat.lose(lost);
        let made = self.seat.consumer(&self.config).and_then(|consumer| {
            self.seat.subscribe(&consumer)?;
            Ok(Arc::new(consumer))
        });
        match made {
            Ok(consumer) => {
                self.membership.pass_to(&consumer);
                let old = std::mem::replace(&mut self.consumer, consumer);
                let life = Arc::downgrade(&old);
                client::end_shared(old, move || life.strong_count() == 0);
            }
            Err(error) => self.seat.desk().fail(error.to_string()),
        }
        let now = self.clock.monotonic();
        self.board.reached(now);
        self.hang = Hang::default();
        self.stalls.forget();
    }

    /// Leaves the group the polite way, or at once when the source failed.
    fn leave(self) {
        let seat = &self.seat;
        let failed = seat.desk().failed.clone();
        if let Some(why) = &failed {
            let mut desk = seat.desk();
            let all = desk.partitions();
            for lease in desk.release(&all) {
                lease.turn_off();
            }
            desk.outlet.push(Feed::Failed(why.clone()));
        }
        let deadline = Deadline::after(&self.clock, seat.drain_timeout + Duration::from_secs(5));
        self.consumer.unsubscribe();
        while !seat.desk().held.is_empty() && !deadline.left().is_zero() {
            if let Some(Err(error)) = self.consumer.poll(POLL) {
                tracing::debug!(%error, "leaving");
            }
        }
        let mut desk = seat.desk();
        let left = desk.partitions();
        desk.lose(left);
        let deadline = Deadline::after(&self.clock, seat.drain_timeout);
        let told = desk.outlet.pump(|| deadline.left());
        if !told {
            tracing::warn!("the stage did not take the last of what was read");
        }
        desk.outlet.close();
        self.board.member.store(false, Ordering::SeqCst);
    }
}
