//! What a record of the archive's inputs is: a scored post, a label, or of no use.

use std::sync::Arc;

use crate::codec::{decode_label, decode_scored};
use crate::event::{DeadLetter, Label, Reason, Sample};
use crate::model::Task;
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
                Ok(label) => match self.objection(&label) {
                    None => Ok(Content::Label(Box::new(label))),
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

    /// Why a label is of no use: there is no such task, or the task has no such class.
    fn objection(&self, label: &Label) -> Option<String> {
        match self.tasks.iter().find(|task| task.name == *label.task) {
            _ if self.tasks.is_empty() => None,
            Some(task) if task.resolve(&label.label).is_some() => None,
            Some(task) => {
                Some(format!("{} has no class {:?}; it has {}", task.name, label.label, task.labels.join(", ")))
            }
            None => {
                let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
                Some(format!("there is no task {:?}; there are {}", label.task, names.join(", ")))
            }
        }
    }
}
