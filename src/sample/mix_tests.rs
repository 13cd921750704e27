//! What a mixed policy keeps of a segment.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::event::{Action, Answer, AnswerRecord, Challenge, ModelId, Origin, ScoredPost, TopicRecord};
use crate::time::Timestamp;

/// A post whose sentiment has these probabilities, and whose topic is sure.
fn post(number: usize, text: &str, sentiment: [f32; 3]) -> ScoredPost {
    let of = |classes: &[&str], odds: &[f32]| Answer {
        distribution: classes.iter().zip(odds).map(|(class, odd)| (Arc::from(*class), *odd)).collect(),
        abstention: None,
    };
    let at = Timestamp::from_millis(i64::try_from(number).unwrap());
    ScoredPost {
        id: format!("posts+0+{number}"),
        post_id: Arc::from(format!("post-{number}")),
        revision: at,
        action: Action::Created,
        published_at: at,
        appended_at: at,
        scored_at: at,
        text: text.to_owned(),
        original_text: None,
        truncated: false,
        lang: None,
        declared_lang: None,
        source: "wire".into(),
        kind: "news".into(),
        author: None,
        url: None,
        sentiment: AnswerRecord::from(&of(&["negative", "neutral", "positive"], &sentiment)),
        topic: TopicRecord::from(&of(&["earnings", "macro"], &[1.0, 0.0])),
        subjects: Vec::new(),
        model: ModelId { name: "finance-en".into(), version: "1".into(), variant: "int8".into() },
        origin: Origin { topic: "posts".into(), partition: 0, offset: i64::try_from(number).unwrap() },
    }
}

/// Posts of which one in ten leaves the model in doubt; each tells a story of its own.
fn many(count: usize) -> Vec<ScoredPost> {
    let odds = |number: usize| if number.is_multiple_of(10) { [0.3, 0.36, 0.34] } else { [0.01, 0.98, 0.01] };
    let story = |number: usize| format!("{number} {} {}", number * 7_919, number * 104_729);
    (0..count).map(|number| post(number, &story(number), odds(number))).collect()
}

fn kept(posts: &[ScoredPost], quotas: &[(Strategy, f64)]) -> Vec<Option<Kept>> {
    let asked: Vec<_> = posts.iter().map(|post| (post, None)).collect();
    let quotas: Vec<Quota> =
        quotas.iter().map(|(strategy, share)| Quota { strategy: *strategy, share: *share }).collect();
    choose(&asked, &quotas)
}

fn count(kept: &[Option<Kept>]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    kept.iter().flatten().for_each(|kept| *counts.entry(kept.reason).or_default() += 1);
    counts
}

#[test]
fn each_strategy_takes_its_share_and_doubt_goes_to_the_doubtful() {
    let posts = many(20_000);
    for strategy in [Strategy::Random, Strategy::Margin, Strategy::Entropy, Strategy::Novelty] {
        let taken = kept(&posts, &[(strategy, 0.05)]);
        let count = count(&taken)[strategy.as_str()];
        assert!((900..1_100).contains(&count), "{}: {count}", strategy.as_str());
    }
    for strategy in [Strategy::Margin, Strategy::Entropy] {
        let taken = kept(&posts, &[(strategy, 0.05)]);
        let doubtful = taken.iter().step_by(10).flatten().count();
        let sure = taken.iter().flatten().count() - doubtful;
        assert!(doubtful > 8 * sure, "{}: {doubtful} and {sure}", strategy.as_str());
    }
}

#[test]
fn weighed_by_their_probability_the_kept_stand_for_all() {
    let posts = many(20_000);
    let taken = kept(&posts, &[(Strategy::Random, 0.05), (Strategy::Margin, 0.04), (Strategy::Novelty, 0.02)]);
    let (mut all, mut doubtful) = (0.0, 0.0);
    for (number, kept) in taken.iter().enumerate() {
        let Some(kept) = kept else { continue };
        assert!(kept.probability >= 0.05, "no post is less likely than by chance alone: {kept:?}");
        all += 1.0 / kept.probability;
        doubtful += if number % 10 == 0 { 1.0 / kept.probability } else { 0.0 };
    }
    assert!((18_500.0..21_500.0).contains(&all), "{all}");
    // In the plain shares of the kept they would be a third.
    assert!((0.09..0.11).contains(&(doubtful / all)), "{}", doubtful / all);
    let reasons = count(&taken);
    assert!(reasons["random"] > 800 && reasons["margin"] > 700, "{reasons:?}");
}

#[test]
fn copies_of_a_text_are_left_to_chance() {
    let text = "Regulator opens an inquiry into the cloud contracts of Aurora Mills, sources say";
    let posts: Vec<_> = (0..500).map(|number| post(number, text, [0.3, 0.36, 0.34])).collect();
    let taken = kept(&posts, &[(Strategy::Margin, 1.0), (Strategy::Novelty, 1.0)]);
    assert_eq!(taken.iter().position(Option::is_some), Some(0));
    assert_eq!(taken.iter().flatten().count(), 1);
    let taken = kept(&posts, &[(Strategy::Random, 0.2)]);
    assert!((60..140).contains(&taken.iter().flatten().count()));
}

#[test]
fn what_is_seldom_answered_and_what_the_challenger_sees_otherwise_is_wanted() {
    let mut posts = many(2_000);
    for number in [7, 700, 1_999] {
        posts[number].sentiment = post(0, "", [0.98, 0.01, 0.01]).sentiment;
    }
    let taken = kept(&posts, &[(Strategy::Rare, 0.004)]);
    assert!([7, 700, 1_999].iter().filter(|number| taken[**number].is_some()).count() >= 2, "{:?}", count(&taken));
    let other = Challenge {
        version: "2".into(),
        sentiment: post(0, "", [0.8, 0.1, 0.1]).sentiment,
        topic: posts[0].topic.clone(),
    };
    let same = Challenge { sentiment: posts[1].sentiment.clone(), ..other.clone() };
    let answer = |number| match number {
        9 => Some(&other),
        11 => Some(&same),
        _ => None,
    };
    let asked: Vec<_> = posts.iter().enumerate().map(|(number, post)| (post, answer(number))).collect();
    let taken = choose(&asked, &[Quota { strategy: Strategy::Disagreement, share: 0.5 }]);
    let found: Vec<usize> = (0..2_000).filter(|number| taken[*number].is_some()).collect();
    assert_eq!((found, taken[9]), (vec![9], Some(Kept { reason: "disagreement", probability: 1.0 })));
}

#[test]
fn nothing_comes_of_nothing_and_no_probability_is_above_one() {
    assert!(kept(&[], &[(Strategy::Margin, 0.5)]).is_empty());
    let posts = many(30);
    let all = kept(&posts, &[(Strategy::Novelty, 1.0)]);
    assert!(all.iter().all(|kept| kept.is_some_and(|kept| kept.probability <= 1.0)), "{all:?}");
    let mut gone = post(1, "", [0.0; 3]);
    gone.action = Action::Deleted;
    gone.sentiment.probabilities.clear();
    assert_eq!(kept(&[gone], &[(Strategy::Margin, 1.0), (Strategy::Entropy, 1.0), (Strategy::Novelty, 1.0)]), [None]);
}
