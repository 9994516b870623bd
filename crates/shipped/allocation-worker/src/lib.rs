//! A purchase gets its trainer: `PURCHASE_CREATED` → the admin-service is asked → the row in
//! `trainer_allocations` is read back → `TRAINER_ALLOCATED`.

mod admin;
mod handler;

use worker_runtime::{RunError, settings, telemetry, worker::Worker};

/// Consumer group, name in the inbox, service.
const NAME: &str = "allocation-worker";

/// Runs until the process is told to end. Settings: `KAFKA_BROKERS`, `DATABASE_URL`,
/// `DATABASE_PASSWORD`, `ADMIN_URL`, `ADMIN_TOKEN`, `HTTP_PORT`, `LOG_FORMAT`.
///
/// # Errors
/// A setting is wrong, or the Kafka client cannot go on.
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
