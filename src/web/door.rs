//! The door: how many connections are open at once, and how long one may go without an answer.
//!
//! A connection beyond the bound waits in the system's accept queue until another ends. None stays for good then: whoever
//! asks nothing, asks too slowly or does not read what it asked for is shown out, and where there is no room left each
//! answer ends its connection. So probes and scrapes come through.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections that are open at once.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may stay open without a byte of an answer that leaves on it.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);

/// A listener that lets as many in as there is room for.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Says whether all places are taken, that of the next one who comes included.
    pub(super) fn is_full(&self) -> impl Fn() -> bool + Clone + Send + Sync + 'static {
        let room = self.room.clone();
        move || room.available_permits() == 0
    }
}

impl Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        // An error would say that the semaphore is closed, which nobody does.
        let place = self.room.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Guest { stream, patience: Box::pin(sleep(UNANSWERED_MAX)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection. Its place is free when it is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    stream: TcpStream,
    /// Begins anew with each byte that is written.
    patience: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Guest {
    /// What came of a call, or an error when it waits and has waited for too long.
    fn in_time<T>(&mut self, came: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if came.is_ready() {
            return came;
        }
        ready!(self.patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// As [`Guest::in_time`]; what was written begins the time anew.
    fn written(&mut self, came: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = came {
            self.patience.set(sleep(UNANSWERED_MAX));
        }
        self.in_time(came, cx)
    }
}

impl AsyncRead for Guest {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guest = self.get_mut();
        let came = Pin::new(&mut guest.stream).poll_read(cx, buffer);
        guest.in_time(came, cx)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guest = self.get_mut();
        let came = Pin::new(&mut guest.stream).poll_write(cx, bytes);
        guest.written(came, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let guest = self.get_mut();
        let came = Pin::new(&mut guest.stream).poll_write_vectored(cx, parts);
        guest.written(came, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
