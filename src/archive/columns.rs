//! The columns of a segment. Types are those that pandas, DuckDB, Spark and Hugging Face datasets all know: probabilities
//! are a list of (label, probability), since not all of them know maps; times are UTC microseconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;

use crate::event::{Abstention, Action, Label, Sample, ScoredPost};
use crate::time::Timestamp;

/// Probability by class.
type Odds = BTreeMap<Arc<str>, f32>;

/// The table in the making: fields and columns side by side.
#[derive(Default)]
struct Table {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Table {
    fn add(&mut self, name: &str, nullable: bool, column: ArrayRef) {
        self.fields.push(Field::new(name, column.data_type().clone(), nullable));
        self.columns.push(column);
    }

    fn text<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        self.add(name, false, Arc::new(StringArray::from_iter_values(values)));
    }

    fn maybe_text<'a>(&mut self, name: &str, values: impl Iterator<Item = Option<&'a str>>) {
        self.add(name, true, Arc::new(values.collect::<StringArray>()));
    }

    fn time(&mut self, name: &str, values: impl Iterator<Item = Timestamp>) {
        let micros = TimestampMicrosecondArray::from_iter_values(values.map(Timestamp::micros));
        self.add(name, false, Arc::new(micros.with_timezone("UTC")));
    }

    /// A list of (text, number) a row.
    fn pairs<'a, R>(&mut self, name: &str, names: (&str, &str), rows: impl Iterator<Item = R>)
    where
        R: IntoIterator<Item = (&'a str, f32)>,
    {
        let (mut texts, mut numbers, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let before = texts.len();
            for (text, number) in row {
                texts.push(text);
                numbers.push(number);
            }
            lengths.push(texts.len() - before);
        }
        let fields = Fields::from(vec![
            Field::new(names.0, DataType::Utf8, false),
            Field::new(names.1, DataType::Float32, false),
        ]);
        let values: Vec<ArrayRef> = vec![Arc::new(StringArray::from(texts)), Arc::new(Float32Array::from(numbers))];
        let pairs = StructArray::new(fields.clone(), values, None);
        let item = Arc::new(Field::new("element", DataType::Struct(fields), false));
        let list = ListArray::new(item, OffsetBuffer::from_lengths(lengths), Arc::new(pairs), None);
        self.add(name, false, Arc::new(list));
    }

    fn finish(self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.columns)
    }
}

/// One row a kept post.
pub(super) fn samples(rows: &[&Sample]) -> Result<RecordBatch, ArrowError> {
    let posts = || rows.iter().map(|row| &row.scored);
    let mut table = Table::default();
    table.text("post_id", posts().map(|post| &*post.post_id));
    table.text("id", posts().map(|post| post.id.as_str()));
    table.time("revision", posts().map(|post| post.revision));
    table.text("action", posts().map(|post| action(post.action)));
    table.time("published_at", posts().map(|post| post.published_at));
    table.time("appended_at", posts().map(|post| post.appended_at));
    table.time("scored_at", posts().map(|post| post.scored_at));
    table.text("text", posts().map(|post| post.text.as_str()));
    table.maybe_text("original_text", posts().map(|post| post.original_text.as_deref()));
    table.maybe_text("lang", posts().map(|post| post.lang.as_deref()));
    table.maybe_text("declared_lang", posts().map(|post| post.declared_lang.as_deref()));
    table.text("source", posts().map(|post| &*post.source));
    table.text("kind", posts().map(|post| &*post.kind));
    table.maybe_text("author", posts().map(|post| post.author.as_deref()));
    table.maybe_text("url", posts().map(|post| post.url.as_deref()));
    answers(&mut table, rows);
    table.pairs(
        "subjects",
        ("subject", "relevance"),
        posts().map(|post| post.subjects.iter().map(|link| (link.subject.as_str(), link.relevance))),
    );
    provenance(&mut table, rows);
    challenges(&mut table, rows);
    table.finish()
}

/// What the challenger answered; nothing where none was asked.
fn challenges(table: &mut Table, rows: &[&Sample]) {
    fn odds(probabilities: Option<&Odds>) -> impl Iterator<Item = (&str, f32)> {
        probabilities.into_iter().flatten().map(|(label, probability)| (&**label, *probability))
    }
    let names = ("label", "probability");
    let asked = || rows.iter().map(|row| row.challenge.as_ref());
    table.maybe_text("challenger_version", asked().map(|it| it.map(|it| &*it.version)));
    let sentiment = asked().map(|it| odds(it.map(|it| &it.sentiment.probabilities)));
    table.pairs("challenger_sentiment_probabilities", names, sentiment);
    let topic = asked().map(|it| odds(it.map(|it| &it.topic.distribution)));
    table.pairs("challenger_topic_probabilities", names, topic);
}

fn answers(table: &mut Table, rows: &[&Sample]) {
    let names = ("label", "probability");
    let sentiment = || rows.iter().map(|row| &row.scored.sentiment);
    table.maybe_text("sentiment_label", sentiment().map(|answer| answer.label.as_deref()));
    table.add("sentiment_confidence", false, numbers(sentiment().map(|answer| answer.confidence)));
    table.maybe_text("sentiment_reason", sentiment().map(|answer| answer.reason.map(Abstention::as_str)));
    table.pairs(
        "sentiment_probabilities",
        names,
        sentiment().map(|answer| answer.probabilities.iter().map(|(label, probability)| (&**label, *probability))),
    );
    let topic = || rows.iter().map(|row| &row.scored.topic);
    table.maybe_text("topic_label", topic().map(|answer| answer.label.as_deref()));
    table.add("topic_confidence", false, numbers(topic().map(|answer| answer.confidence)));
    table.maybe_text("topic_reason", topic().map(|answer| answer.reason.map(Abstention::as_str)));
    table.pairs(
        "topic_probabilities",
        names,
        topic().map(|answer| answer.distribution.iter().map(|(label, probability)| (&**label, *probability))),
    );
}

/// Which model answered, which record the post came in, and why it was kept.
fn provenance(table: &mut Table, rows: &[&Sample]) {
    let posts = || rows.iter().map(|row| &row.scored);
    table.text("model_name", posts().map(|post: &ScoredPost| &*post.model.name));
    table.text("model_version", posts().map(|post| &*post.model.version));
    table.text("model_variant", posts().map(|post| &*post.model.variant));
    table.text("origin_topic", posts().map(|post| &*post.origin.topic));
    let partitions = Int32Array::from_iter_values(posts().map(|post| post.origin.partition));
    table.add("origin_partition", false, Arc::new(partitions));
    let offsets = Int64Array::from_iter_values(posts().map(|post| post.origin.offset));
    table.add("origin_offset", false, Arc::new(offsets));
    table.text("sample_reason", rows.iter().map(|row| row.reason));
    let probabilities = Float64Array::from_iter_values(rows.iter().map(|row| row.probability));
    table.add("sample_probability", false, Arc::new(probabilities));
}

/// One row a label.
pub(super) fn labels(rows: &[&Label]) -> Result<RecordBatch, ArrowError> {
    let mut table = Table::default();
    table.text("post_id", rows.iter().map(|row| &*row.post_id));
    table.text("task", rows.iter().map(|row| &*row.task));
    table.text("label", rows.iter().map(|row| &*row.label));
    table.text("annotator", rows.iter().map(|row| &*row.annotator));
    table.time("at", rows.iter().map(|row| row.at));
    table.maybe_text("note", rows.iter().map(|row| row.note.as_deref()));
    table.finish()
}

fn numbers(values: impl Iterator<Item = f32>) -> ArrayRef {
    Arc::new(Float32Array::from_iter_values(values))
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::Created => "created",
        Action::Updated => "updated",
        Action::Deleted => "deleted",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use arrow::datatypes::TimeUnit;

    #[test]
    fn an_empty_segment_has_all_columns_with_their_types() {
        let batch = samples(&[]).unwrap();
        assert_eq!(batch.num_rows(), 0);
        let schema = batch.schema();
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for name in ["revision", "published_at", "appended_at", "scored_at"] {
            assert_eq!(*schema.field_with_name(name).unwrap().data_type(), utc, "{name}");
        }
        assert!(matches!(schema.field_with_name("topic_probabilities").unwrap().data_type(), DataType::List(_)));
        assert_eq!(labels(&[]).unwrap().num_columns(), 6);
    }
}
