//! The score stage's core: fills pools, hands them out, orders what comes back, closes epochs, writes ticks.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::SourceSettings;
use crate::event::{MentionRecord, Tick};
use crate::metrics;
use crate::pipeline::flow::Flow;
use crate::pipeline::limit::{DeadLetterLimit, Watch};
use crate::pipeline::score::{Routes, ScoreNote, read_post};
use crate::pipeline::stage::{Effect, Event, Stage, WORK_MAX};
use crate::pipeline::witness::Witness;
use crate::stream::{Assignment, Batch, Feed, Lease, Partition, Record, Row};
use crate::time::Timestamp;

/// What the core needs to know.
#[derive(Debug, Clone)]
pub struct ScoreSettings {
    /// Posts that are sorted and scored together.
    pub pool_posts_max: usize,
    /// Bytes of their records; a larger record is a pool of its own.
    pub pool_bytes_max: usize,
    /// How long a post may wait for its pool to fill.
    pub pool_wait_max: Duration,
    /// How long an epoch is open.
    pub commit_interval: Duration,
    /// End when what was there at the start is done.
    pub until_end: bool,
    /// The partition whose owner writes ticks: the first of the first input.
    pub tick_partition: Partition,
    /// How often.
    pub tick_interval: Duration,
    /// The inputs, by which the records before a committed position are judged anew.
    pub sources: Arc<[SourceSettings]>,
    /// How many dead letters are too many.
    pub limit: DeadLetterLimit,
}

/// When the next tick is due; ticks stand at whole multiples of the interval.
#[derive(Debug)]
pub struct Ticker {
    partition: Partition,
    interval: Duration,
    last: Option<i64>,
    /// The tick behind everything was written (`until_end`).
    closed: bool,
}

impl Ticker {
    /// The slot of `now`, when it is another than that of the last tick: an earlier one where the clock was set back.
    fn due(&mut self, now: Timestamp) -> bool {
        let interval = i64::try_from(self.interval.as_micros()).unwrap_or(i64::MAX).max(1);
        let slot = now.micros().div_euclid(interval);
        let due = self.last != Some(slot);
        if due {
            self.last = Some(slot);
        }
        due
    }
}

type ScoreEffect = Effect<Batch<Record>, ScoreNote>;

/// The core.
#[derive(Debug)]
pub struct ScoreCore {
    flow: Flow<Row<ScoreNote>>,
    pool: Batch<Record>,
    pool_bytes: usize,
    pool_since: Option<Timestamp>,
    working: usize,
    ticker: Ticker,
    routes: Routes,
    settings: ScoreSettings,
}

impl ScoreCore {
    /// A core with nothing assigned.
    #[must_use]
    pub fn new(settings: ScoreSettings, routes: Routes) -> Self {
        let ticker = Ticker {
            partition: settings.tick_partition.clone(),
            interval: settings.tick_interval,
            last: None,
            closed: false,
        };
        let mut flow = Flow::new(settings.commit_interval, settings.until_end);
        flow.watch = Watch::new(settings.limit);
        Self { flow, pool: Batch::default(), pool_bytes: 0, pool_since: None, working: 0, ticker, routes, settings }
    }

    fn feed(&mut self, feed: Feed, now: Timestamp) -> Vec<ScoreEffect> {
        match feed {
            Feed::Assigned(assignment) => self.assign(&assignment),
            Feed::Records { lease, records } => return self.records(&lease, records, now),
            Feed::Revoked { partitions, .. } => self.flow.revoke(partitions),
            Feed::Lost { partitions } => self.flow.drop_all(&partitions),
            Feed::End { partition } => self.flow.end(partition),
            Feed::Trouble(_) => {}
            Feed::Failed(why) => return vec![Effect::Halt(why)],
        }
        Vec::new()
    }

    fn assign(&mut self, assignment: &Assignment) {
        self.flow.assign(assignment);
    }

    fn records(&mut self, lease: &Lease, records: Vec<Record>, now: Timestamp) -> Vec<ScoreEffect> {
        if self.flow.is_finishing() {
            return Vec::new();
        }
        match self.flow.take(lease, records) {
            Ok(taken) => {
                for record in &taken.replay {
                    let post = read_post(record, &self.settings.sources, self.routes.value_bytes_max);
                    self.flow.watch.remember(lease.partition(), post.is_err());
                }
                if !taken.live.is_empty() {
                    self.pool_since.get_or_insert(now);
                    self.pool_bytes += taken.live.rows().map(Record::size).sum::<usize>();
                    self.pool.merge(taken.live);
                }
                Vec::new()
            }
            Err(why) => vec![Effect::Halt(why)],
        }
    }

    /// Hands the pool out: at once when nobody is at work, else when it is full or has waited long enough; not while
    /// more is done than can be committed.
    fn hand_out(&mut self, now: Timestamp) -> Option<ScoreEffect> {
        if self.flow.is_finishing() {
            (self.pool, self.pool_bytes) = (Batch::default(), 0);
        }
        if self.pool.is_empty() || self.working >= WORK_MAX || self.flow.is_full() {
            return None;
        }
        let waited = self.pool_since.is_none_or(|at| now.is_over(at, self.settings.pool_wait_max));
        if self.working > 0 && !waited && !self.holds_pools(1) {
            return None;
        }
        self.working += 1;
        self.pool_since = None;
        let pool = std::mem::take(&mut self.pool);
        let count = self.pool_posts(&pool);
        let (pool, rest) = pool.split_at(count);
        self.pool_bytes = rest.rows().map(Record::size).sum();
        if !rest.is_empty() {
            self.pool_since = Some(now);
            self.pool = rest;
        }
        Some(Effect::Work(pool))
    }

    /// How many of the waiting posts make one pool; at least one.
    fn pool_posts(&self, pool: &Batch<Record>) -> usize {
        let mut bytes = 0_usize;
        let fits = |record: &&Record| {
            bytes = bytes.saturating_add(record.size());
            bytes <= self.settings.pool_bytes_max
        };
        pool.rows().take(self.settings.pool_posts_max).take_while(fits).count().max(1)
    }

    /// Whether so many whole pools are waiting.
    fn holds_pools(&self, count: usize) -> bool {
        self.pool.len() >= self.settings.pool_posts_max.saturating_mul(count)
            || self.pool_bytes >= self.settings.pool_bytes_max.saturating_mul(count)
    }

    fn tick(&mut self, now: Timestamp) {
        let partition = self.ticker.partition.clone();
        let owned = self.flow.intake.lease(&partition).is_some();
        if owned && !self.flow.is_finishing() && self.ticker.due(now) {
            self.write_tick(&partition, now);
        }
    }

    /// One tick behind everything, so that a run that ends leaves the index as it is at its end. True when it was
    /// added and has to be committed first.
    fn closing_tick(&mut self, now: Timestamp) -> bool {
        let partition = self.ticker.partition.clone();
        let owned = self.flow.intake.lease(&partition).is_some();
        if !owned || self.flow.is_finishing() || self.ticker.closed {
            return false;
        }
        self.ticker.closed = true;
        self.write_tick(&partition, now);
        true
    }

    fn write_tick(&mut self, partition: &Partition, now: Timestamp) {
        let record = MentionRecord::Tick(Tick { at: now });
        let row = Row { outputs: self.routes.to_every_mentions_partition(&record, now), note: ScoreNote::Tick };
        self.flow.add_aside(partition, vec![row], now);
    }

    fn is_done(&self) -> bool {
        let idle = self.working == 0 && self.pool.is_empty() && self.flow.ledger.is_empty();
        idle && !self.flow.is_committing() && (self.flow.is_finishing() || self.flow.all_ended())
    }
}

impl Stage for ScoreCore {
    type Job = Batch<Record>;
    type Done = Result<Batch<Row<ScoreNote>>, String>;
    type Note = ScoreNote;

    fn on(&mut self, event: Event<Self::Done>, now: Timestamp) -> Vec<ScoreEffect> {
        let mut effects = match event {
            Event::Feed(feed) => self.feed(feed, now),
            Event::Done(done) => {
                self.working = self.working.saturating_sub(1);
                let stop = match done {
                    Ok(batch) => self.flow.add(batch, now),
                    Err(why) => Some(Effect::Halt(why)),
                };
                stop.into_iter().collect()
            }
            Event::Committed(outcome) => self.flow.committed(outcome, now),
            Event::Turn => Vec::new(),
            Event::Finish => {
                self.flow.finish();
                Vec::new()
            }
        };
        if !self.flow.all_ended() {
            self.tick(now);
        }
        effects.extend(self.hand_out(now));
        effects.extend(self.flow.throttle(self.holds_pools(2), !self.holds_pools(1)));
        effects.extend(self.flow.close_if_due(now));
        effects.extend(self.flow.settle(|_| false));
        if self.is_done() {
            if self.closing_tick(now) {
                effects.extend(self.flow.close_if_due(now));
            } else {
                effects.push(Effect::Finished);
            }
        }
        effects
    }

    #[cfg(test)]
    fn held(&self) -> std::collections::BTreeSet<Partition> {
        self.flow.held().into_iter().chain(self.pool.leases().map(|lease| lease.partition().clone())).collect()
    }

    fn tell(&mut self, witness: &Witness) {
        witness.metrics.set(&metrics::DEAD_LETTER_LIMIT, &["score"], self.flow.watch.used());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_one_tick_and_a_clock_that_is_set_back_goes_on_ticking() {
        let partition = Partition::new(&Arc::from("posts"), 0);
        let mut ticker = Ticker { partition, interval: Duration::from_secs(5), last: None, closed: false };
        let due: Vec<bool> = [10_000, 10_001, 14_999, 15_000, 2_000, 4_999, 5_000, 15_000]
            .map(|now| ticker.due(Timestamp::from_millis(now)))
            .into();
        assert_eq!(due, [true, false, false, true, true, false, true, true]);
    }
}
