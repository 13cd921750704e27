//! What every running command shares: the page, signals, and the assembly with its model.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::config::ort_dylib_path;
use crate::model::{ModelSettings, Scorer};
use crate::onnx::{Bundle, Champion, RuntimeHints, manifest, runtime};
use crate::pipeline::{Assembly, Settings, TapeEvent, Witness};
use crate::telemetry::Metrics;
use crate::time::Clock;
use crate::web::{Board, Parts, Running, Server};

/// The page and the signals of a running command.
pub(crate) struct Service {
    runtime: Runtime,
    server: Running,
    shutdown: CancellationToken,
    stopped: Receiver<()>,
    /// The metrics that the page serves.
    pub metrics: Metrics,
    /// The board that the page shows.
    pub board: Arc<Board>,
}

impl Service {
    /// Binds the page, which says what `time` it is, and waits for signals: the first SIGTERM or Ctrl-C asks to finish,
    /// the second ends at once.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(crate) fn start(settings: &Settings, clock: Arc<dyn Clock>, time: Arc<dyn Clock>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("the runtime cannot be started")?;
        let metrics = Metrics::new().context("the metrics cannot be registered")?;
        let board = Arc::new(Board::new(&settings.name));
        let shutdown = CancellationToken::new();
        let rendered = metrics.clone();
        let parts = Parts { board: board.clone(), metrics: Arc::new(move || rendered.render()), clock, time };
        let server = runtime.block_on(Server::start(&settings.web, parts, shutdown.clone()))?;
        let (stop, stopped) = bounded(0);
        runtime.spawn(signals(stop));
        Ok(Self { runtime, server, shutdown, stopped, metrics, board })
    }

    /// Disconnected when a person or the system asked to stop.
    #[must_use]
    pub(crate) fn stopped(&self) -> Receiver<()> {
        self.stopped.clone()
    }

    /// Where the page is.
    #[must_use]
    pub(crate) const fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Ends the page.
    pub(crate) fn end(self) {
        self.shutdown.cancel();
        if let Ok(Err(error)) = self.runtime.block_on(self.server.task) {
            tracing::warn!(%error, "the page ended badly");
        }
        self.runtime.shutdown_background();
    }
}

/// Signals without a page.
pub(crate) struct Stopped {
    _runtime: Runtime,
    stopped: Receiver<()>,
}

impl Stopped {
    /// Whether somebody asked to stop.
    #[must_use]
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.stopped.try_recv(), Err(TryRecvError::Disconnected))
    }
}

/// Waits for signals, without a page.
///
/// # Errors
/// When the runtime cannot be started.
pub(crate) fn stopped() -> Result<Stopped> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let (stop, stopped) = bounded(0);
    runtime.spawn(signals(stop));
    Ok(Stopped { _runtime: runtime, stopped })
}

/// Holds `stop` until the first signal; the second one ends the process.
async fn signals(stop: Sender<()>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received: stop the process with SIGKILL");
        std::future::pending::<()>().await;
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop: finishing what is begun; asked once more, it ends at once");
    drop(stop);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    end_at_once(ASKED_TWICE);
}

/// The exit code of a process that was asked twice to stop, by whatever signal: what a shell gives for Ctrl-C.
const ASKED_TWICE: u8 = 130;

/// What is begun is given up. Nothing is lost, the next start goes on from what is committed. No destructors and no exit
/// handlers: threads still score and commit, and what they work with must not be taken from under them.
pub(crate) fn end_at_once(code: u8) -> ! {
    signal_hook::low_level::exit(i32::from(code))
}

/// Finds ONNX Runtime and loads a model.
///
/// # Errors
/// When either is missing or wrong; the message says what to do.
pub(crate) fn bundle(settings: &ModelSettings, clock: Arc<dyn Clock>) -> Result<Bundle> {
    Ok(Bundle::load(settings, &runtime(&runtime_hints())?, clock)?)
}

/// Whether ONNX Runtime and the model are there, before anything is bound. What is in the model is checked when it is
/// loaded.
///
/// # Errors
/// As [`bundle`].
pub(crate) fn look(settings: &ModelSettings) -> Result<()> {
    runtime(&runtime_hints())?;
    manifest(settings)?;
    Ok(())
}

/// Where ONNX Runtime is looked for.
#[must_use]
pub(crate) fn runtime_hints() -> RuntimeHints {
    RuntimeHints {
        dylib: ort_dylib_path(),
        executable_dir: std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned)),
        working_dir: std::env::current_dir().ok(),
    }
}

/// Loads the model and joins the parts. `clock` is the time of records, `wall` that of latencies.
///
/// # Errors
/// When ONNX Runtime, the model or the instruments are missing or wrong.
pub(crate) fn assembly(
    settings: Settings,
    service: &Service,
    (clock, wall): (Arc<dyn Clock>, Arc<dyn Clock>),
    tape: Option<(Sender<TapeEvent>, bool)>,
) -> Result<Assembly> {
    let scorer = Arc::new(bundle(&settings.model, wall.clone())?);
    let champion = Champion::after(&scorer, &settings.model, wall.clone());
    let joined = assembly_with(scorer.clone(), settings, service, (clock, wall), tape)?;
    Ok(joined.answering(scorer.tasks()).with_champion(champion))
}

/// The same with a model that is there.
///
/// # Errors
/// When the instruments are missing or wrong.
pub(crate) fn assembly_with(
    scorer: Arc<dyn Scorer>,
    settings: Settings,
    service: &Service,
    (clock, wall): (Arc<dyn Clock>, Arc<dyn Clock>),
    tape: Option<(Sender<TapeEvent>, bool)>,
) -> Result<Assembly> {
    let (tape, tape_waits) = tape.map_or((None, false), |(tape, waits)| (Some(tape), waits));
    let witness = Witness {
        metrics: service.metrics.clone(),
        board: service.board.clone(),
        clock: wall,
        tape,
        tape_waits,
        waiting: Arc::default(),
        drift: Arc::default(),
    };
    Ok(Assembly::new(Arc::new(settings), scorer, witness, clock)?)
}
