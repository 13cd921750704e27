//! What one post becomes on the log: a scored record, mentions, retractions, or a dead letter; and where each goes.

use std::sync::Arc;
use std::time::Duration;

use crate::clean;
use crate::codec::{Envelope, Payload};
use crate::event::{
    Action, AnswerRecord, DeadLetter, Mention, MentionRecord, ModelId, Post, Retraction, ScoredPost, Subject,
    SubjectLink, TopicRecord, Verdict,
};
use crate::pipeline::Topics;
use crate::stream::{Output, partition_for};
use crate::time::Timestamp;

/// The topics of a pipeline with their partition counts, and the envelope of their records.
#[derive(Debug, Clone)]
pub struct Routes {
    /// The topics.
    pub topics: Topics,
    /// The envelope.
    pub envelope: Envelope,
    /// Partitions of the scored topic.
    pub scored: i32,
    /// Partitions of mentions, index and alerts.
    pub mentions: i32,
    /// Partitions of the dead letters.
    pub dead_letters: i32,
    /// A dead letter's value is cut beyond this many bytes.
    pub value_bytes_max: usize,
}

/// A post with everything that was found out about it.
pub(in crate::pipeline) struct Finding<'a> {
    pub(in crate::pipeline) post: &'a Post,
    pub(in crate::pipeline) text: &'a str,
    pub(in crate::pipeline) lang: Option<&'static str>,
    pub(in crate::pipeline) links: &'a [SubjectLink],
    pub(in crate::pipeline) verdict: &'a Verdict,
    pub(in crate::pipeline) model: &'a ModelId,
    pub(in crate::pipeline) scored_at: Timestamp,
}

impl Routes {
    fn keyed(&self, payload: Payload, topic: &Arc<str>, count: i32) -> Output {
        let partition = payload.key.as_ref().map_or(0, |key| partition_for(key, count));
        payload.to(topic, partition)
    }

    /// The same record to every partition of mentions.
    #[must_use]
    pub fn to_every_mentions_partition(&self, record: &MentionRecord, at: Timestamp) -> Vec<Output> {
        let payload = self.envelope.mention(record, at, None);
        (0..self.mentions.max(1)).map(|number| payload.clone().to(&self.topics.mentions, number)).collect()
    }

    /// A dead letter; the key of the record decides its partition, else its origin.
    #[must_use]
    pub fn dead_letter(&self, letter: &DeadLetter) -> Output {
        let payload = self.envelope.dead_letter(letter, self.value_bytes_max);
        let record = &letter.record;
        let place = format!("{}+{}", record.partition, record.offset);
        let key = payload.key.clone();
        let partition = partition_for(key.as_deref().unwrap_or(place.as_bytes()), self.dead_letters);
        payload.to(&self.topics.dead_letters, partition)
    }

    /// Everything that a scored post causes.
    pub(in crate::pipeline) fn scored(&self, finding: &Finding<'_>) -> (ScoredPost, Vec<Output>) {
        let post = finding.post;
        let mut links = finding.links.to_vec();
        if post.action != Action::Deleted {
            if let Some(label) = finding.verdict.topic.label() {
                links.push(SubjectLink { subject: Subject::topic(label), relevance: 1.0 });
            }
            links.push(SubjectLink { subject: Subject::market(), relevance: 1.0 });
        }
        let trace = post.traceparent.as_deref();
        let scored = scored_post(finding, links);
        let payload = self.envelope.scored(&scored, trace);
        let mut outputs = vec![self.keyed(payload, &self.topics.scored, self.scored)];
        outputs.extend(self.retractions(post, finding.scored_at));
        let excerpt: Arc<str> = Arc::from(clean::excerpt(finding.text));
        let sketch = clean::sketch(finding.text);
        for link in &scored.subjects {
            let mention = Mention {
                id: post.origin.id_for(&link.subject),
                post_id: post.id.clone(),
                revision: post.revision,
                subject: link.subject.clone(),
                score: finding.verdict.score(),
                label: finding.verdict.sentiment.label().cloned(),
                confidence: finding.verdict.sentiment.confidence(),
                relevance: link.relevance,
                published_at: post.published_at,
                source: post.source.clone(),
                kind: post.kind.clone(),
                excerpt: excerpt.clone(),
                url: post.url.as_deref().map(Arc::from),
                sketch,
                origin: post.origin.clone(),
                traceparent: None,
            };
            let payload = self.envelope.mention(&MentionRecord::Mention(mention), finding.scored_at, trace);
            outputs.push(self.keyed(payload, &self.topics.mentions, self.mentions));
        }
        (scored, outputs)
    }

    fn retractions(&self, post: &Post, at: Timestamp) -> Vec<Output> {
        let before = match post.action {
            Action::Created => return Vec::new(),
            Action::Updated => post.revision,
            Action::Deleted => post.revision.plus(Duration::from_micros(1)),
        };
        let mut outputs = Vec::new();
        for number in 0..self.mentions.max(1) {
            let retraction = Retraction {
                id: post.origin.id_for(format_args!("retraction-{number}")),
                post_id: post.id.clone(),
                before,
                origin: post.origin.clone(),
            };
            let payload = self.envelope.mention(&MentionRecord::Retraction(retraction), at, None);
            outputs.push(payload.to(&self.topics.mentions, number));
        }
        outputs
    }
}

fn scored_post(finding: &Finding<'_>, subjects: Vec<SubjectLink>) -> ScoredPost {
    let post = finding.post;
    ScoredPost {
        id: post.origin.to_string(),
        post_id: post.id.clone(),
        revision: post.revision,
        action: post.action,
        published_at: post.published_at,
        appended_at: post.appended_at,
        scored_at: finding.scored_at,
        text: finding.text.to_owned(),
        original_text: (post.text != finding.text).then(|| post.text.clone()),
        truncated: post.truncated,
        lang: finding.lang.map(str::to_owned),
        declared_lang: post.lang.clone(),
        source: post.source.clone(),
        kind: post.kind.clone(),
        author: post.author.clone(),
        url: post.url.clone(),
        sentiment: AnswerRecord::from(&finding.verdict.sentiment),
        topic: TopicRecord::from(&finding.verdict.topic),
        subjects,
        model: finding.model.clone(),
        origin: post.origin.clone(),
    }
}
