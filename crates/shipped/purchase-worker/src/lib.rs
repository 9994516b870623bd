//! Writes a purchase for each payment: consumes `PURCHASE_CONFIRMED`, inserts a row into
//! `student_course_purchases`, and emits `PURCHASE_CREATED`.

mod handler;

use worker_runtime::{RunError, telemetry, worker::Worker};

/// The name of the service, its consumer group and its inbox rows.
const NAME: &str = "purchase-worker";

/// Runs until SIGTERM or SIGINT. Settings: `KAFKA_BROKERS`, `DATABASE_URL`, `HTTP_PORT`,
/// `LOG_FORMAT`.
///
/// # Errors
/// A setting is wrong, or the Kafka client has a fatal error.
pub async fn run() -> Result<(), RunError> {
    let _log = telemetry::init("PurchaseWorker")?;
    let worker = Worker::start(NAME).await?;
    let Some(db) = worker.database().await? else {
        return Ok(());
    };
    worker.transact(db, handler::Purchases).await
}
