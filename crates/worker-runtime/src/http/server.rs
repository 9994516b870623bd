//! The HTTP server of a process: its own routes, measured, beside health and metrics.

use std::time::Instant;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::{self, Next},
    response::Response,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Health, RunError, health,
    metrics::{self, Metrics},
};

/// The route of a request to a path that there is not: whatever was asked for stays out of the
/// metrics' labels.
const NO_ROUTE: &str = "none";

/// Serves `/live`, `/ready`, `/metrics` and `routes` on all interfaces until `shutdown`, then
/// finishes the requests that are under way. The handle ends with the server.
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
    Ok(tokio::spawn(async move {
        let server = axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(e) = server.await {
            tracing::error!(error = %e, "HTTP server ended");
        }
    }))
}

/// Only a service's own routes are measured: probes and scrapes are no work.
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

/// A caller may call a method whatever it likes; a label may not be that.
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
