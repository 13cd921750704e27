//! A data set from the archive: the samples that people labelled, cut by time, in files that the trainer and Hugging Face's
//! `datasets` open as they are.
//!
//! Labels are held in memory, of [`LABELLED_MAX`] posts at most (of twice as many while they are read). Samples are read
//! through: of those without a label a bounded number is kept, with the answers that the model gave, so that a
//! retrained model does not forget what it knew.

mod cut;
mod labels;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::archive::{ArchiveError, ArchivedPost, Odds, Shelf};
use crate::model::Task;
use crate::time::Timestamp;

pub use cut::{Cut, Side, cut};
pub use labels::{LabelCounts, Labels, Vote};

/// Labelled posts in one data set: they take about a gigabyte of memory while it is made (a million took 3.3).
pub const LABELLED_MAX: usize = 250_000;

/// How a data set is made.
#[derive(Debug, Clone)]
pub struct DatasetPlan {
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The tasks and classes that labels may speak of.
    pub tasks: Vec<Task>,
    /// Share of equal parts from which two texts are near-copies (as in `index.near_copy`).
    pub near_copy: f32,
    /// Share of the rows, 0 to 1: the newest to judge by, and those before them to choose by.
    pub validation_share: f64,
    /// Likewise.
    pub test_share: f64,
    /// Labelled posts that are kept.
    pub labelled_max: usize,
    /// Samples without a label that are kept.
    pub unlabelled_max: usize,
    /// Which of both: another seed, another choice.
    pub seed: u64,
}

/// Why there is no data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Nobody labelled anything.
    #[error(
        "the archive has no labels that can be used ({read} were read, {unknown} of them of unknown tasks or classes)"
    )]
    NoLabels {
        /// Records read.
        read: usize,
        /// Of tasks or classes that the model does not have.
        unknown: usize,
    },
    /// Labels, but of none of the samples.
    #[error("{labelled} posts have labels, and none of them is among the {samples} samples of the archive")]
    NoneInArchive {
        /// Labelled posts.
        labelled: usize,
        /// Samples read.
        samples: usize,
    },
    /// Something stands where the data set is to be.
    #[error("{0} is there already: name another folder, or remove it")]
    Taken(String),
    /// A file cannot be written.
    #[error("{path} cannot be written: {source}")]
    File {
        /// The file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Classes of a task with how many rows have them.
pub type Classes = BTreeMap<String, BTreeMap<String, usize>>;

/// What stands in one file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitReport {
    /// Rows.
    pub rows: usize,
    /// When the oldest post was published.
    pub from: Option<Timestamp>,
    /// When the newest was.
    pub until: Option<Timestamp>,
    /// Rows by source.
    pub sources: BTreeMap<String, usize>,
    /// Rows by task and class.
    pub classes: Classes,
    /// Hash of the file, hexadecimal.
    pub sha256: String,
}

/// How far the people who labelled agree, in one task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Posts that several people answered for.
    pub shared: usize,
    /// Of those, where all said the same.
    pub agreed: usize,
}

/// `dataset.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetReport {
    /// Always 1.
    pub format: u32,
    /// The pipeline whose archive this was.
    pub pipeline: Arc<str>,
    /// When it was made.
    pub made_at: Timestamp,
    /// The seed of the choice of samples without a label.
    pub seed: u64,
    /// Share from which two texts are near-copies.
    pub near_copy: f32,
    /// Samples read.
    pub samples: usize,
    /// Rows by version of the model that answered.
    pub model_versions: BTreeMap<String, usize>,
    /// Labels read.
    pub labels: LabelCounts,
    /// Labelled posts that the archive does not have; the first twenty.
    pub unknown_posts: (usize, Vec<Arc<str>>),
    /// Labelled posts that were deleted or have no text, and are left out.
    pub left_out: usize,
    /// By task.
    pub agreement: BTreeMap<String, Agreement>,
    /// Rows that stand with an older near-copy instead of where their time would put them.
    pub moved: usize,
    /// Rows that are left out: near-copies of an older row to judge by.
    #[serde(default)]
    pub copies: usize,
    /// By side.
    pub splits: BTreeMap<String, SplitReport>,
    /// Samples without a label that were kept.
    pub unlabelled: usize,
}

impl DatasetReport {
    /// The hashes of these sides' rows.
    #[must_use]
    pub fn hashes(&self, sides: &[Side]) -> BTreeMap<&str, &str> {
        let is_meant = |name: &str| sides.iter().any(|side| side.as_str() == name);
        let meant = self.splits.iter().filter(|(name, _)| is_meant(name));
        meant.map(|(name, split)| (name.as_str(), split.sha256.as_str())).collect()
    }

    /// What somebody should know who trains on it; nothing when all is well.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let classes = self.splits.get(Side::Train.as_str()).map(|split| &split.classes);
        for (task, classes) in classes.into_iter().flatten() {
            if let [(only, _)] = classes.iter().collect::<Vec<_>>()[..] {
                warnings
                    .push(format!("all training rows of {task} are `{only}`: nothing can be learnt from one class"));
            }
        }
        let unknown = self.labels.unknown_task + self.labels.unknown_class;
        if unknown > 0 {
            warnings.push(format!("{unknown} labels are of tasks or classes that the model does not have"));
        }
        if self.labels.beyond > 0 {
            let beyond = self.labels.beyond;
            warnings.push(format!("{beyond} labels are left out, the posts chosen by a hash: too many for memory"));
        }
        if self.unknown_posts.0 > 0 {
            warnings.push(format!("{} labelled posts are not in the archive", self.unknown_posts.0));
        }
        if self.copies > 0 {
            let copies = self.copies;
            warnings.push(format!("{copies} labelled posts are left out: near-copies of an older one to judge by"));
        }
        let disputed: usize = self.agreement.values().map(|task| task.shared - task.agreed).sum();
        if disputed > 0 {
            warnings.push(format!("{disputed} answers are disputed: the latest counts, see disagreements.jsonl"));
        }
        warnings
    }
}

/// A labelled post, ready to be written.
struct Example {
    post: ArchivedPost,
    /// Class by task.
    answers: BTreeMap<String, String>,
    side: Side,
}

/// Makes a data set of all that is in the archive, in the new folder `out`.
///
/// # Errors
/// [`DatasetError`]. No folder of that name is left then.
pub fn make_dataset(
    shelf: &Shelf,
    plan: &DatasetPlan,
    out: &Path,
    now: Timestamp,
) -> Result<DatasetReport, DatasetError> {
    if out.exists() {
        return Err(DatasetError::Taken(out.display().to_string()));
    }
    let mut labels = Labels::of_posts(plan.labelled_max, plan.seed);
    shelf.each_label(|label| labels.take(label, &plan.tasks))?;
    labels.cut();
    let counts = labels.counts().clone();
    if labels.is_empty() {
        let unknown = counts.unknown_task + counts.unknown_class;
        return Err(DatasetError::NoLabels { read: counts.read, unknown });
    }
    let mut gathered = Gathered::new(plan);
    shelf.each_post(|post| gathered.take(post, &labels))?;
    let Gathered { samples, labelled, unlabelled, .. } = gathered;
    let unknown: Vec<Arc<str>> = labels.posts().filter(|id| !labelled.contains_key(*id)).cloned().collect();
    if labelled.is_empty() {
        return Err(DatasetError::NoneInArchive { labelled: labels.len(), samples });
    }
    let known = labelled.len();
    let (examples, moved, copies) = examples(labelled, &labels, plan);
    let unlabelled: Vec<ArchivedPost> =
        unlabelled.into_values().filter(is_usable).filter_map(|post| of_known_classes(post, &plan.tasks)).collect();
    let mut report = DatasetReport {
        format: 1,
        pipeline: plan.pipeline.clone(),
        made_at: now,
        seed: plan.seed,
        near_copy: plan.near_copy,
        samples,
        model_versions: tally(examples.iter().map(|example| example.post.model_version.as_str())),
        labels: counts,
        unknown_posts: (unknown.len(), first(unknown)),
        left_out: known - examples.len() - copies,
        agreement: agreement(&examples, &labels, plan),
        moved,
        copies,
        splits: BTreeMap::new(),
        unlabelled: unlabelled.len(),
    };
    write::write(out, &mut report, &examples, &labels, &unlabelled)?;
    Ok(report)
}

fn first(mut ids: Vec<Arc<str>>) -> Vec<Arc<str>> {
    ids.sort_unstable();
    ids.truncate(20);
    ids
}

fn is_usable(post: &ArchivedPost) -> bool {
    !post.is_deleted && !post.text.trim().is_empty()
}

/// The post without answers of classes that its task does not have (a model before this one gave them); `None` where
/// nothing is left of them.
fn of_known_classes(mut post: ArchivedPost, tasks: &[Task]) -> Option<ArchivedPost> {
    let is_known = |name: &str, odds: &Odds| {
        let task = tasks.iter().find(|task| task.name == name);
        task.is_some_and(|task| odds.iter().all(|(label, _)| task.labels.contains(label)))
    };
    if !is_known("sentiment", &post.sentiment) {
        post.sentiment.clear();
    }
    if !is_known("topic", &post.topic) {
        post.topic.clear();
    }
    (!(post.sentiment.is_empty() && post.topic.is_empty())).then_some(post)
}

fn tally<'a>(keys: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    keys.for_each(|key| *tally.entry(key.to_owned()).or_default() += 1);
    tally
}

/// The latest state of every labelled post, and of a bounded number of others.
struct Gathered<'a> {
    plan: &'a DatasetPlan,
    samples: usize,
    labelled: HashMap<Arc<str>, ArchivedPost>,
    /// Those with the smallest hashes: a choice that does not depend on order.
    unlabelled: BTreeMap<(u64, Arc<str>), ArchivedPost>,
}

impl<'a> Gathered<'a> {
    fn new(plan: &'a DatasetPlan) -> Self {
        Self { plan, samples: 0, labelled: HashMap::new(), unlabelled: BTreeMap::new() }
    }

    fn take(&mut self, post: ArchivedPost, labels: &Labels) {
        self.samples += 1;
        let is_newer = |known: Option<&ArchivedPost>| known.is_none_or(|known| known.revision <= post.revision);
        if labels.has(&post.post_id) {
            if is_newer(self.labelled.get(&post.post_id)) {
                self.labelled.insert(post.post_id.clone(), post);
            }
            return;
        }
        let key = (xxh3_64_with_seed(post.post_id.as_bytes(), self.plan.seed), post.post_id.clone());
        let has_room = self.unlabelled.len() < self.plan.unlabelled_max;
        let is_smaller = self.unlabelled.last_key_value().is_some_and(|(largest, _)| key <= *largest);
        if (has_room || is_smaller) && is_newer(self.unlabelled.get(&key)) {
            self.unlabelled.insert(key, post);
            if self.unlabelled.len() > self.plan.unlabelled_max {
                self.unlabelled.pop_last();
            }
        }
    }
}

/// The labelled posts that can be used, oldest first, each on its side; how many were moved and how many left out.
fn examples(
    labelled: HashMap<Arc<str>, ArchivedPost>,
    labels: &Labels,
    plan: &DatasetPlan,
) -> (Vec<Example>, usize, usize) {
    let mut posts: Vec<ArchivedPost> = labelled.into_values().filter(is_usable).collect();
    posts.sort_by(|one, other| (one.published_at, &one.post_id).cmp(&(other.published_at, &other.post_id)));
    let texts: Vec<&str> = posts.iter().map(|post| post.text.as_str()).collect();
    let Cut { sides, moved, copies } = cut(&texts, (plan.validation_share, plan.test_share), plan.near_copy);
    let answers = |post: &ArchivedPost| -> BTreeMap<String, String> {
        let answer = |task: &Task| Some((task.name.clone(), labels.answer(&post.post_id, &task.name)?.to_owned()));
        plan.tasks.iter().filter_map(answer).collect()
    };
    let example =
        |(post, side): (ArchivedPost, Option<Side>)| Some(Example { answers: answers(&post), post, side: side? });
    (posts.into_iter().zip(sides).filter_map(example).collect(), moved, copies)
}

fn agreement(examples: &[Example], labels: &Labels, plan: &DatasetPlan) -> BTreeMap<String, Agreement> {
    let of_task = |task: &Task| {
        let mut agreement = Agreement::default();
        for example in examples {
            let votes = labels.votes(&example.post.post_id, &task.name);
            if let [first, others @ ..] = votes
                && !others.is_empty()
            {
                agreement.shared += 1;
                agreement.agreed += usize::from(others.iter().all(|vote| vote.label == first.label));
            }
        }
        (task.name.clone(), agreement)
    };
    plan.tasks.iter().map(of_task).collect()
}
