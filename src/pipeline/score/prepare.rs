//! The first half of scoring a pool: decode, clean, find the language, link, tokenise. Pure, one post after the other.

use std::sync::Arc;

use crate::clean;
use crate::codec::{SourceSettings, decode_post};
use crate::entity::{Linked, Linker};
use crate::event::{Abstention, Action, DeadLetter, Post, Reason, SubjectLink};
use crate::model::{Encoded, Scorer, Slot, question};
use crate::stream::{Batch, Record};

/// A record on its way to a verdict.
#[derive(Debug)]
pub enum Draft {
    /// To be scored.
    Post(Box<DraftPost>),
    /// It cannot be used.
    Dead(Box<DeadLetter>),
}

/// A post on its way to a verdict.
#[derive(Debug)]
pub struct DraftPost {
    pub(in crate::pipeline) record: Record,
    pub(in crate::pipeline) post: Post,
    pub(in crate::pipeline) text: String,
    pub(in crate::pipeline) lang: Option<&'static str>,
    pub(in crate::pipeline) links: Vec<SubjectLink>,
    /// Symbols and instruments that were left out because there were too many.
    pub(in crate::pipeline) dropped: usize,
    /// What the model is asked, or why it is not.
    pub(in crate::pipeline) question: Result<Encoded, Abstention>,
}

/// A pool, ready for the model that it was tokenised for.
pub struct Prepared {
    /// The one model that scores this pool.
    pub scorer: Arc<dyn Scorer>,
    /// The drafts with their progress.
    pub batch: Batch<Draft>,
}

/// What preparing needs.
#[derive(Clone)]
pub struct Preparer {
    /// The inputs.
    pub sources: Arc<[SourceSettings]>,
    /// The instruments.
    pub linker: Arc<Linker>,
    /// The model.
    pub slot: Arc<Slot>,
    /// A record with a larger value is a dead letter.
    pub value_bytes_max: usize,
}

impl Preparer {
    /// Prepares a pool.
    #[must_use]
    pub fn prepare(&self, pool: Batch<Record>) -> Prepared {
        let scorer = self.slot.get();
        let batch = pool.map(|record| self.draft(record, &*scorer));
        Prepared { scorer, batch }
    }

    pub(in crate::pipeline) fn draft(&self, record: Record, scorer: &dyn Scorer) -> Draft {
        let post = match read_post(&record, &self.sources, self.value_bytes_max) {
            Ok(post) => post,
            Err(letter) => return Draft::Dead(letter),
        };
        let text = clean::clean(&post.text);
        let linked =
            if post.action == Action::Deleted { Linked::default() } else { self.linker.link(&text, &post.symbols) };
        let dropped = post.symbols_dropped + linked.dropped;
        let lang = clean::language(&text);
        let asked = if post.action == Action::Deleted { Ok(Err(Abstention::Deleted)) } else { question(&text, scorer) };
        let question = match asked {
            Ok(question) => question,
            Err(failure) => return dead(record, Reason::NotScorable, failure.to_string()),
        };
        Draft::Post(Box::new(DraftPost { record, post, text, lang, links: linked.links, dropped, question }))
    }
}

/// The post in a record of an input.
///
/// # Errors
/// The dead letter that it becomes: no source reads its topic, it is too large, or it cannot be decoded.
pub fn read_post(record: &Record, sources: &[SourceSettings], value_bytes_max: usize) -> Result<Post, Box<DeadLetter>> {
    let refused =
        |reason, message| Err(Box::new(DeadLetter { record: record.clone(), stage: "score", reason, message }));
    let Some(source) = sources.iter().find(|source| source.topic == record.partition.topic) else {
        return refused(Reason::InvalidField, "no source of the pipeline reads this topic".to_owned());
    };
    let bytes = record.value.as_ref().map_or(0, bytes::Bytes::len);
    if bytes > value_bytes_max {
        let message = format!("the value has {bytes} bytes, kafka.record_bytes_max is {value_bytes_max}");
        return refused(Reason::TooLarge, message);
    }
    decode_post(record, source).map_err(Box::new)
}

fn dead(record: Record, reason: Reason, message: String) -> Draft {
    Draft::Dead(Box::new(DeadLetter { record, stage: "score", reason, message }))
}
