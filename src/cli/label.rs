//! `bellwether label`: people's answers, asked for in the terminal or taken from a file, to the pipeline's topic of labels.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::sync::Arc;

use console::{Key, Style, Term};

use crate::archive::Shelf;
use crate::cli::args::{Global, LabelPosts};
use crate::cli::label_files::{export, import};
use crate::cli::{Failure, Output, load};
use crate::codec::{Envelope, Payload};
use crate::config;
use crate::event::Label;
use crate::kafka::PlainProducer;
use crate::model::Task;
use crate::onnx::manifest;
use crate::pipeline::{Settings, Topics};
use crate::retrain::{Candidate, LABELLED_MAX, Labels, worth_a_label};
use crate::time::{Clock as _, SystemClock};

/// Answers that can be taken back: they are sent when others follow, or at the end.
const UNDO_MAX: usize = 20;
/// Keys of the classes, in their order; `s`, `u` and `q` mean other things.
const KEYS: &str = "1234567890abcdefghijklmnoprtvwxyz";

/// Runs the command.
///
/// # Errors
/// With 64 for a task that the model does not have, with 65 at a bad line, with 69 when archive, model or Kafka are away.
pub(crate) fn run(arguments: &LabelPosts, global: &Global) -> Result<(), Failure> {
    let settings = load(&arguments.file, global)?.settings;
    let tasks = manifest(&settings.model).map_err(|error| Failure::unavailable(error.to_string(), ""))?.tasks;
    let annotator = arguments.annotator.clone().or_else(config::user).unwrap_or_else(|| "unknown".to_owned());
    // A file is read to its end before anything is sent: a mistake in it sends nothing.
    let tool = arguments.tool.map(|tool| tool.0);
    if let Some(path) = &arguments.export {
        let Some(tool) = tool else {
            return Err(Failure::usage(
                "nobody is named who reads the file",
                "add --tool label-studio or --tool argilla",
            ));
        };
        return export(arguments, (path, tool), &settings, &tasks);
    }
    if tool.is_some() && arguments.import.is_none() {
        return Err(Failure::usage("--tool says who reads or wrote a file", "add --import FILE or --export FILE"));
    }
    let who = (annotator.as_str(), SystemClock::new().now());
    let given = arguments.import.as_deref().map(|path| import(path, tool, &tasks, who)).transpose()?;
    let mut desk = Desk::open(&settings, &annotator)?;
    // Whatever ends it, what was given by then is sent.
    let done = match given {
        Some(labels) => labels.iter().try_for_each(|label| desk.send(label)),
        None => ask(arguments, &settings, &tasks, &mut desk),
    };
    let sent = desk.finish()?;
    if sent > 0 || done.is_ok() {
        say(sent, &settings)?;
    }
    done
}

fn say(sent: u64, settings: &Settings) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(format!("acknowledged: {sent} labels on {}", Topics::of(&settings.name).labels))?;
    output.flush()
}

/// Where answers go.
struct Desk {
    clock: SystemClock,
    producer: PlainProducer,
    envelope: Envelope,
    annotator: Arc<str>,
}

impl Desk {
    fn open(settings: &Settings, annotator: &str) -> Result<Self, Failure> {
        let clock = SystemClock::new();
        let topic = Topics::of(&settings.name).labels;
        let producer =
            PlainProducer::start(&settings.kafka, &topic, &clock).map_err(|error| Failure::of(error.into()))?;
        let envelope = Envelope { source: Arc::from(format!("bellwether/{}", settings.name)) };
        Ok(Self { clock, producer, envelope, annotator: Arc::from(annotator) })
    }

    fn send(&mut self, label: &Label) -> Result<(), Failure> {
        let Payload { key, value, headers } = self.envelope.label(label);
        let sent = self.producer.send_with(key.as_deref(), &value.unwrap_or_default(), &headers);
        sent.map_err(|error| Failure::of(error.into()))
    }

    fn finish(self) -> Result<u64, Failure> {
        self.producer.finish().map_err(|error| Failure::of(error.into()))
    }
}

/// Shows one sample after the other and takes a key for each.
fn ask(arguments: &LabelPosts, settings: &Settings, tasks: &[Task], desk: &mut Desk) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask in", "take labels from a file with --import FILE"));
    }
    let (task, waiting) = hardest(arguments, settings, tasks)?;
    Session { term: Term::stdout(), task, waiting: &waiting, given: VecDeque::new(), place: 0 }.run(desk)
}

/// The samples most worth a label of the task that is asked for; there is one at least.
///
/// # Errors
/// With 64 for a task that the model does not have, with 65 without a sample, with 69 when the archive cannot be read.
pub(super) fn hardest<'a>(
    arguments: &LabelPosts,
    settings: &Settings,
    tasks: &'a [Task],
) -> Result<(&'a Task, Vec<Candidate>), Failure> {
    let task = tasks.iter().find(|task| task.name == arguments.task).ok_or_else(|| {
        let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        Failure::usage(
            format!("the model has no task `{}`", arguments.task),
            format!("use --task {}", known.join(" or ")),
        )
    })?;
    let archive = |error: crate::archive::ArchiveError| Failure::unavailable(error.to_string(), "");
    let shelf = Shelf::open(&settings.archive).map_err(archive)?;
    let mut labels = Labels::of_posts(LABELLED_MAX, 0);
    shelf.each_label(|label| labels.take(label, tasks)).map_err(archive)?;
    let waiting =
        worth_a_label(&shelf, &labels, &task.name, arguments.count, settings.index.near_copy).map_err(archive)?;
    if waiting.is_empty() {
        return Err(Failure::data(
            format!("the archive has no sample without a {} label", task.name),
            "run the pipeline longer, or keep more samples ([sample] in the pipeline file)",
        ));
    }
    Ok((task, waiting))
}

/// One person in front of a terminal.
struct Session<'a> {
    term: Term,
    task: &'a Task,
    waiting: &'a [Candidate],
    /// Answers that can be taken back, with the place of their sample; the oldest first.
    given: VecDeque<(usize, Label)>,
    place: usize,
}

impl Session<'_> {
    /// Asks until the person ends it, or the terminal does; what can still be taken back then is sent either way.
    fn run(mut self, desk: &mut Desk) -> Result<(), Failure> {
        let asked = self.ask(desk);
        let sent = self.given.iter().try_for_each(|(_, label)| desk.send(label));
        asked.and(sent)
    }

    fn ask(&mut self, desk: &mut Desk) -> Result<(), Failure> {
        loop {
            let candidate = self.waiting.get(self.place);
            match candidate {
                Some(candidate) => self.show(candidate).map_err(lost)?,
                None => self.term.write_line("\nthat was the last one   |   u undo   q quit").map_err(lost)?,
            }
            // Raw, for else ^C would be a signal, and end this before anything is sent.
            match self.term.read_key_raw().map_err(lost)? {
                Key::Char('q') | Key::Escape => return Ok(()),
                Key::Char('s') => self.place = (self.place + 1).min(self.waiting.len()),
                Key::Char('u') | Key::Backspace => {
                    if let Some((place, _)) = self.given.pop_back() {
                        self.place = place;
                    }
                }
                Key::Char(key) => {
                    let class = KEYS.chars().zip(&self.task.labels).find(|(known, _)| *known == key);
                    if let (Some(candidate), Some((_, class))) = (candidate, class) {
                        self.give(candidate, class, desk)?;
                    }
                }
                // Nobody is there any more.
                Key::CtrlC | Key::Unknown => return Ok(()),
                _ => {}
            }
        }
    }

    fn give(&mut self, candidate: &Candidate, class: &str, desk: &mut Desk) -> Result<(), Failure> {
        let label = Label {
            post_id: candidate.post.post_id.clone(),
            task: Arc::from(self.task.name.as_str()),
            label: Arc::from(class),
            annotator: desk.annotator.clone(),
            at: desk.clock.now(),
            note: None,
        };
        self.given.push_back((self.place, label));
        self.place += 1;
        match self.given.len() > UNDO_MAX {
            true => self.given.pop_front().map_or(Ok(()), |(_, oldest)| desk.send(&oldest)),
            false => Ok(()),
        }
    }

    fn show(&self, candidate: &Candidate) -> std::io::Result<()> {
        let (bold, dim) = (Style::new().bold(), Style::new().dim());
        let post = &candidate.post;
        let (place, count) = (self.place + 1, self.waiting.len());
        self.term.write_line("")?;
        let head = format!("{place} of {count}  {}  {}  {}", post.published_at, post.source, post.post_id);
        self.term.write_line(&dim.apply_to(head).to_string())?;
        self.term.write_line(&bold.apply_to(printable(&post.text)).to_string())?;
        let guesses = candidate.guesses(&self.task.name);
        let guesses = guesses.iter().take(3).map(|(label, probability)| format!("{label} {probability:.2}"));
        let guesses = guesses.collect::<Vec<_>>().join(", ");
        self.term.write_line(&dim.apply_to(format!("the model: {guesses}")).to_string())?;
        let classes = KEYS.chars().zip(&self.task.labels).map(|(key, class)| format!("{key} {class}"));
        let classes = classes.collect::<Vec<_>>().join("   ");
        self.term.write_line(&format!("{classes}   |   s skip   u undo   q quit"))
    }
}

/// Text of a stranger, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn lost(error: std::io::Error) -> Failure {
    Failure::internal(format!("the terminal cannot be used: {error}"))
}
