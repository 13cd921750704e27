//! What would become of a dead letter now, under the present pipeline file.

use std::sync::Arc;

use crate::codec::SourceSettings;
use crate::codec::{Letter, LetterRecord, decode_label, decode_mention, decode_scored, read_letter};
use crate::event::{Origin, Reason};
use crate::model::{Task, objection};
use crate::pipeline::letters::TooManyMarks;
use crate::pipeline::letters::marks::Marks;
use crate::pipeline::score::read_post;
use crate::pipeline::{Settings, Topics};
use crate::stream::Record;

/// What would become of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// It can be read.
    Readable,
    /// It was sent again already.
    Replayed,
    /// Its value was cut: what is left is not the record.
    Cut,
    /// It could be read, but the model failed on it; only a replay that asks for such letters sends it.
    NotScorable,
    /// It would become a dead letter again.
    Refused(Reason, String),
    /// The pipeline reads no such topic.
    Unread,
}

impl Outlook {
    /// One word for counts and machines.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Readable => "readable",
            Self::Replayed => "replayed",
            Self::Cut => "cut",
            Self::NotScorable => "not_scorable",
            Self::Refused(..) => "refused",
            Self::Unread => "unread",
        }
    }
}

/// Where letters are judged: the present file, and the letters that were replayed.
#[derive(Debug)]
pub struct Desk {
    sources: Vec<SourceSettings>,
    topics: Topics,
    value_bytes_max: usize,
    tasks: Arc<[Task]>,
    /// Marks of letters from other topics are looked past; of all where there are none.
    only: Vec<Arc<str>>,
    pub(super) replayed: Marks,
}

impl Desk {
    /// A desk on which no letter was replayed yet. Labels must answer one of these tasks; any where there are none.
    #[must_use]
    pub fn new(settings: &Settings, tasks: Arc<[Task]>) -> Self {
        Self {
            sources: settings.sources.clone(),
            topics: Topics::of(&settings.name),
            value_bytes_max: settings.kafka.record_bytes_max,
            tasks,
            only: Vec::new(),
            replayed: Marks::default(),
        }
    }

    /// The same for letters from these topics alone, or from all where none is named.
    #[must_use]
    pub fn only(self, topics: &[Arc<str>]) -> Self {
        Self { only: topics.to_vec(), ..self }
    }

    /// Remembers a mark; any other record of the topic is looked past.
    ///
    /// # Errors
    /// [`TooManyMarks`].
    pub fn mark(&mut self, record: &Record) -> Result<(), TooManyMarks> {
        match read_letter(record) {
            LetterRecord::Replay(replay) if self.only.is_empty() || self.only.contains(&replay.origin.topic) => {
                self.replayed(&replay.origin)
            }
            LetterRecord::Replay(_) | LetterRecord::Letter(_) | LetterRecord::Foreign => Ok(()),
        }
    }

    /// Remembers that a letter was replayed.
    ///
    /// # Errors
    /// [`TooManyMarks`].
    pub fn replayed(&mut self, origin: &Origin) -> Result<(), TooManyMarks> {
        self.replayed.insert(origin)
    }

    /// What would become of a letter.
    #[must_use]
    pub fn outlook(&self, letter: &Letter) -> Outlook {
        if self.replayed.contains(&letter.origin()) {
            return Outlook::Replayed;
        }
        if !letter.cut.is_none() {
            return Outlook::Cut;
        }
        match self.read(&letter.record) {
            None => Outlook::Unread,
            Some(Err((reason, message))) => Outlook::Refused(reason, message),
            Some(Ok(())) if letter.reason == Reason::NotScorable => Outlook::NotScorable,
            Some(Ok(())) => Outlook::Readable,
        }
    }

    /// Reads a record as the stage behind its topic would; `None` when there is none.
    fn read(&self, record: &Record) -> Option<Result<(), (Reason, String)>> {
        let topic: &Arc<str> = &record.partition.topic;
        let of_own = if *topic == self.topics.mentions {
            decode_mention(record).map(drop)
        } else if *topic == self.topics.scored {
            decode_scored(record).map(drop)
        } else if *topic == self.topics.labels {
            return Some(match decode_label(record) {
                Ok(label) => match objection(&self.tasks, &label.task, &label.label) {
                    None => Ok(()),
                    Some(message) => Err((Reason::InvalidField, message)),
                },
                Err(letter) => Err((letter.reason, letter.message)),
            });
        } else if self.sources.iter().any(|source| source.topic == *topic) {
            let post = read_post(record, &self.sources, self.value_bytes_max);
            return Some(post.map(drop).map_err(|letter| (letter.reason, letter.message)));
        } else {
            return None;
        };
        Some(of_own.map_err(|letter| (letter.reason, letter.message)))
    }
}
