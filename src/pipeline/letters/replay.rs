//! The replay: letters that can be read now go to where they came from, each with its mark in the same transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{Envelope, Letter, LetterRecord, read_letter};
use crate::event::{Reason, Replay};
use crate::kafka::KafkaError;
use crate::model::Task;
use crate::pipeline::Settings;
use crate::pipeline::letters::{Desk, LetterFilter, Outlook, TooManyMarks};
use crate::stream::{Output, Patience, Record, Transaction, Undecided, commit_alone, partition_for};
use crate::time::Clock;

/// Letters of one transaction, at most.
const LETTERS_MAX: usize = 500;
/// Bytes after which a transaction ends.
const BYTES_MAX: usize = 4 << 20;

/// Why a replay broke off. Another one goes on where this one was.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Kafka could not be read or reached.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A transaction was not committed, or nobody knows.
    #[error(
        "sending broke off: {0}; run it again: it reads on the topic which letters were sent, and sends none of them twice"
    )]
    Sending(#[from] Undecided),
    /// It is not known any more what was sent.
    #[error(transparent)]
    Marks(#[from] TooManyMarks),
}

/// Chooses letters and makes the records of a replay.
#[derive(Debug)]
pub struct Replayer {
    pub(super) desk: Desk,
    filter: LetterFilter,
    envelope: Envelope,
    partitions: BTreeMap<Arc<str>, i32>,
    outputs: Vec<Output>,
    letters: usize,
    bytes: usize,
    counts: BTreeMap<&'static str, u64>,
}

impl Replayer {
    /// A replay of what `filter` means, on a desk with these tasks. `partitions` has the partition count of each topic that there is.
    #[must_use]
    pub fn new(
        settings: &Settings,
        tasks: Arc<[Task]>,
        filter: LetterFilter,
        partitions: BTreeMap<Arc<str>, i32>,
    ) -> Self {
        Self {
            desk: Desk::new(settings, tasks).only(&filter.topics),
            filter,
            envelope: Envelope { source: Arc::from(format!("bellwether/{}", settings.name)) },
            partitions,
            outputs: Vec::new(),
            letters: 0,
            bytes: 0,
            counts: BTreeMap::new(),
        }
    }

    /// How many letters had which [`Outlook`], by its word; what was foreign under `foreign`.
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Remembers the marks among the records of the topic; all of them come before the first [`Replayer::take`].
    ///
    /// # Errors
    /// [`TooManyMarks`].
    pub fn mark(&mut self, record: &Record) -> Result<(), TooManyMarks> {
        self.desk.mark(record)
    }

    /// Takes the next record of the topic. A letter that is meant comes back with its outlook; one that is readable
    /// has been put among the outputs.
    ///
    /// # Errors
    /// [`TooManyMarks`]: that one was not put there.
    pub fn take(&mut self, record: &Record, clock: &dyn Clock) -> Result<Option<(Letter, Outlook)>, TooManyMarks> {
        let letter = match read_letter(record) {
            LetterRecord::Letter(letter) if self.filter.takes(&letter) => *letter,
            LetterRecord::Letter(_) | LetterRecord::Replay(_) => return Ok(None),
            LetterRecord::Foreign => {
                self.count("foreign");
                return Ok(None);
            }
        };
        let outlook = match self.desk.outlook(&letter) {
            Outlook::NotScorable if self.filter.reasons.contains(&Reason::NotScorable) => Outlook::Readable,
            Outlook::Readable if !self.partitions.contains_key(&letter.record.partition.topic) => Outlook::Unread,
            outlook => outlook,
        };
        if outlook == Outlook::Readable {
            // A letter may stand twice (at least once): from here on this one is replayed.
            self.desk.replayed(&letter.origin())?;
            self.put(&letter, clock);
        }
        self.count(outlook.as_str());
        Ok(Some((letter, outlook)))
    }

    fn count(&mut self, word: &'static str) {
        *self.counts.entry(word).or_insert(0) += 1;
    }

    /// The record to where it came from, and its mark beside the letter.
    fn put(&mut self, letter: &Letter, clock: &dyn Clock) {
        let (origin, again) = (letter.origin(), letter.again());
        let count = self.partitions.get(&origin.topic).copied().unwrap_or(1);
        // Others of its key are there. A topic that was made anew may be smaller than it was.
        let place = origin.to_string();
        let key = again.key.clone();
        let partition = if origin.partition < count {
            origin.partition
        } else {
            partition_for(key.as_deref().unwrap_or(place.as_bytes()), count)
        };
        let record = again.to(&origin.topic, partition);
        let mark = self.envelope.replay(&Replay::of(origin, clock.now()));
        let mark = mark.to(&letter.partition.topic, letter.partition.number);
        self.letters += 1;
        self.bytes += record.size() + mark.size();
        self.outputs.extend([record, mark]);
    }

    /// The outputs, when there are enough of them for a transaction.
    pub fn full(&mut self) -> Option<Vec<Output>> {
        (self.letters >= LETTERS_MAX || self.bytes >= BYTES_MAX).then(|| self.rest())
    }

    /// The outputs that are left.
    pub fn rest(&mut self) -> Vec<Output> {
        (self.letters, self.bytes) = (0, 0);
        std::mem::take(&mut self.outputs)
    }
}

/// Hands every record of the dead-letter topic that is there now to its argument.
type Sweep<'a> = dyn FnMut(&mut dyn FnMut(&Record) -> Result<(), ReplayError>) -> Result<(), ReplayError> + 'a;

/// Replays: reads the marks, then sends. `port` must have been opened, under an id that all replays of the pipeline
/// share, before this is called. Without `port` nothing is sent. `tell` hears of every letter that is meant.
///
/// # Errors
/// [`ReplayError`]; what was sent until then is marked.
pub fn replay(
    replayer: &mut Replayer,
    sweep: &mut Sweep<'_>,
    mut port: Option<&mut dyn Transaction>,
    clock: &dyn Clock,
    tell: &mut dyn FnMut(&Letter, &Outlook),
) -> Result<(), ReplayError> {
    sweep(&mut |record| Ok(replayer.mark(record)?))?;
    let mut send = |outputs: Vec<Output>| match &mut port {
        Some(port) if !outputs.is_empty() => commit_alone(&mut **port, &outputs, Patience::default(), clock),
        Some(_) | None => Ok(()),
    };
    sweep(&mut |record| {
        if let Some((letter, outlook)) = replayer.take(record, clock)? {
            tell(&letter, &outlook);
        }
        replayer.full().map_or(Ok(()), &mut send).map_err(ReplayError::from)
    })?;
    Ok(send(replayer.rest())?)
}
