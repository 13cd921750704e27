//! What a record of the archive's inputs is: a scored post, a label, or of no use.

use std::sync::Arc;

use crate::codec::{decode_label, decode_scored};
use crate::event::{DeadLetter, Label, Reason, Sample};
use crate::model::{Task, objection};
use crate::pipeline::archive::{ArchiveRow, Content};
use crate::pipeline::score::Routes;
use crate::sample::{Choice, Kept, Policy};
use crate::stream::Record;

/// Reads records.
#[derive(Debug)]
pub(super) struct Reader {
    /// What a label may answer; anything where it is empty.
    pub(super) tasks: Arc<[Task]>,
    /// What is kept.
    pub(super) policy: Policy,
    /// Where dead letters go, and which topic has the labels.
    pub(super) routes: Routes,
}

impl Reader {
    /// What a record becomes.
    pub(super) fn row(&self, record: &Record) -> ArchiveRow {
        let content = if record.partition.topic == self.routes.topics.labels {
            match decode_label(record) {
                Ok(label) => match objection(&self.tasks, &label.task, &label.label) {
                    // As with posts, nothing is answered after it was appended: no later answer could correct it.
                    None => Ok(Content::Label(Box::new(Label { at: label.at.min(record.appended_at), ..label }))),
                    Some(message) => {
                        let (record, reason) = (record.clone(), Reason::InvalidField);
                        Err(DeadLetter { record, stage: "archive", reason, message })
                    }
                },
                Err(letter) => Err(letter),
            }
        } else {
            decode_scored(record).map(|scored| match self.policy.decide(&scored.post_id) {
                Choice::Keep(Kept { reason, probability }) => {
                    Content::Sample(Box::new(Sample { scored, challenge: None, reason, probability }))
                }
                Choice::Leave => Content::NotKept,
                Choice::Later => Content::Candidate(Box::new(scored)),
            })
        };
        let bytes = if matches!(content, Ok(Content::NotKept)) { 0 } else { record.size() };
        let content = content.unwrap_or_else(|letter| Content::Dead {
            output: Box::new(self.routes.dead_letter(&letter)),
            reason: letter.reason,
            message: letter.message,
        });
        ArchiveRow { appended_at: record.appended_at, next: record.next(), bytes, content }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]
    use bytes::Bytes;

    use super::*;
    use crate::codec::Envelope;
    use crate::pipeline::Topics;
    use crate::stream::{Headers, Partition};
    use crate::time::Timestamp;

    #[test]
    fn a_label_that_is_dated_after_it_was_appended_can_be_corrected_by_the_next() {
        let topics = Topics::of("test");
        let partition = Partition::new(&topics.labels, 0);
        let envelope = Envelope { source: Arc::from("bellwether/test") };
        let routes = Routes { topics, envelope, scored: 1, mentions: 1, dead_letters: 1, value_bytes_max: 1 << 20 };
        let reader = Reader { tasks: Arc::from([]), policy: Policy::All, routes };
        let read = |year: u32, appended_at: i64| {
            let label = format!(
                r#"{{"post_id": "p", "task": "sentiment", "label": "neutral", "annotator": "kim", "at": "{year}-03-02T13:30:00Z"}}"#
            );
            let value = Some(Bytes::from(label));
            let appended_at = Timestamp::from_millis(appended_at);
            let partition = partition.clone();
            let row =
                reader.row(&Record { partition, offset: 0, appended_at, key: None, value, headers: Headers::new() });
            let Content::Label(label) = row.content else { panic!("a label") };
            label.at
        };
        let (came, later) = (1_772_800_000_000, 1_772_900_000_000);
        assert_eq!(read(2_026, came).to_string(), "2026-03-02T13:30:00Z", "what lies before it stays");
        assert_eq!(read(2_099, came), Timestamp::from_millis(came));
        assert!(read(2_099, came) < read(2_099, later), "the later one is the one that counts");
    }
}
