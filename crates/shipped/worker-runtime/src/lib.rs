//! Shared infrastructure of all workers and services, so that they contain only domain logic.
//!
//! Shared by workers and services:
//! - [`settings`]: environment variables, with errors that name the remedy;
//! - [`telemetry`]: log lines on stdout that never stall the process, and the startup line;
//! - [`health`]: `/live` and `/ready`, and the probe behind `caravan health`;
//! - [`metrics`]: `/metrics`, and the one place that defines every metric;
//! - [`watchdog`]: if a part makes no progress, `/live` answers 503 and then the process ends;
//! - [`trace`]: which trace an event belongs to (`traceparent`);
//! - [`http`]: bearer token, limits and JSON errors of the HTTP services;
//! - [`shutdown`]: one token, cancelled by SIGTERM and SIGINT;
//! - [`kafka`]: the producer, and settings of all Kafka clients;
//! - [`database`]: the connection pool, and waiting until the database is available;
//! - [`housekeeping`]: deletes inbox and outbox rows that are no longer needed;
//! - [`errors`]: why a process ends, and the three kinds of failure of an event;
//! - [`backoff`]: how long to wait before the next try;
//! - [`kill`]: points at which the crash tests can kill or freeze a process.
//!
//! [`service`] ties these together for one process, and [`worker`] consumes a topic on top of it.

pub mod backoff;
pub mod database;
pub mod errors;
pub mod health;
pub mod housekeeping;
pub mod http;
pub mod kafka;
pub mod kill;
pub mod metrics;
pub mod service;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod trace;
pub mod watchdog;
pub mod worker;

pub use errors::{Failure, InfrastructureError, ProduceError, Reason, RunError};
pub use health::Health;
pub use housekeeping::Housekeeping;
pub use metrics::Metrics;
pub use service::Service;
pub use trace::Trace;
