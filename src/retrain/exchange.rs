//! Samples and labels as annotation tools read and write them: Label Studio's JSON of tasks, and the JSON of records of
//! Argilla 2 (`records.to_json`, `records.from_json`).
//!
//! The post's id travels with the text, the model's answer as a prediction or suggestion that the annotator may take.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::event::Label;
use crate::model::Task;
use crate::retrain::Candidate;
use crate::time::Timestamp;

/// Who reads the file, or wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Label Studio.
    LabelStudio,
    /// Argilla, version 2.
    Argilla,
}

/// Samples as a file of the tool: a JSON array. Each asks about every task; `value` and `text` are the names by which
/// [`label_studio_config`] knows them.
#[must_use]
pub fn to_tool(tool: Tool, samples: &[Candidate], tasks: &[Task]) -> Value {
    samples.iter().map(|sample| to_task(tool, sample, tasks)).collect()
}

fn to_task(tool: Tool, sample: &Candidate, tasks: &[Task]) -> Value {
    let post = &sample.post;
    let said: Vec<(&str, &str, f32)> = tasks
        .iter()
        .filter_map(|task| {
            let (class, sure) = sample.guesses(&task.name).into_iter().next()?;
            Some((task.name.as_str(), class, sure))
        })
        .collect();
    let published = post.published_at.to_string();
    match tool {
        Tool::LabelStudio => {
            let result: Vec<Value> = said
                .iter()
                .map(|(task, class, _)| {
                    let value = json!({ "choices": [class] });
                    json!({ "id": task, "from_name": task, "to_name": "text", "type": "choices", "value": value })
                })
                .collect();
            let data = json!({ "text": post.text, "post_id": &*post.post_id, "source": post.source, "published_at": published });
            json!({ "data": data, "predictions": [{ "model_version": post.model_version, "result": result }] })
        }
        Tool::Argilla => {
            let suggestions: Map<String, Value> = said
                .iter()
                .map(|(task, class, sure)| {
                    let agent = format!("version {}", post.model_version);
                    ((*task).to_owned(), json!({ "value": class, "score": f64::from(*sure), "agent": agent }))
                })
                .collect();
            json!({
                "id": &*post.post_id,
                "fields": { "text": post.text },
                "metadata": { "source": post.source, "published_at": published },
                "suggestions": suggestions,
                "responses": {},
                "vectors": {},
            })
        }
    }
}

/// The labelling interface that Label Studio needs for such tasks.
#[must_use]
pub fn label_studio_config(tasks: &[Task]) -> String {
    let choices = tasks.iter().map(|task| {
        let choice = |label: &String| {
            format!("    <Choice value=\"{}\"/>\n", html_escape::encode_double_quoted_attribute(label))
        };
        let all: String = task.labels.iter().map(choice).collect();
        format!("  <Choices name=\"{}\" toName=\"text\" choice=\"single-radio\">\n{all}  </Choices>\n", task.name)
    });
    format!("<View>\n  <Text name=\"text\" value=\"$text\"/>\n{}</View>\n", choices.collect::<String>())
}

/// An answer as a tool has it, not yet looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The post.
    pub post_id: String,
    /// The task.
    pub task: String,
    /// The class, or an alias of one.
    pub label: String,
    /// Who says so, where the tool tells.
    pub annotator: Option<String>,
    /// When, where it tells.
    pub at: Option<Timestamp>,
}

impl Answer {
    /// The label, by the tasks that there are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn label(self, tasks: &[Task], annotator: &str, now: Timestamp) -> Result<Label, String> {
        let task = tasks.iter().find(|task| task.name == self.task).ok_or_else(|| {
            let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            format!("the model has no task `{}`, only {}", self.task, known.join(" and "))
        })?;
        let class = task
            .resolve(&self.label)
            .ok_or_else(|| format!("`{}` is no class of {}: {}", self.label, task.name, task.labels.join(", ")))?;
        Ok(Label {
            post_id: Arc::from(self.post_id),
            task: Arc::from(self.task),
            label: Arc::from(class),
            annotator: self.annotator.map_or_else(|| Arc::from(annotator), Arc::from),
            at: self.at.unwrap_or(now),
            note: None,
        })
    }
}

/// The answers in one task or record of the tool; none where nobody has answered it.
///
/// # Errors
/// What it lacks.
pub fn from_tool(tool: Tool, item: Value) -> Result<Vec<Answer>, String> {
    match tool {
        Tool::LabelStudio => serde_json::from_value(item).map(StudioTask::answers),
        Tool::Argilla => serde_json::from_value(item).map(ArgillaRecord::answers),
    }
    .map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct StudioTask {
    data: StudioData,
    #[serde(default)]
    annotations: Vec<StudioAnnotation>,
}

#[derive(Deserialize)]
struct StudioData {
    post_id: String,
}

#[derive(Deserialize)]
struct StudioAnnotation {
    #[serde(default)]
    was_cancelled: bool,
    completed_by: Option<StudioUser>,
    updated_at: Option<Timestamp>,
    created_at: Option<Timestamp>,
    #[serde(default)]
    result: Vec<StudioResult>,
}

/// A number, or with more about the person.
#[derive(Deserialize)]
#[serde(untagged)]
enum StudioUser {
    Number(i64),
    Person { id: Option<i64>, email: Option<String> },
}

#[derive(Deserialize)]
struct StudioResult {
    from_name: String,
    #[serde(default)]
    value: StudioValue,
}

#[derive(Deserialize, Default)]
struct StudioValue {
    #[serde(default)]
    choices: Vec<String>,
}

impl StudioTask {
    fn answers(self) -> Vec<Answer> {
        let mut answers = Vec::new();
        for annotation in self.annotations.into_iter().filter(|annotation| !annotation.was_cancelled) {
            let by = |number: i64| format!("label-studio-{number}");
            let annotator = annotation.completed_by.and_then(|user| match user {
                StudioUser::Number(number) => Some(by(number)),
                StudioUser::Person { id, email } => email.or_else(|| id.map(by)),
            });
            let at = annotation.updated_at.or(annotation.created_at);
            for result in annotation.result {
                if let Some(label) = result.value.choices.into_iter().next() {
                    let (post_id, annotator) = (self.data.post_id.clone(), annotator.clone());
                    answers.push(Answer { post_id, task: result.from_name, label, annotator, at });
                }
            }
        }
        answers
    }
}

#[derive(Deserialize)]
struct ArgillaRecord {
    id: String,
    #[serde(default)]
    responses: Option<std::collections::BTreeMap<String, Vec<ArgillaResponse>>>,
}

#[derive(Deserialize)]
struct ArgillaResponse {
    value: Option<String>,
    user_id: Option<String>,
    status: Option<String>,
}

impl ArgillaRecord {
    fn answers(self) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (task, responses) in self.responses.unwrap_or_default() {
            for response in responses {
                // A draft may still change, and what was discarded is no answer.
                let counts = response.status.is_none_or(|status| status == "submitted");
                if let Some(label) = response.value.filter(|_| counts) {
                    let (post_id, task) = (self.id.clone(), task.clone());
                    answers.push(Answer { post_id, task, label, annotator: response.user_id, at: None });
                }
            }
        }
        answers
    }
}
