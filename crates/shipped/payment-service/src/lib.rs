//! Takes payments over HTTP and announces each as `PURCHASE_CONFIRMED`.
//!
//! - [`routes`]: `POST /payments` and `GET /payments/{id}`, with their validation;
//! - [`payments`]: a payment and its announcement, written together, once per idempotency key;
//! - [`relay`]: from the outbox to Kafka; [`backlog`]: how much waits there.
//!
//! A payment is answered once it is committed, before anything downstream has happened: Kafka
//! may be away, and no payment is lost for it.

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

/// Commits of a burst of payments share their flush to disk when there are several at once.
const CONNECTIONS: u32 = 16;
/// For what is in the outbox when the service is told to stop; another start sends the rest.
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// Runs the service until SIGTERM.
///
/// # Errors
/// A setting is wrong, the port is taken, or the Kafka client is beyond recovery.
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

/// Until the end of the process, or of the relay: without it payments would pile up unannounced.
async fn serve(
    service: Service,
    mut relay: JoinHandle<Result<(), RunError>>,
    stop_relay: CancellationToken,
) -> Result<(), RunError> {
    let ended = tokio::select! {
        () = service.shutdown.cancelled() => None,
        outcome = &mut relay => Some(outcome),
    };
    // First no more payments, then the announcements of the last ones.
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
