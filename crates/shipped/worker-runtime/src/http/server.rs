//! The HTTP server of a process: its own routes, with request metrics, and health and metrics.
//!
//! Connections are limited (`connections`). When the limit is reached, a new connection takes the place of the one
//! that has waited longest for its next request, so that connections on which nothing arrives cannot keep probes
//! of `/live` and `/ready` from being answered.

mod connections;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::{self, Next},
    response::Response,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Health, RunError, health,
    metrics::{self, Metrics},
};
use connections::{Connections, Limits, Watched};

/// The route label of requests to unknown paths, so that paths do not become label values.
const NO_ROUTE: &str = "none";

/// Limits of [`serve`]. Requests are limited separately.
const LIMITS: Limits = Limits {
    connections: 2048,
    // More than half: clients behind one proxy, or on the host, have one address.
    of_one_peer: 1536,
    head: Duration::from_secs(5),
    idle: Duration::from_secs(120),
};
/// Delay after a failed accept, for example because of too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves `/live`, `/ready`, `/metrics` and `routes` on all interfaces until `shutdown`, then
/// finishes the open requests. The handle ends with the server.
///
/// # Errors
/// The port is taken.
pub(crate) async fn serve(
    port: u16,
    health: Health,
    metrics: Metrics,
    routes: Router,
    shutdown: CancellationToken,
) -> Result<JoinHandle<()>, RunError> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await.map_err(|e| {
        RunError::Start(format!(
            "cannot listen on port {port}: {e}; set HTTP_PORT to a free one"
        ))
    })?;
    let app = app(health, metrics, routes);
    Ok(tokio::spawn(accept(listener, app, LIMITS, shutdown)))
}

/// Like `axum::serve`, but with limits for the number of connections and the time of a head.
async fn accept(listener: TcpListener, app: Router, limits: Limits, shutdown: CancellationToken) {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle);
    let connections = Arc::new(Connections::new(limits));
    let open = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = next(&listener) => next,
        };
        // None: all connections are busy with requests. Closing this one is the answer to overload.
        let Some(place) = connections.enter(peer.ip()) else {
            continue;
        };
        let service = TowerToHyperService::new(place.track(app.clone()));
        let stream = TokioIo::new(Watched::new(stream, &place));
        let connection = open.watch(server.serve_connection(stream, service));
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "HTTP connection failed");
                    }
                }
                () = place.overdue() => tracing::debug!(%peer, "HTTP connection closed: no request"),
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// The next connection, and its other end.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_caller(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the caller closed the connection before it was accepted.
fn is_of_the_caller(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// Only a service's own routes have request metrics; probes and scrapes do not.
fn app(health: Health, metrics: Metrics, routes: Router) -> Router {
    let measured = middleware::from_fn_with_state(metrics.clone(), measure);
    health::router(health)
        .merge(metrics::router(metrics))
        .merge(routes.layer(measured))
}

async fn measure(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method(request.method());
    // Cheap to clone; the request itself goes on.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    metrics.answered(method, route, response.status(), began.elapsed());
    response
}

/// The method as a label value: unknown methods share one value, so that labels are bounded.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
