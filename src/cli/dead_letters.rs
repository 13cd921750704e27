//! `bellwether dead-letters`: what could not be used, looked at and sent again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use crate::cli::args::{DeadLetters, Global, LetterChoice, ListLetters, Moment, ReplayLetters, ShowLetter};
use crate::cli::letter_shown::{Shown, visible};
use crate::cli::{Failure, Output, load};
use crate::codec::{Letter, LetterRecord, read_letter};
use crate::event::Origin;
use crate::kafka::{Producer, Sweep, partition_counts};
use crate::model::Task;
use crate::onnx::manifest;
use crate::pipeline::letters::{Desk, LetterFilter, Outlook, ReplayError, Replayer, replay};
use crate::pipeline::{Settings, Topics};
use crate::stream::{Record, Transaction};
use crate::time::{Clock, SystemClock, Timestamp};

/// Runs the command.
///
/// # Errors
/// With 65 when there is no such letter, with 69 when Kafka cannot be reached or a replay broke off.
pub(crate) fn run(asked: &DeadLetters, global: &Global) -> Result<(), Failure> {
    let file = match asked {
        DeadLetters::List(list) => &list.file,
        DeadLetters::Show(show) => &show.file,
        DeadLetters::Replay(replay) => &replay.file,
    };
    let settings = load(file, global)?.settings;
    let place = Place { clock: Arc::new(SystemClock::new()), settings };
    match asked {
        DeadLetters::List(list) => place.list(list),
        DeadLetters::Show(show) => place.show(show),
        DeadLetters::Replay(replay) => place.replay(replay),
    }
}

/// A pipeline whose letters are meant.
struct Place {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

/// One line of `list`.
#[derive(Serialize)]
struct Listed {
    id: String,
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    stage: String,
    reason: &'static str,
    message: String,
    written_at: Timestamp,
    bytes: usize,
    now: &'static str,
}

/// Letters of one topic and reason, by what would become of them now.
#[derive(Serialize)]
struct Counted {
    topic: Arc<str>,
    reason: &'static str,
    letters: u64,
    now: BTreeMap<&'static str, u64>,
}

/// What `list --json` prints.
#[derive(Serialize)]
struct List {
    letters: Vec<Listed>,
    counts: Vec<Counted>,
    /// Records of the topic that are no letters and no marks.
    foreign: u64,
}

impl Place {
    fn filter(&self, choice: &LetterChoice) -> LetterFilter {
        let now = self.clock.now();
        let moment = |moment: Moment| match moment {
            Moment::At(at) => at,
            Moment::Ago(span) => now.minus(span),
        };
        LetterFilter {
            reasons: choice.reason.clone(),
            topics: choice.topic.iter().map(|topic| Arc::from(topic.as_str())).collect(),
            since: choice.since.map(moment),
            until: choice.until.map(moment),
        }
    }

    fn sweep(&self) -> Result<Sweep, Failure> {
        let topic = Topics::of(&self.settings.name).dead_letters;
        let group = format!("{}.dead-letters", self.settings.name);
        Sweep::start(&self.settings.kafka, &group, &topic, &self.clock).map_err(|error| Failure::of(error.into()))
    }

    /// What labels may answer; anything where the model is not here.
    fn tasks(&self) -> Arc<[Task]> {
        manifest(&self.settings.model).map(|known| known.tasks.into()).unwrap_or_default()
    }

    /// A desk that knows every mark of letters from these topics, or from all where none is named.
    fn desk(&self, sweep: &Sweep, topics: &[Arc<str>]) -> Result<Desk, Failure> {
        let mut desk = Desk::new(&self.settings, self.tasks()).only(topics);
        let marked = sweep.run(None, &mut |record| Ok(desk.mark(record)?));
        marked.map(|()| desk).map_err(broken_off)
    }

    fn list(&self, asked: &ListLetters) -> Result<(), Failure> {
        let (filter, sweep) = (self.filter(&asked.choice), self.sweep()?);
        let desk = self.desk(&sweep, &filter.topics)?;
        let (mut newest, mut foreign) = (VecDeque::new(), 0);
        let mut counts: BTreeMap<(Arc<str>, &str), BTreeMap<&str, u64>> = BTreeMap::new();
        each(&sweep, filter.since, &mut |record| match read_letter(record) {
            LetterRecord::Letter(letter) if filter.takes(&letter) => {
                let outlook = desk.outlook(&letter);
                let of_kind = counts.entry((letter.record.partition.topic.clone(), letter.reason.as_str()));
                *of_kind.or_default().entry(outlook.as_str()).or_insert(0) += 1;
                newest.push_back(listed(*letter, &outlook));
                // Partitions come one after another: order by time first, then drop, but not at every letter.
                if newest.len() > asked.limit.saturating_mul(2).saturating_add(1_000) {
                    keep_newest(&mut newest, asked.limit);
                }
            }
            LetterRecord::Letter(_) | LetterRecord::Replay(_) => {}
            LetterRecord::Foreign => foreign += 1,
        })?;
        keep_newest(&mut newest, asked.limit);
        let counts = counts.into_iter().map(|((topic, reason), now)| {
            let letters = now.values().sum();
            Counted { topic, reason, letters, now }
        });
        let list = List { letters: newest.into(), counts: counts.collect(), foreign };
        let mut output = Output::new();
        if asked.json {
            output.json(&list)?
        } else {
            tell_list(&mut output, &list)?
        }
        output.flush()
    }

    fn show(&self, asked: &ShowLetter) -> Result<(), Failure> {
        let Some(origin) = origin(&asked.id) else {
            let message = format!("`{}` names no letter", asked.id);
            return Err(Failure::usage(message, "write topic+partition+offset, as `dead-letters list` does"));
        };
        let sweep = self.sweep()?;
        let desk = self.desk(&sweep, std::slice::from_ref(&origin.topic))?;
        let mut found = None;
        each(&sweep, None, &mut |record| {
            if found.is_none()
                && let LetterRecord::Letter(letter) = read_letter(record)
                && letter.origin() == origin
            {
                found = Some(letter);
            }
        })?;
        let Some(letter) = found else {
            let topic = Topics::of(&self.settings.name).dead_letters;
            return Err(Failure::data(
                format!("{topic} has no letter {origin}"),
                "it is kept for kafka.retention: `dead-letters list` shows those that are there",
            ));
        };
        let mut output = Output::new();
        if asked.raw {
            output.bytes(letter.record.value.as_deref().unwrap_or_default())?;
        } else {
            let shown = Shown::of(&letter, &desk.outlook(&letter));
            if asked.json { output.json(&shown)? } else { shown.tell(&mut output, &letter)? }
        }
        output.flush()
    }

    fn replay(&self, asked: &ReplayLetters) -> Result<(), Failure> {
        let unavailable = |error: crate::kafka::KafkaError| Failure::of(error.into());
        let (settings, filter) = (&self.settings, self.filter(&asked.choice));
        let topics = Topics::of(&settings.name);
        let mut names: Vec<Arc<str>> = settings.sources.iter().map(|source| source.topic.clone()).collect();
        names.extend([topics.mentions, topics.scored, topics.labels]);
        let counts = partition_counts(&settings.kafka, &names, &*self.clock).map_err(unavailable)?;
        // Before anything is read: an earlier replay is over from here on, whatever became of it.
        let mut port = match asked.dry_run {
            true => None,
            false => {
                let id = format!("{}.dead-letters", settings.name);
                Some(Producer::alone(&settings.kafka, &id, self.clock.clone()).map_err(unavailable)?)
            }
        };
        let sweep = self.sweep()?;
        let mut replayer = Replayer::new(settings, self.tasks(), filter, counts);
        let mut output = Output::new();
        let mut written = Ok(());
        let mut tell = |letter: &Letter, outlook: &Outlook| {
            if asked.dry_run && !asked.json && *outlook == Outlook::Readable && written.is_ok() {
                written = output.line(format!("would send  {}  ({})", letter.origin(), letter.reason));
            }
        };
        let port = port.as_mut().map(|port| port as &mut dyn Transaction);
        let mut each = |take: &mut dyn FnMut(&Record) -> Result<(), ReplayError>| sweep.run(None, take);
        replay(&mut replayer, &mut each, port, &*self.clock, &mut tell).map_err(broken_off)?;
        written?;
        let report = Report { dry_run: asked.dry_run, counts: replayer.counts() };
        if asked.json {
            output.json(&report)?
        } else {
            output.line(report.line())?
        }
        output.flush()
    }
}

/// Hands every record of the topic over.
fn each(sweep: &Sweep, since: Option<Timestamp>, take: &mut dyn FnMut(&Record)) -> Result<(), Failure> {
    let swept = sweep.run(since, &mut |record| {
        take(record);
        Ok::<(), crate::kafka::KafkaError>(())
    });
    swept.map_err(|error| Failure::of(error.into()))
}

fn broken_off(error: ReplayError) -> Failure {
    match error {
        ReplayError::Kafka(error) => Failure::of(error.into()),
        ReplayError::Sending(_) | ReplayError::Marks(_) => Failure::unavailable(error.to_string(), ""),
    }
}

fn listed(letter: Letter, outlook: &Outlook) -> Listed {
    let Origin { topic, partition, offset } = letter.origin();
    Listed {
        id: letter.origin().to_string(),
        topic,
        partition,
        offset,
        reason: letter.reason.as_str(),
        written_at: letter.written_at(),
        bytes: letter.record.value.as_ref().map_or(0, bytes::Bytes::len),
        now: outlook.as_str(),
        stage: letter.stage,
        message: letter.message,
    }
}

fn keep_newest(letters: &mut VecDeque<Listed>, limit: usize) {
    letters.make_contiguous().sort_by_key(|letter| letter.written_at);
    let surplus = letters.len().saturating_sub(limit);
    letters.drain(..surplus);
}

fn tell_list(output: &mut Output, list: &List) -> Result<(), Failure> {
    for letter in &list.letters {
        let Listed { written_at, id, reason, now, message, .. } = letter;
        output.line(format!("{written_at}  {id}  {reason}  {now}  {}", visible(message)))?;
    }
    let total: u64 = list.counts.iter().map(|counted| counted.letters).sum();
    output.line(format!("{total} letters, {} shown", list.letters.len()))?;
    for counted in &list.counts {
        let now: Vec<String> = counted.now.iter().map(|(word, count)| format!("{count} {word}")).collect();
        output.line(format!("{:>8}  {}  {}  ({})", counted.letters, counted.topic, counted.reason, now.join(", ")))?;
    }
    if list.foreign > 0 {
        output.line(format!("{:>8}  records that are no dead letters of this version", list.foreign))?;
    }
    Ok(())
}

/// `topic+partition+offset`; names of topics have no plus sign.
fn origin(id: &str) -> Option<Origin> {
    let mut parts = id.split('+');
    let origin = Origin {
        topic: Arc::from(parts.next()?),
        partition: parts.next()?.parse().ok()?,
        offset: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(origin)
}

/// What came of a replay.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    #[serde(flatten)]
    counts: &'a BTreeMap<&'static str, u64>,
}

impl Report<'_> {
    fn line(&self) -> String {
        let count = |word: &str| self.counts.get(word).copied().unwrap_or(0);
        let sent = if self.dry_run { "would be sent" } else { "sent" };
        let left = [
            ("replayed", "sent before"),
            ("refused", "still cannot be read"),
            ("cut", "cut, and so never sent"),
            ("not_scorable", "that the model failed on (name them with --reason not_scorable)"),
            ("unread", "of topics that this pipeline does not read"),
            ("foreign", "no dead letters of this version"),
        ];
        let left = left.into_iter().filter(|(word, _)| count(word) > 0);
        let left: String = left.map(|(word, what)| format!("; {} {what}", count(word))).collect();
        format!("{} {sent}{left}", count("readable"))
    }
}
