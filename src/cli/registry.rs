//! `bellwether model`: which versions there are, who answers, since when and why.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::args::{self, Global, Model, ModelAction, WarrantArguments};
use crate::cli::{Exit, Failure, Output, model, start_quiet_log};
use crate::config;
use crate::model::{Manifest, Task};
use crate::onnx::{BundleError, Import, ImportError, is_version, manifest_of};
use crate::retrain::{Action, Change, Passed, Registry, RegistryError, Version, Warrant, gate_of};
use crate::time::{Clock as _, SystemClock};

/// Runs the command.
///
/// # Errors
/// With 69 for a model or a version that is not there or cannot be used, with 65 for a history that cannot be read.
pub(crate) fn run(arguments: &Model, global: &Global) -> Result<(), Failure> {
    start_quiet_log(global)?;
    let folder = model::folder_of(arguments.model.as_deref())?;
    let registry = Registry::new(&folder);
    let mut output = Output::new();
    match &arguments.action {
        ModelAction::List { json } => list(&registry, *json, &mut output)?,
        ModelAction::Show { version, json } => show(&registry, &folder, version.as_deref(), *json, &mut output)?,
        ModelAction::Promote { version, force, warrant } => {
            // The registry says it too, but after the version was loaded and tried.
            if registry.champion().ok().as_ref() == Some(version) {
                return Err(told(RegistryError::Already(version.clone())));
            }
            check(&registry, &folder, version, warrant, &mut output)?;
            let warrant = warrant_of(warrant);
            let change = if *force {
                registry.promote(version, warrant)
            } else {
                stays_taken_back(registry.taken_back(version).map_err(told)?)?;
                registry.promote_over(&passed(&folder.join(version), version)?, version, warrant)
            };
            let change = change.map_err(told)?;
            say(&change, &mut output)?;
        }
        ModelAction::Challenge { version, none: _, warrant } => {
            if let Some(version) = version {
                check(&registry, &folder, version, warrant, &mut output)?;
            }
            let change = registry.challenge(version.clone(), warrant_of(warrant)).map_err(told)?;
            output.line(match change.challenger {
                Some(version) => format!("version {version} is tried beside version {}", change.champion),
                None => format!("nobody is tried beside version {} any more", change.champion),
            })?;
        }
        ModelAction::Import(arguments) => import(arguments, &folder, &mut output)?,
        ModelAction::Rollback { force, warrant } => {
            if !*force {
                not_taken_back(&registry)?;
            }
            check(&registry, &folder, &registry.before().map_err(told)?, warrant, &mut output)?;
            let change = registry.rollback(warrant_of(warrant)).map_err(told)?;
            say(&change, &mut output)?;
        }
    }
    output.flush()
}

/// Makes a version of somebody else's export.
fn import(arguments: &args::Import, folder: &Path, output: &mut Output) -> Result<(), Failure> {
    let import = Import {
        from: arguments.from.clone(),
        graph: arguments.graph.clone(),
        model: folder.to_owned(),
        version: arguments.version.clone(),
        task: arguments.task.clone(),
        classes: arguments.classes.iter().cloned().collect(),
        tokens_max: arguments.max_tokens,
        abstain_below: arguments.abstain_below,
        languages: arguments.languages.clone(),
    };
    if import.classes.len() < arguments.classes.len() {
        return Err(Failure::usage("--class names a class twice", "name each once"));
    }
    let manifest = model::import(&import).map_err(|error| match error {
        ImportError::Version { .. } => Failure::usage(error.to_string(), "nothing was changed"),
        ImportError::File { .. } => Failure::unavailable(error.to_string(), "check the path"),
        ImportError::Export { .. } | ImportError::Manifest(_) => Failure::data(error.to_string(), ""),
        ImportError::Bundle(error @ BundleError::Unusable { .. }) => Failure::data(error.to_string(), ""),
        ImportError::Bundle(error) => Failure::unavailable(error.to_string(), ""),
    })?;
    let place = folder.join(&manifest.version);
    let classes = manifest.tasks.iter().flat_map(|task| &task.labels).cloned().collect::<Vec<_>>().join(", ");
    output.line(format!("{}: {} ({classes}), at most {} tokens", place.display(), import.task, manifest.max_tokens))?;
    output.line(format!(
        "look what it is worth: bellwether evaluate --model {0}; let it answer: bellwether model promote {1} --model {2} \
         --force --reason TEXT",
        place.display(),
        manifest.version,
        folder.display()
    ))
}

/// Only what a gate let pass is named without more ado. Returns whom it was held against.
fn passed(candidate: &Path, version: &str) -> Result<String, Failure> {
    let (message, remedy) = match gate_of(candidate) {
        Some(Passed { passed: true, champion, .. }) => return Ok(champion),
        Some(Passed { reasons, .. }) => (format!("the gate refused version {version}: {}", reasons.join("; ")), ""),
        None => (
            format!("no gate has judged version {version}"),
            ": bellwether evaluate and your own eyes say what it is worth",
        ),
    };
    Err(Failure { exit: Exit::Refused, message, remedy: format!("add --force to name it all the same{remedy}") })
}

/// Who rolls back twice would name again what was taken back the first time.
fn not_taken_back(registry: &Registry) -> Result<(), Failure> {
    stays_taken_back(registry.naming().map_err(told)?)
}

/// What a rollback took back is not named again without more ado.
fn stays_taken_back(change: Option<Change>) -> Result<(), Failure> {
    match change {
        Some(Change { action: Action::Rollback, before: Some(version), by, reason, at, .. }) => Err(Failure {
            exit: Exit::Refused,
            message: format!("version {version} was taken back at {at} by {by}: {reason}"),
            remedy: "add --force to name it again, or name another: bellwether model promote VERSION --reason TEXT"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

fn warrant_of(arguments: &WarrantArguments) -> Warrant {
    let by = arguments.by.clone().or_else(config::user).unwrap_or_else(|| "unknown".to_owned());
    Warrant { at: SystemClock::new().now(), by, reason: arguments.reason.clone() }
}

pub(super) fn told(error: RegistryError) -> Failure {
    let message = error.to_string();
    match error {
        RegistryError::Overtaken { .. } => Failure {
            exit: Exit::Refused,
            message,
            remedy: "retrain again, or name it all the same: bellwether model promote --force".to_owned(),
        },
        RegistryError::Model(_) => Failure::unavailable(message, ""),
        RegistryError::File { .. } => {
            Failure::unavailable(message, "check --model, and that the folder can be written")
        }
        RegistryError::History { .. } => Failure::data(message, "take the line out"),
        RegistryError::Already(_) => Failure::usage(message, "nothing was changed"),
        RegistryError::NoEarlier { .. } => {
            Failure::usage(message, "name a version: bellwether model promote VERSION --reason TEXT")
        }
    }
}

/// Loads the version that is to answer, as a pipeline would: its hashes and golden answers are checked.
fn check(
    registry: &Registry,
    folder: &Path,
    version: &str,
    arguments: &WarrantArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let candidate = version_folder(folder, version)?;
    let bundle = model::open(Some(&candidate), arguments.device.0)?;
    let manifest = manifest_of(&candidate).map_err(|error| told(error.into()))?;
    let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if (manifest.name.as_str(), manifest.version.as_str()) != (name.as_str(), version) {
        let found = format!("{} says that it is {} {}", candidate.display(), manifest.name, manifest.version);
        return Err(Failure::unavailable(found, "put the model under its own name and version"));
    }
    let champion = registry.champion().ok().and_then(|version| manifest_of(&folder.join(version)).ok());
    if champion.is_some_and(|champion| labels(&champion.tasks) != labels(bundle.tasks())) {
        output.line(
            "its tasks or labels are others: a running pipeline goes on with the old one until it is started anew",
        )?;
    }
    Ok(())
}

fn labels(tasks: &[Task]) -> Vec<(&str, &[String])> {
    tasks.iter().map(|task| (task.name.as_str(), task.labels.as_slice())).collect()
}

fn version_folder(folder: &Path, version: &str) -> Result<PathBuf, Failure> {
    let place = folder.join(version);
    if is_version(version) && place.is_dir() {
        return Ok(place);
    }
    Err(Failure::usage(
        format!("there is no version `{version}` in {}", folder.display()),
        "`bellwether model list` shows those that there are",
    ))
}

fn say(change: &Change, output: &mut Output) -> Result<(), Failure> {
    let before = change.before.as_ref().map(|before| format!(" after version {before}")).unwrap_or_default();
    output
        .line(format!("version {} is the champion{before}; pipelines that run load it within seconds", change.champion))
}

#[derive(Serialize)]
struct Listed {
    version: String,
    champion: bool,
    challenger: bool,
    #[serde(flatten)]
    manifest: Option<Summary>,
    /// Why it cannot be used.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    created_at: String,
    parent: Option<String>,
    variants: Vec<String>,
}

fn list(registry: &Registry, json: bool, output: &mut Output) -> Result<(), Failure> {
    let (champion, challenger) = (registry.champion().ok(), registry.challenger());
    let versions = registry.versions().map_err(told)?;
    let listed: Vec<Listed> = versions
        .into_iter()
        .map(|Version { name, manifest }| {
            let champion = champion.as_ref() == Some(&name);
            let challenger = challenger.as_ref() == Some(&name);
            let problem = manifest.as_ref().err().map(ToString::to_string);
            Listed { version: name, champion, challenger, manifest: manifest.ok().map(|it| summary(&it)), problem }
        })
        .collect();
    if json {
        return output.json(&listed);
    }
    let width = listed.iter().map(|one| one.version.len()).max().unwrap_or(0).max("version".len());
    output.line(format!("  {:width$}  {:10}  {:width$}  variants", "version", "made", "parent"))?;
    for Listed { version, champion, challenger, manifest, problem } in listed {
        let mark = match (champion, challenger) {
            (true, _) => '*',
            (false, true) => '?',
            (false, false) => ' ',
        };
        let rest = match (manifest, problem) {
            (Some(it), _) => {
                let (made, parent) = (it.created_at.get(..10).unwrap_or_default(), it.parent.unwrap_or_default());
                format!("{made:10}  {parent:width$}  {}", it.variants.join(", "))
            }
            (None, problem) => problem.unwrap_or_default(),
        };
        output.line(format!("{mark} {version:width$}  {rest}").trim_end())?;
    }
    output.line("")?;
    output.line(champion.map_or_else(
        || "no version answers: there is no champion".to_owned(),
        |version| format!("* version {version} answers"),
    ))?;
    challenger.map_or(Ok(()), |version| output.line(format!("? version {version} is tried beside it")))
}

fn summary(manifest: &Manifest) -> Summary {
    let variants = manifest.variants.iter().map(|variant| variant.precision.clone()).collect();
    Summary { created_at: manifest.created_at.to_string(), parent: manifest.parent.clone(), variants }
}

#[derive(Serialize)]
struct Shown<'a> {
    champion: bool,
    manifest: &'a Manifest,
    history: &'a [Change],
}

fn show(
    registry: &Registry,
    folder: &Path,
    version: Option<&str>,
    json: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let champion = registry.champion();
    let version = match version {
        Some(version) => version.to_owned(),
        None => registry.champion().map_err(told)?,
    };
    let manifest = manifest_of(&version_folder(folder, &version)?).map_err(|error| told(error.into()))?;
    let history = registry.history().map_err(told)?;
    let is_champion = champion.is_ok_and(|champion| champion == version);
    if json {
        return output.json(&Shown { champion: is_champion, manifest: &manifest, history: &history });
    }
    let role = if is_champion { ", the champion" } else { "" };
    output.line(format!("{} version {}{role}", manifest.name, manifest.version))?;
    output.line(format!("  made        {}", manifest.created_at))?;
    output.line(format!("  parent      {}", manifest.parent.as_deref().unwrap_or("none")))?;
    let languages = manifest.languages.join(", ");
    output.line(format!("  languages   {}", if languages.is_empty() { "any" } else { &languages }))?;
    output.line(format!("  reads       {} tokens", manifest.max_tokens))?;
    for variant in &manifest.variants {
        output.line(format!("  {:10}  {} on {}", variant.precision, variant.file, variant.devices.join(", ")))?;
    }
    for task in &manifest.tasks {
        let (name, below) = (&task.name, task.abstain_below);
        output.line(format!("  {name:10}  {} (none below {below:.2})", task.labels.join(", ")))?;
    }
    if !manifest.metrics.is_null() {
        output.line(format!("  reached     {}", manifest.metrics))?;
    }
    tell_history(&history, output)
}

fn tell_history(history: &[Change], output: &mut Output) -> Result<(), Failure> {
    if history.is_empty() {
        return output.line("\nno change of champion is on record");
    }
    output.line("\nchampions, the newest last")?;
    for Change { at, action, champion, before, challenger, by, reason } in history {
        let (before, tried) = [before, challenger].map(|version| version.as_deref().unwrap_or("none")).into();
        output.line(match action {
            Action::Promote => format!("  {at}  promoted {champion} (before: {before}) by {by}: {reason}"),
            Action::Rollback => format!("  {at}  rolled back to {champion} (before: {before}) by {by}: {reason}"),
            Action::Challenge => format!("  {at}  tried {tried} beside {champion} by {by}: {reason}"),
        })?;
    }
    Ok(())
}
