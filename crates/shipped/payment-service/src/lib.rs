//! Accepts payments over HTTP and emits a `PURCHASE_CONFIRMED` event for each.
//!
//! - [`routes`]: `POST /payments` and `GET /payments/{id}`, with their validation;
//! - [`payments`]: writes a payment and its outbox row together, once per idempotency key;
//! - [`relay`]: sends outbox rows to Kafka; [`backlog`]: the number of unsent rows.
//!
//! A request is answered once the payment is committed, before its event is sent: no payment is lost
//! while Kafka is unavailable.

mod backlog;
mod payments;
mod relay;
mod routes;

use std::{sync::Arc, time::Duration};

use caravan_events::names::PURCHASE_CONFIRMED_TOPIC;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use worker_runtime::{
    Housekeeping, RunError, Service, database,
    http::{self, BearerToken},
    kafka, settings, telemetry,
};

use crate::{payments::Payments, relay::Relay};

/// Concurrent commits of a burst of payments share their flush to disk (group commit).
const CONNECTIONS: u32 = 16;
/// Time to send the outbox at shutdown; the next start sends the rest.
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// Runs the service until SIGTERM.
///
/// # Errors
/// A setting is wrong, the port is taken, or the Kafka client has a fatal error.
pub async fn run() -> Result<(), RunError> {
    let _log = telemetry::init("PaymentService")?;
    let pool = database::pool(database::address()?, CONNECTIONS);
    let brokers = settings::required("KAFKA_BROKERS")?;
    let producer = kafka::producer(&brokers)?;
    let token = BearerToken::new(&settings::required_secret("API_TOKEN")?);
    let accepted = Arc::new(Notify::new());
    let payments = Payments::new(pool.clone(), Arc::clone(&accepted));
    let routes = http::guard(routes::routes(payments), token);
    let service = Service::start(&[database::PART], routes).await?;
    service.metrics.watch_pool(pool.clone());
    if !database::wait(&pool, &service.health, &service.shutdown).await {
        service.stop().await;
        return Ok(());
    }
    tokio::spawn(database::watch(
        pool.clone(),
        service.health.clone(),
        service.shutdown.clone(),
    ));
    let metrics = service.metrics.outbox();
    tokio::spawn(backlog::watch(
        pool.clone(),
        metrics.clone(),
        service.shutdown.clone(),
    ));
    let outbox = Housekeeping::outbox(pool.clone(), &brokers, PURCHASE_CONFIRMED_TOPIC);
    tokio::spawn(outbox.run(service.shutdown.clone()));
    let relay = Relay::new(pool, producer, accepted, &service, metrics);
    let stop = CancellationToken::new();
    let relay = tokio::spawn(relay.run(stop.clone()));
    telemetry::started();
    serve(service, relay, stop).await
}

/// Runs until shutdown, or until the relay ends: without it no event would be sent.
async fn serve(
    service: Service,
    mut relay: JoinHandle<Result<(), RunError>>,
    stop_relay: CancellationToken,
) -> Result<(), RunError> {
    let ended = tokio::select! {
        () = service.shutdown.cancelled() => None,
        outcome = &mut relay => Some(outcome),
    };
    // First stop accepting payments, then send the events of the last ones.
    service.stop().await;
    stop_relay.cancel();
    let outcome = match ended {
        Some(outcome) => outcome,
        None => match timeout(RELAY_DRAIN, relay).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!(
                    "stopped before the outbox was empty; the next start sends the rest"
                );
                return Ok(());
            }
        },
    };
    outcome.unwrap_or_else(|e| Err(RunError::Start(format!("the relay: {e}"))))
}
