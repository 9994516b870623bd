//! Allocates a trainer to each purchase: consumes `PURCHASE_CREATED`, calls the admin-service, reads
//! the row in `trainer_allocations` back, and emits `TRAINER_ALLOCATED`.

mod admin;
mod handler;

use worker_runtime::{RunError, settings, telemetry, worker::Worker};

/// The name of the service, its consumer group and its inbox rows.
const NAME: &str = "allocation-worker";

/// Runs until SIGTERM or SIGINT. Settings: `KAFKA_BROKERS`, `DATABASE_URL`,
/// `DATABASE_PASSWORD`, `ADMIN_URL`, `ADMIN_TOKEN`, `HTTP_PORT`, `LOG_FORMAT`.
///
/// # Errors
/// A setting is wrong, or the Kafka client has a fatal error.
pub async fn run() -> Result<(), RunError> {
    let _log = telemetry::init("AllocationWorker")?;
    let admin = admin::AdminService::new(
        &settings::required("ADMIN_URL")?,
        &settings::required_secret("ADMIN_TOKEN")?,
    )?;
    let worker = Worker::start(NAME).await?;
    let Some(db) = worker.database().await? else {
        return Ok(());
    };
    worker.transact(db, handler::Allocations::new(admin)).await
}
