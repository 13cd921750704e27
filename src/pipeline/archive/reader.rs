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
            decode_label(record)
                .and_then(|label| self.known(record, label))
                .map(|label| Content::Label(Box::new(label)))
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

    /// A label of a task and a class that there are.
    fn known(&self, record: &Record, label: Label) -> Result<Label, DeadLetter> {
        let tasks = &self.tasks;
        let message = match tasks.iter().find(|task| task.name == *label.task) {
            _ if tasks.is_empty() => return Ok(label),
            Some(task) if task.resolve(&label.label).is_some() => return Ok(label),
            Some(task) => format!("{} has no class {:?}; it has {}", task.name, label.label, task.labels.join(", ")),
            None => {
                let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
                format!("there is no task {:?}; there are {}", label.task, names.join(", "))
            }
        };
        Err(DeadLetter { record: record.clone(), stage: "archive", reason: Reason::InvalidField, message })
    }
}
