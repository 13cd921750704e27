//! The source: a subscription, and the thread that polls for it ([`Poller`]).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::kafka::client;
use crate::kafka::deadline::Deadline;
use crate::kafka::desk::Desk;
use crate::kafka::handle::SourceHandle;
use crate::kafka::membership::{Board, Membership};
use crate::kafka::outlet::Outlet;
use crate::kafka::placement::Placement;
use crate::kafka::poller::Poller;
use crate::kafka::rebalance::Seat;
use crate::kafka::scout::Scout;
use crate::kafka::stall::Stalls;
use crate::kafka::{KafkaError, KafkaSettings, Traces};
use crate::stream::{Feed, Partition};
use crate::time::Clock;

/// Orders of a stage that wait for the polling thread; who has more to say waits.
const ORDERS: usize = 64;

/// State that a stage gets back when a partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Records that were appended within this span before the one at the committed position are replayed.
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
    /// By what it is known that the group has worked before, should its positions be gone.
    pub traces: Traces,
    /// A partition is read from so many records before its committed position, where nothing else is read back.
    pub tail: usize,
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
    /// [`KafkaError::Settings`], [`KafkaError::Forgotten`], [`KafkaError::Missing`].
    pub fn start(
        config: SourceConfig,
        feed: impl FnMut(Feed) -> bool + Send + 'static,
    ) -> Result<SourceHandle, KafkaError> {
        let SourceConfig { settings, group, topics, read_back, traces, tail, until_end, client_id, clock } = config;
        let board = Arc::new(Board::default());
        let (outlet, feeder) = Outlet::start(&client_id, feed)?;
        // A dead owner's transaction is ended by the broker after its timeout, looked for every 10 s; and brokers may
        // be away for longer than a start waits for them.
        let patience = settings.transaction_timeout.saturating_mul(2) + settings.start_timeout.saturating_mul(3);
        let patience = patience.min(client::POLL_INTERVAL / 3);
        let scout = Scout::new(&settings, &group, &clock)?;
        let seat = Arc::new(Seat {
            desk: Desk::new(topics.clone(), outlet, board.clone(), until_end).into(),
            placement: Placement { scout, read_back, tail, patience, clock: clock.clone() },
            drain_timeout: settings.drain_timeout.min(client::POLL_INTERVAL / 3),
            clock: clock.clone(),
            present: AtomicU64::default(),
        });
        let config = client::consumer(&settings, &group, &client_id);
        let consumer = seat.consumer(&config)?;
        let counts = client::reach(&consumer, &settings, &topics, clock.as_ref())?;
        let missing: Vec<String> = counts.iter().filter(|it| it.1 == 0).map(|it| it.0.to_string()).collect();
        if !missing.is_empty() {
            return Err(KafkaError::MissingTopics(missing));
        }
        let inputs = counts.iter().flat_map(|(topic, count)| (0..*count).map(|number| Partition::new(topic, number)));
        let inputs: Vec<Partition> = inputs.collect();
        let asking = (&seat.placement.scout, &Deadline::after(&clock, settings.start_timeout));
        traces.refuse_forgotten(asking, &group, &inputs)?;
        seat.subscribe(&consumer)?;
        let consumer = Arc::new(consumer);
        let membership = Membership::new(&consumer, board, &group);
        let (orders, inbox) = bounded(ORDERS);
        let (wait, prefetched) = (client::fetch_wait(&settings), client::prefetched_max(&settings));
        let stalls = Stalls::new(wait, prefetched, clock.monotonic());
        let poller = Poller::new(seat, (consumer, config), membership.clone(), inbox, stalls);
        let thread = std::thread::Builder::new()
            .name(format!("{client_id}-poll"))
            .spawn(move || poller.run())
            .map_err(|error| KafkaError::refused("starting a thread", error))?;
        Ok(SourceHandle { orders, membership, threads: vec![thread, feeder] })
    }
}
