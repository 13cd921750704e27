//! Records a second and core of each pure step, so that the next bottleneck is seen.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::clean;
use crate::cli::bench::say;
use crate::codec::{Envelope, decode_post};
use crate::entity::{Instruments, Linker};
use crate::event::{Abstention, Mention, MentionRecord, ModelId, Origin, Post, ScoredPost, Subject, Verdict};
use crate::event::{AnswerRecord, TopicRecord};
use crate::model::Scorer;
use crate::pipeline::signal::{PartitionState, SignalSettings};
use crate::pipeline::{PlayRecord, Settings};
use crate::stream::{Headers, Partition, Record};
use crate::time::{Clock, Timestamp};

/// A step is repeated until it took this long.
const LONG_ENOUGH: Duration = Duration::from_millis(400);

fn record(record: &PlayRecord, offset: i64) -> Record {
    Record {
        partition: Partition::new(&record.topic, 0),
        offset,
        appended_at: record.at.unwrap_or_default(),
        key: record.key.clone(),
        value: Some(record.value.clone()),
        headers: Headers::new(),
    }
}

/// The post of a record, when it is one.
pub(super) fn post(settings: &Settings, played: &PlayRecord) -> Option<Post> {
    let source = settings.sources.iter().find(|source| source.topic == played.topic)?;
    decode_post(&record(played, 0), source).ok()
}

/// Measures each step over all posts, on one core.
pub(super) fn steps(settings: &Settings, played: &[PlayRecord], scorer: &dyn Scorer, clock: &dyn Clock) -> Result<()> {
    let records: Vec<Record> = played.iter().zip(0..).map(|(played, offset)| record(played, offset)).collect();
    let posts: Vec<Post> = played.iter().filter_map(|played| post(settings, played)).collect();
    let texts: Vec<String> = posts.iter().map(|post| clean::clean(&post.text)).collect();
    let csv = settings.instruments.as_ref().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
    let instruments =
        if csv.is_empty() { Instruments::default() } else { Instruments::parse(&csv).unwrap_or_default() };
    let linker = Linker::new(&instruments);
    let envelope = Envelope { source: Arc::from("bellwether/bench") };
    let scored: Vec<ScoredPost> =
        posts.iter().zip(&texts).map(|(post, text)| scored(post, text, scorer.id())).collect();
    let mentions: Vec<Mention> = posts.iter().zip(&texts).map(|(post, text)| mention(post, text)).collect();
    let source_of = |record: &Record| settings.sources.iter().find(|source| source.topic == record.partition.topic);

    say("each step, records a second and core")?;
    let timed = |name: &str, count: usize, work: &mut dyn FnMut()| -> Result<()> {
        let began = clock.monotonic();
        let mut rounds = 0;
        while clock.monotonic().saturating_sub(began) < LONG_ENOUGH {
            work();
            rounds += count;
        }
        let took = clock.monotonic().saturating_sub(began).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a number of records")]
        let rate = rounds as f64 / took;
        say(&format!("  {name:<34}  {rate:>10.0}"))
    };
    timed("decode", records.len(), &mut || {
        for record in &records {
            drop(black_box(source_of(record).and_then(|source| decode_post(record, source).ok())));
        }
    })?;
    timed("clean", posts.len(), &mut || posts.iter().for_each(|post| drop(black_box(clean::clean(&post.text)))))?;
    timed("language", texts.len(), &mut || {
        for text in &texts {
            black_box(clean::foreign(text, scorer.languages()));
        }
    })?;
    timed("link", texts.len(), &mut || {
        for (text, post) in texts.iter().zip(&posts) {
            drop(black_box(linker.link(text, &post.symbols)));
        }
    })?;
    timed("tokenise", texts.len(), &mut || texts.iter().for_each(|text| drop(black_box(scorer.encode(text)))))?;
    timed("sketch", texts.len(), &mut || {
        for text in &texts {
            black_box(clean::sketch(text));
        }
    })?;
    timed("encode (scored and one mention)", scored.len(), &mut || {
        for (post, mention) in scored.iter().zip(&mentions) {
            drop(black_box(envelope.scored(post, None)));
            drop(black_box(envelope.mention(&MentionRecord::Mention(mention.clone()), post.scored_at, None)));
        }
    })?;
    timed("index (fold a mention, all rules)", mentions.len(), &mut || {
        let mut state = PartitionState::new(Arc::new(SignalSettings::of(settings)));
        for (mention, offset) in mentions.iter().zip(0..) {
            let (record, place) =
                (MentionRecord::Mention(mention.clone()), Origin { offset, ..mention.origin.clone() });
            drop(black_box(state.fold(record, &place, mention.published_at, true)));
        }
    })
}

fn scored(post: &Post, text: &str, model: &ModelId) -> ScoredPost {
    let verdict = Verdict::unasked(Abstention::NotAnswered);
    ScoredPost {
        id: post.origin.to_string(),
        post_id: post.id.clone(),
        revision: post.revision,
        action: post.action,
        published_at: post.published_at,
        appended_at: post.appended_at,
        scored_at: Timestamp::default(),
        text: text.to_owned(),
        original_text: None,
        truncated: post.truncated,
        lang: None,
        declared_lang: post.lang.clone(),
        source: post.source.clone(),
        kind: post.kind.clone(),
        author: post.author.clone(),
        url: post.url.clone(),
        sentiment: AnswerRecord::from(&verdict.sentiment),
        topic: TopicRecord::from(&verdict.topic),
        subjects: Vec::new(),
        model: model.clone(),
        origin: post.origin.clone(),
    }
}

/// A mention of `market` with a made-up score that depends on the text.
fn mention(post: &Post, text: &str) -> Mention {
    let negative = text.len().is_multiple_of(3);
    Mention {
        id: post.origin.id_for("market"),
        post_id: post.id.clone(),
        revision: post.revision,
        subject: Subject::market(),
        score: if negative { -0.8 } else { 0.4 },
        label: Some(Arc::from(if negative { "negative" } else { "positive" })),
        confidence: 0.8,
        relevance: 1.0,
        published_at: post.published_at,
        source: post.source.clone(),
        kind: post.kind.clone(),
        excerpt: Arc::from(clean::excerpt(text)),
        url: None,
        sketch: clean::sketch(text),
        origin: post.origin.clone(),
        traceparent: None,
    }
}
