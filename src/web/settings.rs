//! The one listener.

use std::net::SocketAddr;

/// Page, metrics and health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9_898)) }
    }
}
