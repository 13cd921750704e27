//! What a model was judged on, for pipelines that look whether posts and answers still look so.

use std::collections::{BTreeMap, VecDeque};

use crate::archive::{ArchiveError, Shelf};
use crate::event::{Answer, Verdict};
use crate::model::{Encoded, Graded, Judged, Profile, Reference, Scorer, Seen, Task, question};
use crate::retrain::{EvaluateError, LabelledRow, Line};

/// Rows that are scored together.
const POOL_ROWS: usize = 1_024;

/// Posts without which there is no reference: of fewer, chance alone would look like a change later.
pub(super) const POSTS_MIN: u64 = 1_000;

/// The newest archived posts by their days and, within one, by the files' names; none that was kept for what was answered
/// to it, at most `count`. No more of them are held on the way.
///
/// # Errors
/// When the archive cannot be read.
pub(super) fn usual(shelf: &Shelf, count: usize) -> Result<Vec<LabelledRow>, ArchiveError> {
    let (mut rows, mut number) = (VecDeque::new(), 0);
    shelf.each_post(|post| {
        let is_plain = ["all", "hash", "random"].contains(&post.reason.as_str());
        if is_plain && !post.is_deleted {
            number += 1;
            let line = Line { file: "the archive".into(), number };
            let (sentiment, topic, source, published_at) = (None, None, None, None);
            let (text, weight) = (post.text, 1.0);
            rows.push_back(LabelledRow { line, text, sentiment, topic, source, published_at, weight });
            if rows.len() > count {
                rows.pop_front();
            }
        }
    })?;
    Ok(rows.into())
}

/// Asks about all rows, labelled or not, as a pipeline does.
///
/// # Errors
/// At the first row on which the model fails.
pub fn reference(scorer: &dyn Scorer, tasks: &[Task], rows: &[LabelledRow]) -> Result<Reference, EvaluateError> {
    let mut judging = Judging::new(scorer, tasks);
    rows.iter().try_for_each(|row| judging.note(row.clone()))?;
    judging.finish()
}

/// A reference in the making, of rows as they come: no more of them are held than are scored together.
pub struct Judging<'a> {
    scorer: &'a dyn Scorer,
    tasks: &'a [Task],
    waiting: Vec<LabelledRow>,
    profile: Profile,
    /// By task.
    answers: BTreeMap<String, Vec<Graded>>,
}

impl<'a> Judging<'a> {
    /// Nothing asked yet.
    #[must_use]
    pub fn new(scorer: &'a dyn Scorer, tasks: &'a [Task]) -> Self {
        Self { scorer, tasks, waiting: Vec::new(), profile: Profile::default(), answers: BTreeMap::new() }
    }

    /// Takes a row in.
    ///
    /// # Errors
    /// When the model fails on it or on one of those before it.
    pub fn note(&mut self, row: LabelledRow) -> Result<(), EvaluateError> {
        self.waiting.push(row);
        if self.waiting.len() < POOL_ROWS {
            return Ok(());
        }
        self.ask()
    }

    /// What all rows say.
    ///
    /// # Errors
    /// When the model fails on one of the last.
    pub fn finish(mut self) -> Result<Reference, EvaluateError> {
        self.ask()?;
        let judged = self.answers.into_iter().filter_map(|(task, answers)| Some((task, Judged::of(&answers)?)));
        Ok(Reference { profile: self.profile, judged: judged.collect() })
    }

    fn ask(&mut self) -> Result<(), EvaluateError> {
        let pool = std::mem::take(&mut self.waiting);
        let failed = |row: &LabelledRow, failure| EvaluateError::Failed { line: row.line.clone(), failure };
        let ask = |row: &LabelledRow| question(&row.text, self.scorer).map_err(|failure| failed(row, failure));
        let questions = pool.iter().map(ask).collect::<Result<Vec<_>, _>>()?;
        let asked: Vec<Encoded> = questions.iter().flatten().cloned().collect();
        let mut verdicts = self.scorer.score(&asked).into_iter();
        for (row, question) in pool.iter().zip(&questions) {
            let (tokens, unasked) = (question.as_ref().ok(), question.as_ref().err().copied());
            let verdict = tokens.and_then(|_| verdicts.next()).transpose().map_err(|failure| failed(row, failure))?;
            let best = |of: fn(&Verdict) -> &Answer| verdict.as_ref().and_then(|verdict| of(verdict).best());
            let said = [("sentiment", best(|it| &it.sentiment)), ("topic", best(|it| &it.topic))];
            self.profile.note(&Seen { tokens, unasked, said }, self.scorer.unknown_token());
            for (name, class, sure) in
                said.iter().filter_map(|(name, best)| best.map(|(class, sure)| (*name, class, sure)))
            {
                let label = if name == "topic" { &row.topic } else { &row.sentiment };
                let task = self.tasks.iter().find(|task| task.name == name);
                if let Some(truth) = task.zip(label.as_deref()).and_then(|(task, label)| task.resolve(label)) {
                    let graded = Graded { sure, is_right: truth == &**class, weight: row.weight };
                    self.answers.entry(name.to_owned()).or_default().push(graded);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::sync::Arc;

    use super::*;
    use crate::archive::{ArchiveSettings, SegmentName, Store};
    use crate::codec::decode_scored;
    use crate::event::Sample;
    use crate::model::StubScorer;
    use crate::stream::{Headers, Partition, Position, Record, Span};
    use crate::time::Timestamp;

    #[test]
    fn what_is_usual_is_taken_from_the_newest_days() {
        let folder = tempfile::tempdir().unwrap();
        let url = url::Url::from_file_path(folder.path()).unwrap().to_string();
        let settings = ArchiveSettings { url, ..ArchiveSettings::default() };
        let store = Store::open(&settings).unwrap();
        let example = include_bytes!("../../schemas/examples/scored/v1/negative.json");
        let record = Record {
            partition: Partition::new(&Arc::from("market.scored"), 0),
            offset: 0,
            appended_at: Timestamp::from_millis(0),
            key: None,
            value: Some(example.as_slice().into()),
            headers: Headers::new(),
        };
        let scored = decode_scored(&record).unwrap();
        let sample = |day: &str, number: i64, reason: &'static str| {
            let mut scored = scored.clone();
            scored.text = format!("day {day} post {number}");
            Sample { scored, challenge: None, reason, probability: 1.0 }
        };
        for (day, from) in [("02", 0), ("03", 10)] {
            let name = SegmentName {
                topic: "market.scored".into(),
                partition: 0,
                span: Span { from: Position::at(from), until: Position::at(from + 10) },
                first_appended_at: Timestamp::parse(&format!("2026-03-{day}T12:00:00Z")).unwrap(),
            };
            let rows = [sample(day, 0, "hash"), sample(day, 1, "uncertain"), sample(day, 2, "hash")];
            store.publish_samples(&name, &rows.iter().collect::<Vec<_>>()).unwrap();
        }
        let shelf = Shelf::open(&settings).unwrap();
        let found = |count: usize| usual(&shelf, count).unwrap().into_iter().map(|row| row.text).collect::<Vec<_>>();
        assert_eq!(found(2), ["day 03 post 0", "day 03 post 2"]);
        assert_eq!(found(3), ["day 02 post 2", "day 03 post 0", "day 03 post 2"]);
        assert_eq!((found(0).len(), found(9).len()), (0, 4));
    }

    #[test]
    fn labelled_rows_say_how_good_it_is_and_all_rows_what_they_look_like() {
        let aliases: BTreeMap<String, String> = [("Bullish".to_owned(), "positive".to_owned())].into();
        let task = |name, labels| Task { aliases: aliases.clone(), ..Task::plain(name, labels) };
        let tasks = [task("sentiment", &["negative", "neutral", "positive"]), task("topic", &["earnings"])];
        let row = |text: &str, sentiment: Option<&str>| LabelledRow {
            line: Line { file: "rows".into(), number: 1 },
            text: text.to_owned(),
            sentiment: sentiment.map(str::to_owned),
            topic: None,
            source: None,
            published_at: None,
            weight: 1.0,
        };
        let rows = [
            row("Aurora Mills beats, shares surge", Some("Bullish")),
            row("Aurora Mills falls, shares plunge", Some("positive")),
            row("Aurora Mills cuts its forecast", None),
            row("", Some("negative")),
        ];
        let found = reference(&StubScorer::new(), &tasks, &rows).unwrap();
        assert_eq!((found.profile.posts, found.judged.len()), (4, 1));
        assert_eq!(
            (found.judged["sentiment"].rows, found.judged["sentiment"].accuracy.to_bits()),
            (2, 0.5_f64.to_bits())
        );
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), found);
    }
}
