//! The champion changes while the pipeline runs: the new one is loaded beside the old, checked, and put in its place
//! between two pools. What cannot be loaded is refused, once, and the old one stays. The challenger is looked for likewise.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::metrics;
use crate::model::{Scorer, Slot};
use crate::onnx::{BundleError, Champion, Named};
use crate::pipeline::Assembly;
use crate::pipeline::archive::Seat;
use crate::pipeline::shell::named;
use crate::pipeline::witness::Witness;

/// How often the file `champion` is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Looks until `stopped` is disconnected; nothing to do where a version is pinned.
///
/// # Errors
/// When the system has no thread left.
pub(in crate::pipeline) fn reload(assembly: &Assembly, stopped: Receiver<()>) -> std::io::Result<()> {
    let Some(champion) = assembly.champion.clone() else { return Ok(()) };
    let mut reload = Reload { champion, slot: assembly.slot.clone(), witness: assembly.witness.clone(), refused: None };
    let look = move || {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            reload.look();
        }
    };
    // It ends with the stages, or with the process while it loads.
    named("model-reload", look).map(drop)
}

/// Looks who is to be tried beside the champion until `stopped` is disconnected, where a share of the posts is for it.
///
/// # Errors
/// When the system has no thread left.
pub(in crate::pipeline) fn reload_challenger(assembly: &Assembly, stopped: Receiver<()>) -> std::io::Result<()> {
    let Some(champion) = assembly.champion.clone() else { return Ok(()) };
    if assembly.settings.model.challenger_share == 0.0 {
        return Ok(());
    }
    let (slot, seat, witness) = (assembly.slot.clone(), assembly.seat.clone(), assembly.witness.clone());
    let mut trial = Trial { champion, slot, seat, witness, seen: None };
    let look = move || {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            trial.look();
        }
    };
    named("challenger-load", look).map(drop)
}

/// Who sits in the challenger's seat.
struct Trial {
    champion: Arc<Champion>,
    slot: Arc<Slot>,
    seat: Seat,
    witness: Witness,
    /// What was named when it was looked at last, whether that could be loaded or not.
    seen: Option<Named>,
}

impl Trial {
    fn look(&mut self) {
        let named = match self.champion.challenger() {
            Ok(named) => named,
            // It is being written, or holds nonsense: who sits there stays.
            Err(error) => return tracing::debug!(%error, "looking for a challenger"),
        };
        // Who answers is not tried beside itself.
        let named = named.filter(|named| *named.version != *self.slot.get().id().version);
        if named == self.seen {
            return;
        }
        // The seat is given up first: whoever is being asked leaves when it has answered.
        if let Some(before) = self.seat.get() {
            self.seat.set(None);
            self.witness.metrics.forget(&metrics::CHALLENGER_INFO, &labels(&*before));
        }
        match named.as_ref().map(|named| (&named.version, self.champion.load_challenger(&named.version))) {
            None => tracing::info!("no challenger is tried any more"),
            Some((version, Ok(bundle))) => {
                tracing::info!(%version, "a challenger is tried");
                self.witness.metrics.set(&metrics::CHALLENGER_INFO, &labels(&bundle), 1.0);
                self.seat.set(Some(Arc::new(bundle)));
            }
            Some((version, Err(why))) => tracing::error!(%version, %why, "the challenger is refused"),
        }
        self.seen = named;
    }
}

struct Reload {
    champion: Arc<Champion>,
    slot: Arc<Slot>,
    witness: Witness,
    /// What was refused last; `None` within: nothing could be read. Not tried again until something else is named.
    refused: Option<Option<Named>>,
}

impl Reload {
    fn look(&mut self) {
        let wanted = match self.champion.named() {
            Ok(wanted) => wanted,
            Err(error) => return self.refuse(None, &error),
        };
        if *self.slot.get().id().version == *wanted.version {
            self.settle();
        } else if self.refused.as_ref() != Some(&Some(wanted.clone())) {
            match self.champion.load(&wanted.version) {
                Ok(bundle) => self.swap(Arc::new(bundle)),
                Err(error) => self.refuse(Some(wanted), &error),
            }
        }
    }

    fn swap(&mut self, scorer: Arc<dyn Scorer>) {
        announce(&self.witness, &*scorer);
        let before = self.slot.swap(scorer.clone());
        if before.id() != scorer.id() {
            self.witness.metrics.forget(&metrics::MODEL_INFO, &labels(&*before));
        }
        self.witness.metrics.add(&metrics::MODEL_RELOADS, &["swapped"], 1);
        tracing::info!(before = %before.id().version, now = %scorer.id().version, "another model answers from now on");
        self.settle();
    }

    fn settle(&mut self) {
        if self.refused.take().is_some() {
            self.witness.metrics.set(&metrics::MODEL_REFUSED, &[], 0.0);
            announce(&self.witness, &*self.slot.get());
        }
    }

    /// Says once why the champion is not loaded.
    fn refuse(&mut self, wanted: Option<Named>, why: &BundleError) {
        if self.refused.as_ref() == Some(&wanted) {
            return;
        }
        let (running, version) = (self.slot.get(), wanted.as_ref().map_or("?", |wanted| &wanted.version).to_owned());
        self.witness.metrics.add(&metrics::MODEL_RELOADS, &["refused"], 1);
        self.witness.metrics.set(&metrics::MODEL_REFUSED, &[], 1.0);
        self.witness.board.model(format!("{}; version {version} was refused: {why}", told(&*running)));
        tracing::error!(%version, stays = %running.id().version, %why, "the champion is refused");
        self.refused = Some(wanted);
    }
}

/// Tells metrics and page which model answers.
pub(in crate::pipeline) fn announce(witness: &Witness, scorer: &dyn Scorer) {
    witness.metrics.set(&metrics::MODEL_INFO, &labels(scorer), 1.0);
    witness.board.model(told(scorer));
    let mut drift = witness.drift.lock().unwrap_or_else(PoisonError::into_inner);
    let over = drift.begin(&scorer.id().version, scorer.reference(), scorer.unknown_token());
    for (feature, _) in over.iter().flat_map(|found| &found.distances) {
        witness.metrics.forget(&metrics::DRIFT, &[feature]);
    }
    for (task, ..) in over.iter().flat_map(|found| &found.accuracy) {
        ["estimated", "judged"].iter().for_each(|kind| witness.metrics.forget(&metrics::ACCURACY, &[task, kind]));
    }
}

fn told(scorer: &dyn Scorer) -> String {
    let id = scorer.id();
    format!("{} {} {} on {}", id.name, id.version, id.variant, scorer.device())
}

fn labels(scorer: &dyn Scorer) -> [&str; 4] {
    let id = scorer.id();
    [&*id.name, &*id.version, &*id.variant, scorer.device()]
}
