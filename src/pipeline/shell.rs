//! The shell of a stage on a real log: moves data between the core and its threads, and decides nothing.
//!
//! One loop thread runs the core. The source feeds it through a queue of [`FEED_QUEUE`] events, work goes out through
//! a queue of [`WORK_MAX`] jobs and comes back through one that always has room, one commit is under way at a time.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use crate::metrics;
use crate::pipeline::awaited::Awaited;
use crate::pipeline::settling::Settling;
use crate::pipeline::stage::{Effect, Event, Stage, Stop, WORK_MAX};
use crate::pipeline::witness::{Told, Witness};
use crate::stream::{Command, Delivery, Epoch, Feed, Outcome, Partition, Patience, Row, Transaction};
use crate::time::Clock;

/// Events of the source that wait for the core; each holds at most what the source hands over at once.
pub const FEED_QUEUE: usize = 4;

/// How often the core hears that time passes.
const TURN: Duration = Duration::from_millis(20);

/// How often the state of the source is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The source's side of a stage, as the shell needs it.
pub trait SourceControl: Send {
    /// Hands a command over.
    fn command(&self, command: Command);
    /// Wants to hear of the end that each partition has now.
    fn mark_end(&self);
    /// Partitions and lag: `(partition, records behind)`.
    fn lags(&self) -> Vec<(Partition, i64)>;
    /// Whether the source still polls; why not otherwise.
    fn health(&self) -> Result<(), String>;
}

/// What a stage on a real log is made of.
pub struct Shell<S: Stage> {
    /// `score`, `signal` or `archive`.
    pub name: &'static str,
    /// The core.
    pub core: S,
    /// Events of the source.
    pub feed: Receiver<Feed>,
    /// The source.
    pub source: Box<dyn SourceControl>,
    /// Where commits go.
    pub port: Box<dyn Transaction + Send>,
    /// Exactly once or at least once.
    pub delivery: Delivery,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Told of every commit.
    pub witness: Witness,
    /// Disconnected when the stage is to finish.
    pub shutdown: Receiver<()>,
    /// Disconnected when what is there then is all there will be (`--until-end`).
    pub ending: Receiver<()>,
}

/// Starts a thread whose name says in a debugger and in `top` what it does (Linux shows 15 bytes of it).
///
/// # Errors
/// When the system has no thread left.
pub(in crate::pipeline) fn named<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// What comes back to the loop.
enum Back<D> {
    Done(D),
    Committed(Outcome),
}

/// Where workers hand in what they did; there is always room for all that can be under way.
pub struct WorkDone<D>(Sender<Back<D>>);

impl<D> WorkDone<D> {
    /// Hands a result in; false when the stage is gone.
    pub fn hand_in(&self, done: D) -> bool {
        self.0.send(Back::Done(done)).is_ok()
    }
}

impl<S> Shell<S>
where
    S: Stage,
    S::Note: Told,
{
    /// Runs the stage until it is finished. `work` starts the worker threads; they end when their queue does.
    ///
    /// # Errors
    /// The reason to halt.
    pub fn run(
        self,
        work: impl FnOnce(Receiver<S::Job>, WorkDone<S::Done>) -> io::Result<Vec<JoinHandle<()>>>,
    ) -> Result<(), Stop> {
        let (jobs, job_queue) = bounded(WORK_MAX);
        let (back, back_queue) = bounded(WORK_MAX + 1);
        let (commits, commit_queue) = bounded(1);
        let none_left = |error: io::Error| Stop::Fault(format!("starting a thread: {error}"));
        let mut threads = work(job_queue, WorkDone(back.clone())).map_err(none_left)?;
        let committer = Committer {
            name: self.name,
            port: self.port,
            delivery: self.delivery,
            clock: self.clock.clone(),
            witness: self.witness.clone(),
        };
        let commits_on = format!("{}-commit", self.name);
        threads.push(named(&commits_on, move || committer.run(&commit_queue, &back)).map_err(none_left)?);
        let mut running = Running {
            core: self.core,
            name: self.name,
            jobs,
            commits,
            source: self.source,
            settling: Settling::default(),
            awaited: Awaited::default(),
            witness: self.witness,
            clock: self.clock,
            trouble: None,
            looked_at: Duration::ZERO,
            known: BTreeSet::new(),
            ending: false,
        };
        let result = running.turns(&self.feed, &back_queue, (self.shutdown, self.ending));
        running.close(&self.feed, result.is_ok());
        drop(running);
        drop(back_queue);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!(stage = self.name, "a thread of the stage panicked");
            }
        }
        result
    }
}

/// Commits epochs on a thread of its own: every call of a transaction blocks.
struct Committer {
    name: &'static str,
    port: Box<dyn Transaction + Send>,
    delivery: Delivery,
    clock: Arc<dyn Clock>,
    witness: Witness,
}

impl Committer {
    fn run<N: Told, D>(mut self, epochs: &Receiver<Epoch<Row<N>>>, back: &Sender<Back<D>>) {
        for mut epoch in epochs {
            let began = self.clock.monotonic();
            let outcome = epoch.commit(&mut *self.port, self.delivery, Patience::default(), &*self.clock);
            let took = self.clock.monotonic().saturating_sub(began);
            match &outcome {
                Outcome::Committed(offsets) if offsets.is_empty() => {
                    self.witness.not_committed(self.name, "dropped", took);
                }
                Outcome::Committed(_) => {
                    self.witness.committed(self.name, epoch.rows().map(|row| &row.note), took);
                }
                Outcome::Fenced(_) => self.witness.not_committed(self.name, "fenced", took),
                Outcome::Halt(_) => self.witness.not_committed(self.name, "halted", took),
            }
            if back.send(Back::Committed(outcome)).is_err() {
                return;
            }
        }
    }
}

struct Running<S: Stage> {
    core: S,
    name: &'static str,
    jobs: Sender<S::Job>,
    commits: Sender<Epoch<Row<S::Note>>>,
    source: Box<dyn SourceControl>,
    settling: Settling,
    awaited: Awaited,
    witness: Witness,
    clock: Arc<dyn Clock>,
    trouble: Option<String>,
    looked_at: Duration,
    known: BTreeSet<Partition>,
    ending: bool,
}

impl<S: Stage> Running<S> {
    fn turns(
        &mut self,
        feed: &Receiver<Feed>,
        back: &Receiver<Back<S::Done>>,
        (mut shutdown, mut ending): (Receiver<()>, Receiver<()>),
    ) -> Result<(), Stop> {
        loop {
            let event = select! {
                recv(back) -> back => match back {
                    Ok(Back::Done(done)) => {
                        self.awaited.came_back(self.clock.monotonic());
                        Event::Done(done)
                    }
                    Ok(Back::Committed(outcome)) => Event::Committed(outcome),
                    Err(_) => return Err("the stage's workers are gone".to_owned().into()),
                },
                recv(feed) -> feed => match feed {
                    Ok(feed) => self.note_feed(feed),
                    Err(_) => return Err("the stage's source is gone".to_owned().into()),
                },
                recv(shutdown) -> _ => {
                    shutdown = never();
                    Event::Finish
                },
                recv(ending) -> _ => {
                    ending = never();
                    self.ending = true;
                    self.source.mark_end();
                    Event::Turn
                }
                default(TURN) => Event::Turn,
            };
            for effect in self.core.on(event, self.clock.now()) {
                if self.apply(effect)? {
                    return Ok(());
                }
            }
            self.look();
        }
    }

    /// Carries an effect out; true when the stage is finished.
    fn apply(&mut self, effect: Effect<S::Job, S::Note>) -> Result<bool, Stop> {
        let gone = |_| "the stage's workers are gone".to_owned();
        match effect {
            Effect::Work(job) => {
                self.jobs.send(job).map_err(|_| gone(()))?;
                self.awaited.handed_out(self.clock.monotonic());
            }
            Effect::Commit(epoch) => self.commits.send(epoch).map_err(|_| gone(()))?,
            Effect::Source(command) => {
                self.witness.paused(&command);
                self.source.command(command);
            }
            Effect::Settled(partitions) => self.settling.settle(&partitions),
            Effect::WasReset(partition) => {
                tracing::warn!(stage = self.name, %partition, "begins again at its committed position");
                self.witness.metrics.add(&metrics::RESETS, &[self.name], 1);
            }
            Effect::Finished => return Ok(true),
            Effect::Halt(why) => return Err(Stop::Fault(why)),
            Effect::BadData(why) => return Err(Stop::BadData(why)),
        }
        Ok(false)
    }

    /// Remembers who waits for a revoke, counts rebalances, and says when the log cannot be reached.
    fn note_feed(&mut self, feed: Feed) -> Event<S::Done> {
        self.settling.note(&feed);
        let kind = match &feed {
            Feed::Assigned(assignment) => {
                tracing::debug!(
                    stage = self.name,
                    partition = %assignment.lease.partition(),
                    committed = %assignment.committed,
                    "assigned"
                );
                // A second time, where it has begun ahead or was reset, it is no rebalance.
                self.known.insert(assignment.lease.partition().clone()).then_some("assigned")
            }
            Feed::Revoked { partitions, .. } => {
                self.forget(partitions);
                Some("revoked")
            }
            Feed::Lost { partitions } => {
                self.forget(partitions);
                Some("lost")
            }
            Feed::Trouble(trouble) => {
                match trouble {
                    Some(why) => tracing::warn!(stage = self.name, why, "the log cannot be reached, trying again"),
                    None => tracing::info!(stage = self.name, "the log can be reached again"),
                }
                self.trouble.clone_from(trouble);
                None
            }
            Feed::Records { .. } | Feed::End { .. } | Feed::Failed(_) => None,
        };
        if let Some(kind) = kind {
            self.witness.metrics.add(&metrics::REBALANCES, &[self.name, kind], 1);
        }
        Event::Feed(feed)
    }

    fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.known.remove(partition);
            let labels = [self.name, &partition.topic, &partition.number.to_string()];
            self.witness.metrics.forget(&metrics::LAG, &labels);
        }
    }

    /// Once a second: readiness, partitions, lag and queues.
    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    fn look(&mut self) {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.looked_at) < LOOK && !self.looked_at.is_zero() {
            return;
        }
        self.looked_at = now;
        self.witness.board.seen(self.name, Some(now));
        if self.ending {
            // Again, for partitions that were assigned since.
            self.source.mark_end();
        }
        self.core.tell(&self.witness);
        let health = match &self.trouble {
            Some(why) => Err(why.clone()),
            None => self.source.health().and_then(|()| self.awaited.health(now)),
        };
        let ready = health.is_ok();
        let metrics = &self.witness.metrics;
        self.witness.board.stage(self.name, ready, health.err().unwrap_or_default());
        metrics.set(&metrics::READY, &[self.name], if ready { 1.0 } else { 0.0 });
        metrics.set(&metrics::PARTITIONS, &[self.name], self.known.len() as f64);
        let mut total = 0;
        for (partition, lag) in self.source.lags() {
            total += lag;
            metrics.set(&metrics::LAG, &[self.name, &partition.topic, &partition.number.to_string()], lag as f64);
        }
        self.witness.board.progress(self.name, self.known.len(), Some(total));
        for (queue, fill) in [("jobs", self.jobs.len()), ("commits", self.commits.len())] {
            metrics.set(&metrics::QUEUE_FILL, &[self.name, queue], fill as f64);
        }
        metrics.set(&metrics::QUEUE_CAPACITY, &[self.name, "jobs"], WORK_MAX as f64);
        metrics.set(&metrics::QUEUE_CAPACITY, &[self.name, "commits"], 1.0);
    }

    /// Ends the source, answering whoever still waits for a revoke.
    fn close(&mut self, feed: &Receiver<Feed>, orderly: bool) {
        self.witness.board.stage(self.name, false, if orderly { "finished" } else { "stopped" });
        self.witness.board.seen(self.name, None);
        self.settling.clear();
        self.source.command(Command::Stop);
        while let Ok(event) = feed.recv_timeout(CLOSE_MAX) {
            if let Feed::Revoked { settled, .. } = event {
                let _gone = settled.try_send(());
            }
        }
    }
}

/// How long the source may take to leave its group.
const CLOSE_MAX: Duration = Duration::from_secs(15);
