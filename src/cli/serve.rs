//! What every running command shares: the page, signals, and the assembly with its model.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::model::Scorer;
use crate::onnx::Bundle;
use crate::pipeline::{Assembly, Settings, TapeEvent, Witness};
use crate::telemetry::Metrics;
use crate::time::Clock;
use crate::web::{Board, Parts, Running, Server};

/// The page and the signals of a running command.
pub struct Service {
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
    /// Binds the page and waits for signals: the first SIGTERM or Ctrl-C asks to finish, the second ends at once.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("the runtime cannot be started")?;
        let metrics = Metrics::new().context("the metrics cannot be registered")?;
        let board = Arc::new(Board::new(&settings.name));
        let shutdown = CancellationToken::new();
        let rendered = metrics.clone();
        let parts = Parts { board: board.clone(), metrics: Arc::new(move || rendered.render()), clock };
        let server = runtime.block_on(Server::start(&settings.web, parts, shutdown.clone()))?;
        let (stop, stopped) = bounded(0);
        runtime.spawn(signals(stop));
        Ok(Self { runtime, server, shutdown, stopped, metrics, board })
    }

    /// Disconnected when a person or the system asked to stop.
    #[must_use]
    pub fn stopped(&self) -> Receiver<()> {
        self.stopped.clone()
    }

    /// Where the page is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Ends the page.
    pub fn end(self) {
        self.shutdown.cancel();
        if let Ok(Err(error)) = self.runtime.block_on(self.server.task) {
            tracing::warn!(%error, "the page ended badly");
        }
        self.runtime.shutdown_background();
    }
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
    std::process::exit(130);
}

/// Loads the model and joins the parts. `clock` is the time of records, `wall` that of latencies.
///
/// # Errors
/// When ONNX Runtime, the model or the instruments are missing or wrong.
pub fn assembly(
    settings: Settings,
    service: &Service,
    clock: Arc<dyn Clock>,
    wall: Arc<dyn Clock>,
    tape: Option<(Sender<TapeEvent>, bool)>,
) -> Result<Assembly> {
    let scorer: Arc<dyn Scorer> = Arc::new(Bundle::load(&settings.model, wall.clone())?);
    let (tape, tape_waits) = tape.map_or((None, false), |(tape, waits)| (Some(tape), waits));
    let witness =
        Witness { metrics: service.metrics.clone(), board: service.board.clone(), clock: wall, tape, tape_waits };
    Ok(Assembly::new(Arc::new(settings), scorer, witness, clock)?)
}
