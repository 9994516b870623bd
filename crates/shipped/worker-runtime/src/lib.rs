//! What every worker and service of the pipeline has in common, so that theirs is domain alone.
//!
//! Shared by workers and services:
//! - [`settings`]: environment variables, with errors that name the remedy;
//! - [`telemetry`]: log lines on stdout that never stall the process, and the startup line;
//! - [`health`]: `/live` and `/ready`, and the probe behind `caravan health`;
//! - [`metrics`]: `/metrics`, and the one place that defines every metric;
//! - [`watchdog`]: `/live` turns red, and the process ends, where nothing moves any more;
//! - [`trace`]: which trace an event belongs to (`traceparent`);
//! - [`http`]: what an HTTP service owes its callers: token, bounds, JSON refusals;
//! - [`shutdown`]: one token, cancelled by SIGTERM and SIGINT;
//! - [`kafka`]: the producer, and what is true of every Kafka client;
//! - [`database`]: the connection pool, patient with a database that is not there yet;
//! - [`housekeeping`]: rows that nobody can ask for any more are deleted;
//! - [`errors`]: why a process ends, and the three kinds of failure of an event;
//! - [`backoff`]: how long to wait before the next try;
//! - [`kill`]: where the crash tests may end a process.
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

pub use errors::{Failure, Reason, RunError};
pub use health::Health;
pub use housekeeping::Housekeeping;
pub use metrics::Metrics;
pub use service::Service;
pub use trace::Trace;
