//! How fast the sessions are with nothing around them: the figure that a pipeline is measured against.
//!
//! Texts are cleaned, tokenised and sorted by length over the whole set before the clock starts, so what is timed is
//! building the input tensors, running the graph and reading its logits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::model::Encoded;
use crate::onnx::directory::read_verified;
use crate::onnx::graph::{Graph, GraphPlan};
use crate::onnx::{Bundle, BundleError};

/// How the sessions are set up for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Combination {
    /// Sessions side by side.
    pub sessions: usize,
    /// Threads a session.
    pub threads: usize,
    /// Rows a batch.
    pub rows: usize,
}

/// What one run gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BareRun {
    /// How it was set up.
    pub combination: Combination,
    /// Texts that were scored.
    pub texts: usize,
    /// How long it took.
    pub seconds: f64,
    /// CPU seconds of the whole process meanwhile; `None` where the system does not tell.
    pub cpu_seconds: Option<f64>,
}

impl BareRun {
    /// Texts a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number of texts is far below 2^52")]
    pub fn texts_per_second(&self) -> f64 {
        self.texts as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Texts a CPU second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number of texts is far below 2^52")]
    pub fn texts_per_cpu_second(&self) -> Option<f64> {
        self.cpu_seconds.map(|seconds| self.texts as f64 / seconds.max(f64::MIN_POSITIVE))
    }
}

impl Combination {
    /// Those worth trying on `cores` cores: as many sessions as cores, one session of all cores, and what lies between,
    /// each with small and large batches.
    #[must_use]
    pub fn worth_trying(cores: usize) -> Vec<Self> {
        let splits = (1..=cores.max(1)).filter(|sessions| cores.max(1).is_multiple_of(*sessions));
        let rows = [1, 4, 8, 16, 32];
        splits.flat_map(|sessions| rows.map(|rows| Self { sessions, threads: cores.max(1) / sessions, rows })).collect()
    }
}

impl Bundle {
    /// Runs `texts` through fresh sessions, set up as `combination` says. Does not touch the cache or the stats.
    ///
    /// # Errors
    /// When the sessions cannot be opened or the graph fails.
    pub fn bare(&self, texts: &[Encoded], combination: Combination) -> Result<BareRun, BundleError> {
        let bytes = read_verified(&self.plan.path, &self.sha256)?;
        let plan = GraphPlan { threads: combination.threads, ..self.plan.clone() };
        let graphs: Result<Vec<Graph>, BundleError> =
            (0..combination.sessions.max(1)).map(|_| Graph::open(&self.runtime, &bytes, &plan)).collect();
        let mut graphs = graphs?;
        let mut sorted: Vec<&Encoded> = texts.iter().collect();
        sorted.sort_by_key(|text| std::cmp::Reverse(text.ids.len()));
        let batches: Vec<&[&Encoded]> = sorted.chunks(combination.rows.max(1)).collect();
        let unusable = |reason: String| BundleError::Unusable { path: plan.path.clone(), reason };
        // The first run of a session sets up its memory: not part of the figure.
        for graph in &mut graphs {
            graph.run(batches.first().copied().unwrap_or_default()).map_err(unusable)?;
        }

        let next = AtomicUsize::new(0);
        let cpu = cpu_time();
        let start = self.clock.monotonic();
        let outcome: Result<(), String> = std::thread::scope(|scope| {
            let work = |mut graph: Graph| {
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    graph.run(batch)?;
                }
                Ok(())
            };
            let threads: Vec<_> = graphs.into_iter().map(|graph| scope.spawn(move || work(graph))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err("a thread that ran the model died".to_owned()))
            })
        });
        outcome.map_err(unusable)?;
        let seconds = self.clock.monotonic().saturating_sub(start).as_secs_f64();
        let cpu_seconds = cpu.zip(cpu_time()).map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        Ok(BareRun { combination, texts: texts.len(), seconds, cpu_seconds })
    }
}

/// CPU time of this process so far, user and system; `None` where there is no `/proc`.
///
/// Fields 14 and 15 of `/proc/self/stat`, in ticks of 10 ms (proc(5); Linux shows 100 ticks a second to programs
/// whatever the kernel uses). Counted after the last `)`, for a program's name may hold spaces.
#[must_use]
pub fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}
