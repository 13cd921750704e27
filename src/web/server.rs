//! The listener: binds, serves until it is told to stop, and ends within a bound.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::answer::routes;
use super::door::Door;
use super::{Board, WebSettings};
use crate::time::Clock;

/// How long a reader may take to end once the process ends: a reader that hangs must not hold it up.
const GRACE: Duration = Duration::from_secs(2);

/// How long an address that is taken is tried: a process that was killed and started again finds its own port taken
/// until the system has cleared it away.
const TAKEN: Duration = Duration::from_secs(2);

/// How long is waited between two tries.
const AGAIN: Duration = Duration::from_millis(50);

/// What the answers are made of.
#[derive(Clone)]
pub struct Parts {
    /// What the page shows.
    pub board: Arc<Board>,
    /// Writes the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The clock that rates are taken by.
    pub clock: Arc<dyn Clock>,
    /// What time the page says it is: the same clock, or that of a play.
    pub time: Arc<dyn Clock>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("board", &self.board).finish_non_exhaustive()
    }
}

/// What can go wrong with the listener.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address cannot be had.
    #[error(
        "the page cannot listen on {address}: {source}; name another address under [web] listen or in \
         BELLWETHER__WEB__LISTEN (port 0 takes a free one)"
    )]
    Bind {
        /// The address of the settings.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It ended while it was still wanted.
    #[error("the page on {address} ended: {source}")]
    Serve {
        /// The address that it listened on.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    /// Where it listens, with the port that it got.
    pub address: SocketAddr,
    /// Ends after the shutdown token was cancelled, at the latest two seconds later.
    pub task: JoinHandle<Result<(), WebError>>,
}

/// The page, metrics and health on one address.
#[derive(Debug, Clone, Copy)]
pub struct Server;

impl Server {
    /// Binds and starts to serve on the current tokio runtime; stops when `shutdown` is cancelled. An address that is
    /// taken is tried again for two seconds.
    ///
    /// # Errors
    /// [`WebError::Bind`] when the address stays taken, is not ours or not allowed.
    pub async fn start(settings: &WebSettings, parts: Parts, shutdown: CancellationToken) -> Result<Running, WebError> {
        let refused = |source| WebError::Bind { address: settings.listen, source };
        let listener = bind(settings.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        tracing::info!(%address, "the page is at http://{address}");
        Ok(Running { address, task: tokio::spawn(serve(listener, address, parts, shutdown)) })
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let mut waited = Duration::ZERO;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && waited < TAKEN => {
                tokio::time::sleep(AGAIN).await;
                waited += AGAIN;
            }
            bound => return bound,
        }
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    parts: Parts,
    shutdown: CancellationToken,
) -> Result<(), WebError> {
    let door = Door::new(listener);
    let routes = routes(parts, door.is_full());
    let serving = axum::serve(door, routes).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        ended = async { serving.await } => ended.map_err(|source| WebError::Serve { address, source }),
        () = grace(shutdown) => Ok(()),
    }
}

async fn grace(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
