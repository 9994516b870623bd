//! The HTTP server of a process: its own routes, with request metrics, and health and metrics.

use std::{
    io,
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
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Health, RunError, health,
    metrics::{self, Metrics},
};

/// The route label of requests to unknown paths, so that paths do not become label values.
const NO_ROUTE: &str = "none";

/// Open connections; further ones wait to be accepted. Requests are limited separately.
const MAX_CONNECTIONS: usize = 1024;
/// Time until a request's head is complete, and for which an idle connection is kept: longer than
/// clients keep their idle connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
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
    Ok(tokio::spawn(accept(listener, app, HEAD_TIMEOUT, shutdown)))
}

/// Like `axum::serve`, but with limits for the number of connections and the time of a head.
async fn accept(
    listener: TcpListener,
    app: Router,
    head_timeout: Duration,
    shutdown: CancellationToken,
) {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let open = GracefulShutdown::new();
    loop {
        let (stream, place) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = next(&listener, &places) => next,
        };
        let service = TowerToHyperService::new(app.clone());
        let connection = open.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP connection failed");
            }
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// The next connection, and its permit of the limit.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.unwrap_or_else(|_| unreachable!("nobody closes it"));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
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
