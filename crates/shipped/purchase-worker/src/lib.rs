//! A payment becomes a purchase: `PURCHASE_CONFIRMED` → a row in `student_course_purchases` →
//! `PURCHASE_CREATED`.

mod handler;

use worker_runtime::{RunError, telemetry, worker::Worker};

/// Consumer group, name in the inbox, service.
const NAME: &str = "purchase-worker";

/// Runs until the process is told to end. Settings: `KAFKA_BROKERS`, `DATABASE_URL`, `HTTP_PORT`,
/// `LOG_FORMAT`.
///
/// # Errors
/// A setting is wrong, or the Kafka client cannot go on.
pub async fn run() -> Result<(), RunError> {
    let _log = telemetry::init("PurchaseWorker")?;
    let worker = Worker::start(NAME).await?;
    let Some(db) = worker.database().await? else {
        return Ok(());
    };
    worker.transact(db, handler::Purchases).await
}
