//! What flows through bellwether: posts, verdicts, mentions, indices, alerts, samples and labels.
//!
//! These types are the vocabulary of every room and, through serde, the JSON form of every record (`schemas/` holds
//! the contracts). They hold no rules: what a post means for an index is decided in `window` and `rule`.

mod alert;
mod dead_letter;
mod finite;
mod index;
mod label;
mod mention;
mod origin;
mod post;
mod replay;
mod sample;
mod scored;
mod shared;
mod subject;
mod verdict;

pub use alert::{Alert, AlertState, Evidence, Severity};
pub use dead_letter::{DeadLetter, Reason};
pub use index::Index;
pub use label::Label;
pub use mention::{Mention, MentionRecord, Retraction, Sketch, Tick};
pub use origin::Origin;
pub use post::{Action, Post};
pub use replay::Replay;
pub use sample::{Challenge, Sample};
pub use scored::{AnswerRecord, ModelId, ScoredPost, TopicRecord, rounded};
pub use subject::{InvalidSubject, Subject, SubjectLink};
pub use verdict::{Abstention, Answer, Verdict};
