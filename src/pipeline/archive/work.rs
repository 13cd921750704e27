//! The archive stage's work: writing one segment, again and again for a bounded time when the disk refuses.

use std::sync::Arc;
use std::time::Duration;

use crate::archive::{Published, SegmentName, Store};
use crate::event::{Challenge, Label, Reason, Sample, ScoredPost};
use crate::pipeline::archive::Challenger;
use crate::pipeline::limit::Fate;
use crate::sample::{Kept, Quota, choose};
use crate::stream::{Closed, Ends, Output, Partition, Position, Row, Weigh};
use crate::time::{Clock, Timestamp};

/// How often a segment is tried.
const ATTEMPTS: u32 = 8;

/// One record of the archive's inputs, decoded.
#[derive(Debug)]
pub struct ArchiveRow {
    /// When the record was appended.
    pub appended_at: Timestamp,
    /// The position after it.
    pub next: Position,
    /// Bytes of the record, when it is kept.
    pub bytes: usize,
    /// What it is.
    pub content: Content,
}

impl ArchiveRow {
    /// What stands in another writer's file already is not written again: what is left is where it was, and a letter
    /// that may not have been sent.
    pub(super) fn published(self) -> Self {
        match self.content {
            Content::Dead { .. } => self,
            Content::Sample(_) | Content::Candidate(_) | Content::NotKept | Content::Label(_) => {
                Self { bytes: 0, content: Content::NotKept, ..self }
            }
        }
    }
}

impl Ends for ArchiveRow {
    fn next(&self) -> Position {
        self.next
    }
}

impl Weigh for ArchiveRow {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes
    }
}

impl Fate for ArchiveRow {
    fn dead(&self) -> Option<(Reason, &str)> {
        match &self.content {
            Content::Dead { reason, message, .. } => Some((*reason, message)),
            Content::Sample(_) | Content::Candidate(_) | Content::NotKept | Content::Label(_) => None,
        }
    }
}

/// What a record of the archive's inputs is.
#[derive(Debug)]
pub enum Content {
    /// A scored post that is kept.
    Sample(Box<Sample>),
    /// A scored post of which it is decided when its segment is closed.
    Candidate(Box<ScoredPost>),
    /// A scored post that is not kept.
    NotKept,
    /// A label.
    Label(Box<Label>),
    /// A record that cannot be used.
    Dead {
        /// The dead letter.
        output: Box<Output>,
        /// Why.
        reason: Reason,
        /// Why, for a person.
        message: String,
    },
}

impl Content {
    /// The post that is kept, or may be.
    fn scored(&self) -> Option<&ScoredPost> {
        match self {
            Self::Sample(sample) => Some(&sample.scored),
            Self::Candidate(scored) => Some(scored),
            Self::NotKept | Self::Label(_) | Self::Dead { .. } => None,
        }
    }

    /// Adds what the challenger said, and what became of a candidate.
    fn settle(&mut self, challenge: Option<Challenge>, kept: Option<Kept>) {
        *self = match (std::mem::replace(self, Self::NotKept), kept) {
            (Self::Sample(sample), _) => Self::Sample(Box::new(Sample { challenge, ..*sample })),
            (Self::Candidate(scored), Some(Kept { reason, probability })) => {
                Self::Sample(Box::new(Sample { scored: *scored, challenge, reason, probability }))
            }
            (Self::Candidate(_), None) => Self::NotKept,
            (other, _) => other,
        };
    }
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// Scored posts.
    Samples,
    /// Labels.
    Labels,
}

impl Dataset {
    /// The folder and the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Labels => "labels",
        }
    }
}

/// A segment to be written.
#[derive(Debug)]
pub struct Segment {
    /// What it holds.
    pub dataset: Dataset,
    /// Its rows with their span.
    pub closed: Closed<ArchiveRow>,
    /// Whether somebody waits for it: the partition goes, or the stage ends.
    pub in_haste: bool,
}

/// What is said about a committed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveNote {
    /// A segment was published (or had been by another writer).
    Segment {
        /// `samples` or `labels`.
        dataset: &'static str,
        /// Rows kept, by reason.
        kept: Vec<(&'static str, usize)>,
        /// Bytes of the file.
        bytes: u64,
        /// Whether another writer had published it.
        taken: bool,
    },
    /// A record became a dead letter.
    Dead(Reason, String),
}

/// What became of a segment.
#[derive(Debug)]
pub enum SegmentDone {
    /// It is in the archive, whoever wrote it: what is left to do is to commit its end.
    Published(Closed<Row<ArchiveNote>>),
    /// Another writer published one that begins here and ends elsewhere: the partition begins again, and its next
    /// segment ends where that one does, so that the records behind our end are looked at before that end is committed.
    EndsElsewhere {
        /// The partition.
        partition: Partition,
        /// Where the published segment ends.
        until: Position,
    },
}

impl SegmentDone {
    /// Its partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        match self {
            Self::Published(closed) => closed.partition(),
            Self::EndsElsewhere { partition, .. } => partition,
        }
    }
}

/// Writes segments.
pub struct Worker {
    /// The archive.
    pub store: Store,
    /// For the waits between attempts.
    pub clock: Arc<dyn Clock>,
    /// Told of each failed attempt.
    pub on_failure: Box<dyn FnMut(&str) + Send>,
    /// What a mixed policy keeps.
    pub quotas: Arc<[Quota]>,
    /// Who else is asked.
    pub challenger: Challenger,
}

impl Worker {
    /// Writes a segment.
    ///
    /// # Errors
    /// The reason to halt, when it still fails after all attempts.
    pub fn write(&mut self, segment: Segment) -> Result<SegmentDone, String> {
        let segment = self.decide(segment);
        let mut wait = Duration::from_millis(250);
        for attempt in 1..=ATTEMPTS {
            match self.publish(&segment) {
                Ok(published) => return Ok(done(segment, &published)),
                Err(why) => {
                    (self.on_failure)(&why);
                    if attempt == ATTEMPTS {
                        return Err(format!("the archive could not be written after {attempt} attempts: {why}"));
                    }
                    self.clock.pause(wait);
                    wait = wait.saturating_mul(2);
                }
            }
        }
        Err("no attempt was made to write a segment".to_owned())
    }

    /// Asks the challenger, and decides of the candidates.
    fn decide(&mut self, segment: Segment) -> Segment {
        let Segment { dataset, closed, in_haste } = segment;
        let (quotas, challenger) = (&self.quotas, &mut self.challenger);
        let closed = closed.transform(|mut rows| {
            let posts: Vec<&ScoredPost> = rows.iter().filter_map(|row| row.content.scored()).collect();
            let mut challenges = if in_haste { challenger.pass(&posts) } else { challenger.ask(&posts) };
            let asked: Vec<_> = posts.into_iter().zip(challenges.iter().map(Option::as_ref)).collect();
            let mut chosen = choose(&asked, quotas).into_iter();
            let mut challenges = challenges.drain(..);
            for content in rows.iter_mut().map(|row| &mut row.content).filter(|content| content.scored().is_some()) {
                content.settle(challenges.next().flatten(), chosen.next().flatten());
            }
            rows
        });
        Segment { dataset, closed, in_haste }
    }

    fn publish(&mut self, segment: &Segment) -> Result<Published, String> {
        let closed = &segment.closed;
        let first_appended_at = closed.rows().first().map_or(Timestamp::default(), |row| row.appended_at);
        let name = SegmentName {
            topic: closed.partition().topic.clone(),
            partition: closed.partition().number,
            span: closed.span(),
            first_appended_at,
        };
        match segment.dataset {
            Dataset::Samples => {
                let rows: Vec<&Sample> = closed
                    .rows()
                    .iter()
                    .filter_map(|row| if let Content::Sample(sample) = &row.content { Some(&**sample) } else { None })
                    .collect();
                self.store.publish_samples(&name, &rows)
            }
            Dataset::Labels => {
                let rows: Vec<&Label> = closed
                    .rows()
                    .iter()
                    .filter_map(|row| if let Content::Label(label) = &row.content { Some(&**label) } else { None })
                    .collect();
                self.store.publish_labels(&name, &rows)
            }
        }
        .map_err(|error| error.to_string())
    }
}

fn done(segment: Segment, published: &Published) -> SegmentDone {
    let until = published.until;
    if until != segment.closed.span().until {
        return SegmentDone::EndsElsewhere { partition: segment.closed.partition().clone(), until };
    }
    let mut kept: Vec<(&'static str, usize)> = Vec::new();
    if !published.taken {
        for row in segment.closed.rows() {
            let reason = match &row.content {
                Content::Sample(sample) => sample.reason,
                Content::Label(_) => "label",
                Content::Candidate(_) | Content::NotKept | Content::Dead { .. } => continue,
            };
            match kept.iter_mut().find(|(name, _)| *name == reason) {
                Some((_, count)) => *count += 1,
                None => kept.push((reason, 1)),
            }
        }
    }
    let dataset = segment.dataset.as_str();
    let note = ArchiveNote::Segment { dataset, kept, bytes: published.bytes, taken: published.taken };
    SegmentDone::Published(segment.closed.transform(|rows| {
        let letters = rows.into_iter().filter_map(|row| match row.content {
            Content::Dead { output, reason, message } => {
                Some(Row { outputs: vec![*output], note: ArchiveNote::Dead(reason, message) })
            }
            Content::Sample(_) | Content::Candidate(_) | Content::NotKept | Content::Label(_) => None,
        });
        std::iter::once(Row { outputs: Vec::new(), note }).chain(letters).collect()
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use std::sync::Mutex;

    use super::*;
    use crate::archive::{Ailment, SickDisk};
    use crate::stream::{Headers, Intake, Lease, Ledger, Record};
    use crate::time::ManualClock;

    fn label(offset: i64) -> Label {
        let [post_id, task, class, annotator] = [&*format!("p{offset}"), "sentiment", "negative", "kim"].map(Arc::from);
        Label { post_id, task, label: class, annotator, at: Timestamp::from_millis(offset), note: None }
    }

    /// Labels 0 to 2 of one partition.
    fn segment() -> Segment {
        segment_of(|offset| Content::Label(Box::new(label(offset))))
    }

    fn segment_of(content: impl Fn(i64) -> Content) -> Segment {
        let partition = Partition::new(&Arc::from("labels"), 0);
        let lease = Lease::grant(partition.clone());
        let (mut intake, mut ledger) = (Intake::default(), Ledger::default());
        intake.assign(lease.clone(), Position::at(0));
        ledger.assign(lease.clone(), Position::at(0));
        let record = |offset| Record {
            partition: partition.clone(),
            offset,
            appended_at: Timestamp::from_millis(offset),
            key: None,
            value: None,
            headers: Headers::new(),
        };
        let rows = intake.take(&lease, (0..3).map(record).collect()).unwrap().live.map(|record| ArchiveRow {
            appended_at: record.appended_at,
            next: record.next(),
            bytes: 0,
            content: content(record.offset),
        });
        ledger.add(rows).unwrap();
        Segment { dataset: Dataset::Labels, closed: ledger.close_part(&partition).unwrap(), in_haste: false }
    }

    fn worker(disk: &SickDisk, clock: &Arc<ManualClock>, on_failure: Box<dyn FnMut(&str) + Send>) -> Worker {
        let challenger = Challenger::nobody(clock.clone());
        Worker { store: disk.store(), clock: clock.clone(), on_failure, quotas: Arc::default(), challenger }
    }

    /// What writing on such a disk gives, how long it waited, and what was told of it.
    fn write(disk: &SickDisk) -> (Result<SegmentDone, String>, Duration, Vec<String>) {
        let (clock, told) = (Arc::new(ManualClock::default()), Arc::new(Mutex::new(Vec::new())));
        let ear = told.clone();
        let on_failure = Box::new(move |why: &str| ear.lock().unwrap().push(why.to_owned()));
        let done = worker(disk, &clock, on_failure).write(segment());
        let told = told.lock().unwrap().clone();
        (done, clock.monotonic(), told)
    }

    #[test]
    fn a_segment_is_tried_eight_times_in_half_a_minute_and_written_when_there_is_room_again() {
        for failures in [0, 1, 7] {
            let disk = SickDisk::default();
            (0..failures).for_each(|_| disk.ail(Ailment::Full));
            let (done, waited, told) = write(&disk);
            let SegmentDone::Published(closed) = done.unwrap() else { panic!("it is another's") };
            let notes: Vec<&ArchiveNote> = closed.rows().iter().map(|row| &row.note).collect();
            let [ArchiveNote::Segment { dataset, kept, taken, .. }] = notes[..] else { panic!("{notes:?}") };
            assert_eq!((*dataset, &kept[..], *taken), ("labels", &[("label", 3)][..], false));
            assert_eq!(told.len(), failures);
            assert!(told.iter().all(|why| why.contains("no space is left")), "{told:?}");
            assert_eq!(waited, Duration::from_millis(250) * ((1 << failures) - 1), "each wait is twice the last");
            let rows = &disk.segments()[0].rows;
            assert_eq!(rows.iter().map(|row| &*row["post_id"]).collect::<Vec<_>>(), ["p0", "p1", "p2"]);
        }
    }

    #[test]
    fn a_disk_that_stays_full_is_a_reason_to_halt_and_nothing_stands_under_a_final_name() {
        for ailment in [Ailment::Full, Ailment::Torn] {
            let disk = SickDisk::default();
            (0..ATTEMPTS).for_each(|_| disk.ail(ailment));
            let (done, waited, told) = write(&disk);
            let why = done.unwrap_err();
            assert!(why.starts_with("the archive could not be written after 8 attempts: "), "{why}");
            assert!(why.contains("no space is left"), "{why}");
            assert_eq!((told.len(), disk.segments()), (8, Vec::new()));
            assert_eq!(waited, Duration::from_millis(31_750));
            let (again, ..) = write(&disk);
            assert!(matches!(again.unwrap(), SegmentDone::Published(_)), "there is room again");
        }
    }

    #[test]
    fn a_segment_that_was_written_though_the_disk_said_no_is_found_by_the_next_attempt() {
        let disk = SickDisk::default();
        // It is written aside; then its name is given, and an error with it.
        disk.ail(Ailment::Well);
        disk.ail(Ailment::Unsaid);
        let (done, _, told) = write(&disk);
        assert!(matches!(done.unwrap(), SegmentDone::Published(_)));
        assert_eq!(told.len(), 1);
        let segments = disk.segments();
        assert_eq!(
            segments.iter().map(|segment| (segment.span.clone(), segment.rows.len())).collect::<Vec<_>>(),
            [(0..3, 3)]
        );
    }
    #[test]
    fn labels_that_are_dead_become_letters_though_another_writer_published_the_segment() {
        let (disk, clock) = (SickDisk::default(), Arc::new(ManualClock::default()));
        let mut worker = worker(&disk, &clock, Box::new(|_| {}));
        let with_a_dead_one = || {
            segment_of(|offset| {
                if offset != 1 {
                    return Content::Label(Box::new(label(offset)));
                }
                let (topic, value) = (Arc::from("letters"), Some(bytes::Bytes::from_static(b"no label")));
                let letter = Output { topic, partition: 0, key: None, value, headers: Headers::new() };
                Content::Dead { output: Box::new(letter), reason: Reason::Malformed, message: "no label".to_owned() }
            })
        };
        for taken in [false, true] {
            let SegmentDone::Published(closed) = worker.write(with_a_dead_one()).unwrap() else { panic!("published") };
            let note = &closed.rows()[0].note;
            assert!(matches!(note, ArchiveNote::Segment { taken: it, .. } if *it == taken), "{note:?}");
            let letters: Vec<_> = closed.rows().iter().flat_map(|row| &row.outputs).collect();
            assert_eq!(letters.len(), 1, "the first writer may have died before it committed its own");
        }
    }
    #[test]
    fn a_post_that_is_kept_has_the_challengers_answer_whoever_decided_about_it() {
        let example = include_str!("../../../schemas/examples/scored/v1/negative.json");
        let scored: ScoredPost = serde_json::from_str(example).unwrap();
        let answer =
            Challenge { version: Arc::from("9"), sentiment: scored.sentiment.clone(), topic: scored.topic.clone() };
        let sample = Sample { scored: scored.clone(), challenge: None, reason: "all", probability: 1.0 };
        let kept = Some(Kept { reason: "random", probability: 0.5 });
        for (mut content, kept) in
            [(Content::Sample(Box::new(sample)), None), (Content::Candidate(Box::new(scored)), kept)]
        {
            content.settle(Some(answer.clone()), kept);
            let Content::Sample(sample) = content else { panic!("{content:?}") };
            assert_eq!(sample.challenge.as_ref(), Some(&answer));
        }
    }
}
