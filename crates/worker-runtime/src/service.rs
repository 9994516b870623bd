//! One process: its health, its HTTP port and its end.

use std::time::Duration;

use axum::Router;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Health, RunError, health, settings, shutdown};

/// Requests that are still under way at the end get this long.
const HTTP_DRAIN: Duration = Duration::from_secs(3);

/// What every role of the binary has: `/live` and `/ready` on `HTTP_PORT`, and a token that
/// SIGTERM cancels.
#[derive(Debug)]
pub struct Service {
    /// For the parts of the process to tell their state.
    pub health: Health,
    /// Cancelled when the process is to end.
    pub shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Service {
    /// Listens on `HTTP_PORT` (8080), `routes` included; `parts` are not ready yet.
    ///
    /// # Errors
    /// The port is wrong or taken.
    pub async fn start(parts: &[&str], routes: Router) -> Result<Self, RunError> {
        let shutdown = shutdown::token()?;
        let health = Health::starting(parts);
        let port = settings::port("HTTP_PORT", 8080)?;
        let server = health::serve(port, health.clone(), routes, shutdown.clone()).await?;
        Ok(Self {
            health,
            shutdown,
            server,
        })
    }

    /// Ends the HTTP server; waits a bounded time for requests under way.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if tokio::time::timeout(HTTP_DRAIN, self.server).await.is_err() {
            tracing::warn!("HTTP requests still under way were abandoned");
        }
    }
}
