//! One process: its health, metrics, watchdog, HTTP port and shutdown.

use std::time::Duration;

use axum::Router;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Health, RunError, http,
    metrics::Metrics,
    settings, shutdown,
    watchdog::{self, Exit, Limits, Watchdog},
};

/// Time for open requests to finish at shutdown.
const HTTP_DRAIN: Duration = Duration::from_secs(3);

/// What every role of the binary has: `/live`, `/ready` and `/metrics` on `HTTP_PORT`, a watchdog,
/// and a token that SIGTERM cancels.
#[derive(Debug)]
pub struct Service {
    /// The states of the parts of the process.
    pub health: Health,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// Checks that the parts of the process make progress.
    pub watchdog: Watchdog,
    /// Cancelled when the process has to end.
    pub shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Service {
    /// Listens on `HTTP_PORT` (8080), `routes` included; `parts` are not ready yet. The watchdog
    /// watches the runtime.
    ///
    /// # Errors
    /// The port is wrong or taken.
    pub async fn start(parts: &[&str], routes: Router) -> Result<Self, RunError> {
        Self::watched(parts, routes, Limits::default(), watchdog::end_process()).await
    }

    /// As [`Service::start`], with the given watchdog limits and exit function.
    ///
    /// # Errors
    /// The port is wrong or taken.
    pub async fn watched(
        parts: &[&str],
        routes: Router,
        limits: Limits,
        exit: Exit,
    ) -> Result<Self, RunError> {
        let shutdown = shutdown::token()?;
        let health = Health::starting(parts);
        let metrics = Metrics::new(health.clone());
        let port = settings::port("HTTP_PORT", 8080)?;
        let token = shutdown.clone();
        let server = http::serve(port, health.clone(), metrics.clone(), routes, token).await?;
        let watchdog = Watchdog::start(limits, health.clone(), exit)?;
        watchdog.watch_runtime();
        Ok(Self {
            health,
            metrics,
            watchdog,
            shutdown,
            server,
        })
    }

    /// Stops the HTTP server; waits a bounded time for open requests.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if tokio::time::timeout(HTTP_DRAIN, self.server).await.is_err() {
            tracing::warn!("HTTP requests still under way were abandoned");
        }
    }
}
