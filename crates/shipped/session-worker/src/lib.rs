//! Plans the sessions of each allocation: consumes `TRAINER_ALLOCATED` and inserts 7 upcoming
//! sessions into `tutoring_sessions`. A periodic pass refills the window to 7 as sessions end.
//!
//! - `window`: which sessions are missing (arithmetic); `store`: reading and writing them;
//! - `handler`: for an event; `top_up`: the periodic pass. Both fill windows the same way.

mod handler;
mod store;
mod top_up;
mod window;

use std::time::Duration;

use worker_runtime::{RunError, settings, telemetry, worker::Worker};

/// The name of the service, its consumer group and its inbox rows.
const NAME: &str = "session-worker";
const DEFAULT_TOP_UP_INTERVAL: Duration = Duration::from_secs(60);

/// Runs until SIGTERM or SIGINT. Settings: `KAFKA_BROKERS`, `DATABASE_URL`,
/// `TOP_UP_INTERVAL`, `HTTP_PORT`, `LOG_FORMAT`.
///
/// # Errors
/// A setting is wrong, or the Kafka client has a fatal error.
pub async fn run() -> Result<(), RunError> {
    let _log = telemetry::init("SessionWorker")?;
    let interval = settings::duration("TOP_UP_INTERVAL", DEFAULT_TOP_UP_INTERVAL)?;
    let worker = Worker::start(NAME).await?;
    let Some(db) = worker.database().await? else {
        return Ok(());
    };
    let service = &worker.service;
    let top_up = top_up::TopUp::new(db.clone(), interval, service.health.clone());
    tokio::spawn(top_up.run(service.shutdown.clone()));
    worker.transact(db, handler::Sessions).await
}
