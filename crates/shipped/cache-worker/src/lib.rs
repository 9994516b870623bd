//! Invalidates a student's cached pages after a purchase: consumes `PURCHASE_CREATED` and deletes two
//! Redis keys. It never waits for an unavailable Redis, because cache entries expire anyway.

mod cache;
mod processor;

use std::time::Duration;

use worker_runtime::{RunError, telemetry, worker::Worker};

/// The name of the service and its consumer group.
const NAME: &str = "cache-worker";
/// Timeout of one deletion, including connecting.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Runs until SIGTERM or SIGINT. Settings: `KAFKA_BROKERS`, `REDIS_URL`, `REDIS_PASSWORD`,
/// `HTTP_PORT`, `LOG_FORMAT`.
///
/// # Errors
/// A setting is wrong, or the Kafka client has a fatal error.
pub async fn run() -> Result<(), RunError> {
    let _log = telemetry::init("CacheWorker")?;
    let cache = cache::Cache::new(cache::address()?, TIMEOUT)?;
    let worker = Worker::start(NAME).await?;
    let (health, shutdown) = (
        worker.service.health.clone(),
        worker.service.shutdown.clone(),
    );
    tokio::spawn(processor::watch(cache.clone(), health, shutdown));
    let processor = processor::Invalidation::new(cache, worker.service.health.clone());
    worker.run(processor).await
}
