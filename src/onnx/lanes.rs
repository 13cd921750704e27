//! Spreads a pool over sessions: one lane a session, each takes the next batch when it is done with its own.
//!
//! A lane is locked for the length of one pool, and the threads of a pool end with it: between pools nothing runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::event::Verdict;
use crate::model::{BatchStats, Encoded, PackLimits, Readout, ScoreFailure, divide, pack};
use crate::onnx::graph::Graph;
use crate::time::Clock;

/// A row's place in the pool and what came of it.
pub(super) type Scored = (usize, Result<Verdict, ScoreFailure>);

/// The sessions of a bundle.
pub(super) struct Lanes {
    lanes: Vec<Mutex<Graph>>,
    readout: Readout,
    /// A text that the model is known to answer.
    probe: Encoded,
    clock: Arc<dyn Clock>,
}

/// One pool while it is worked off.
struct Run<'a> {
    pool: &'a [&'a Encoded],
    batches: Vec<Vec<usize>>,
    next: AtomicUsize,
    broken: OnceLock<String>,
}

impl Lanes {
    pub(super) fn new(graphs: Vec<Graph>, readout: Readout, probe: Encoded, clock: Arc<dyn Clock>) -> Self {
        Self { lanes: graphs.into_iter().map(Mutex::new).collect(), readout, probe, clock }
    }

    /// Scores a pool: every row once, in any order, with the batches that were run.
    pub(super) fn score(&self, pool: &[&Encoded], limits: PackLimits) -> (Vec<Scored>, Vec<BatchStats>) {
        let lengths: Vec<usize> = pool.iter().map(|text| text.ids.len()).collect();
        // A small pool is shared out too: every lane gets a batch before any gets a full one.
        let share = lengths.iter().sum::<usize>().div_ceil(self.lanes.len().max(1));
        let batches = pack(&lengths, PackLimits { tokens_max: limits.tokens_max.min(share.max(1)), ..limits });
        let run = Run { pool, batches, next: AtomicUsize::new(0), broken: OnceLock::new() };
        let helpers = self.lanes.len().min(run.batches.len()).saturating_sub(1);
        let mut scored = Vec::with_capacity(pool.len());
        let mut stats = Vec::with_capacity(run.batches.len());
        std::thread::scope(|scope| {
            let others = self.lanes.iter().skip(1).take(helpers);
            let threads: Vec<_> = others.map(|lane| scope.spawn(|| self.work(lane, &run))).collect();
            let own = self.lanes.first().map(|lane| self.work(lane, &run));
            let joined = threads.into_iter().filter_map(|thread| thread.join().ok());
            for (rows, batches) in own.into_iter().chain(joined) {
                scored.extend(rows);
                stats.extend(batches);
            }
        });
        (scored, stats)
    }

    /// Takes batches until none is left.
    fn work(&self, lane: &Mutex<Graph>, run: &Run<'_>) -> (Vec<Scored>, Vec<BatchStats>) {
        let mut graph = lane.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scored = Vec::new();
        let mut stats = Vec::new();
        while let Some(batch) = run.batches.get(run.next.fetch_add(1, Ordering::Relaxed)) {
            let mut ask = |rows: &[usize]| self.ask(&mut graph, run, rows, &mut stats);
            divide(batch, &mut ask, &mut |row, result| {
                scored.push((row, result.and_then(|verdict| verdict)));
            });
        }
        (scored, stats)
    }

    /// One run of the graph. Fails as a whole only when the graph does; a row whose logits are no numbers fails alone.
    fn ask(
        &self,
        graph: &mut Graph,
        run: &Run<'_>,
        rows: &[usize],
        stats: &mut Vec<BatchStats>,
    ) -> Result<Vec<Result<Verdict, ScoreFailure>>, ScoreFailure> {
        if let Some(reason) = run.broken.get() {
            return Err(ScoreFailure::Broken(reason.clone()));
        }
        let texts: Vec<&Encoded> = rows.iter().filter_map(|&row| run.pool.get(row).copied()).collect();
        let start = self.clock.monotonic();
        let answered = graph.run(&texts);
        let seconds = self.clock.monotonic().saturating_sub(start).as_secs_f64();
        let heads = match answered {
            Ok(heads) => heads,
            Err(reason) => {
                tracing::warn!(rows = rows.len(), %reason, "a batch failed");
                return Err(self.blame(graph, run, rows, reason));
            }
        };
        let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        stats.push(BatchStats {
            rows: texts.len(),
            text_tokens: texts.iter().map(|text| text.ids.len()).sum(),
            padded_tokens: texts.len() * longest,
            seconds,
        });
        Ok((0..texts.len()).map(|row| self.readout.verdict(&heads, row)).collect())
    }

    /// A text that fails alone is at fault only if another text, which is known to work, still works.
    fn blame(&self, graph: &mut Graph, run: &Run<'_>, rows: &[usize], reason: String) -> ScoreFailure {
        if rows.len() > 1 || graph.run(&[&self.probe]).is_ok() {
            return ScoreFailure::Inference(reason);
        }
        let _ = run.broken.set(reason.clone());
        ScoreFailure::Broken(reason)
    }
}
