//! Allocates trainers to purchases, over HTTP.
//!
//! - [`routes`]: `POST /allocations` and `POST /allocations:batch`, with their validation;
//! - [`allocations`]: one trainer per purchase, never above capacity, in one transaction;
//! - [`assignment`]: chooses the trainer, in memory.

mod allocations;
mod assignment;
mod routes;

use worker_runtime::{
    RunError, Service, database,
    http::{self, BearerToken},
    settings, telemetry,
};

use crate::allocations::Allocations;

/// Allocations of the same course are serialised; those of different courses run concurrently.
const CONNECTIONS: u32 = 16;

/// Runs the service until SIGTERM.
///
/// # Errors
/// A setting is wrong, or the port is taken.
pub async fn run() -> Result<(), RunError> {
    let _log = telemetry::init("AdminService")?;
    let pool = database::pool(database::address()?, CONNECTIONS);
    let token = BearerToken::new(&settings::required_secret("API_TOKEN")?);
    let routes = http::guard(routes::routes(Allocations::new(pool.clone())), token);
    let service = Service::start(&[database::PART], routes).await?;
    service.metrics.watch_pool(pool.clone());
    if database::wait(&pool, &service.health, &service.shutdown).await {
        telemetry::started();
        database::watch(pool, service.health.clone(), service.shutdown.clone()).await;
    }
    service.stop().await;
    Ok(())
}
