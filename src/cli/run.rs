//! `bellwether run` and `bellwether watch`: a pipeline on Kafka, and the tape of one that runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::cli::Failure;
use crate::cli::serve::{Service, assembly, end_at_once, look};
use crate::cli::tape::Tape;
use crate::codec::{decode_alert, decode_scored};
use crate::kafka::Tail;
use crate::pipeline::{RunError, RunOptions, Settings, StageName, TapeEvent, Topics, run as run_pipeline};
use crate::time::{Clock, SystemClock};

/// How long `watch` waits for a record before it looks whether it was stopped.
const WATCH_POLL: Duration = Duration::from_millis(200);
/// Records before the end of each partition that `watch` begins with.
const WATCH_LAST: u32 = 10;

/// Runs a pipeline until it is told to stop, or until the end.
///
/// # Errors
/// When something is unavailable, or a stage stopped.
pub(crate) fn run(settings: Settings, stages: BTreeSet<StageName>, until_end: bool) -> Result<()> {
    look(&settings.model)?;
    let clock = Arc::new(SystemClock::new());
    let service = Service::start(&settings, clock.clone(), clock.clone())?;
    for stage in &stages {
        service.board.stage(stage.as_str(), false, "loading the model");
    }
    let result = assembly(settings, &service, (clock.clone(), clock), None)
        .and_then(|assembly| Ok(run_pipeline(&assembly, &RunOptions { stages, until_end }, service.stopped())?));
    if let Err(error) = result {
        if matches!(error.downcast_ref(), Some(RunError::Laggards { .. })) {
            // Even to end the page would give them time to go on.
            end_at_once(Failure::of(error).tell() as u8);
        }
        service.end();
        return Err(error);
    }
    service.end();
    Ok(())
}

/// Prints what a running pipeline scores and raises, until it is told to stop.
///
/// # Errors
/// When Kafka cannot be reached.
pub(crate) fn watch(settings: &Settings) -> Result<()> {
    let clock = SystemClock::new();
    let topics = Topics::of(&settings.name);
    let stopped = crate::cli::serve::stopped()?;
    let tail = Tail::start(&settings.kafka, &[topics.scored.clone(), topics.alerts], WATCH_LAST, &clock)?;
    let mut tape = Tape::new(true);
    while tape.prints() && !stopped.is_stopped() {
        let Some(record) = tail.next(WATCH_POLL)? else { continue };
        let event = if record.partition.topic == topics.scored {
            decode_scored(&record).map(|post| TapeEvent::Scored(Box::new(post)))
        } else {
            decode_alert(&record).map(|alert| TapeEvent::Alert { alert: Box::new(alert), published_at: None })
        };
        match event {
            Ok(event) => tape.event(&event, clock.monotonic()),
            Err(letter) => tape.print(&format!("{}: {}", record.partition, letter.message)),
        }
    }
    Ok(())
}
