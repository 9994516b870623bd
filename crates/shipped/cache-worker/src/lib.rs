//! A purchase makes the student's cached pages stale: `PURCHASE_CREATED` → two Redis keys
//! deleted. Fire and forget: the cache's entries expire by themselves, so a dead Redis is never
//! worth waiting for.

mod cache;
mod processor;

use std::time::Duration;

use worker_runtime::{RunError, telemetry, worker::Worker};

/// Consumer group, service.
const NAME: &str = "cache-worker";
/// For one deletion, connecting included.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Runs until the process is told to end. Settings: `KAFKA_BROKERS`, `REDIS_URL`, `REDIS_PASSWORD`,
/// `HTTP_PORT`, `LOG_FORMAT`.
///
/// # Errors
/// A setting is wrong, or the Kafka client cannot go on.
pub async fn run() -> Result<(), RunError> {
    let _log = telemetry::init("CacheWorker")?;
    let cache = cache::Cache::new(cache::address()?, TIMEOUT)?;
    let worker = Worker::start(NAME).await?;
    let processor = processor::Invalidation::new(cache, worker.service.health.clone());
    worker.run(processor).await
}
