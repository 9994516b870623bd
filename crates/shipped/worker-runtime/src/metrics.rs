//! All metrics: names, units, help texts and labels are defined only here. docs/operations.md
//! explains each of them, which a test checks.
//!
//! - [`Metrics`]: the metrics of every process, and `GET /metrics` (OpenMetrics text);
//! - [`WorkerMetrics`] and [`OutboxMetrics`]: the additional metrics of workers and the
//!   payment-service;
//! - `labels`: the values of labels, all of them bounded; `process`: metrics that are read at each
//!   scrape.
//!
//! Events are counted per batch, so no metric is updated for each single event.

mod labels;
mod outbox;
mod process;
mod worker;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        histogram::Histogram,
    },
    registry::{Metric, Registry, Unit},
};
use sqlx::PgPool;

use crate::Health;
pub use labels::{EventOutcome, PauseReason, RetryKind, Stage};
use labels::{Request, Route};
pub use outbox::OutboxMetrics;
use process::Process;
pub use worker::{PausedGuard, WorkerMetrics};

/// A metric as it is exposed. The unit is appended to the name, `_total` to that of a counter.
struct Definition {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
}

const fn plain(name: &'static str, help: &'static str) -> Definition {
    let unit = None;
    Definition { name, unit, help }
}

const fn seconds(name: &'static str, help: &'static str) -> Definition {
    let unit = Some(Unit::Seconds);
    Definition { name, unit, help }
}

const fn bytes(name: &'static str, help: &'static str) -> Definition {
    let unit = Some(Unit::Bytes);
    Definition { name, unit, help }
}

// Every process.
const LIVE: Definition = plain("caravan_live", "1 unless the watchdog sees a stall");
const READY: Definition = plain("caravan_ready", "1 while /ready answers 200");
const LOG_LINES_DROPPED: Definition = plain(
    "caravan_log_lines_dropped",
    "Log lines that were dropped because stdout stalled",
);
const RESIDENT_MEMORY: Definition = bytes("process_resident_memory", "Resident memory");
const START_TIME: Definition = seconds(
    "process_start_time",
    "When the process started, since the Unix epoch",
);

// Every process with a database.
const DATABASE_CONNECTIONS: Definition = plain(
    "caravan_database_connections",
    "Open connections of the database pool, by state",
);
const DATABASE_CONNECTIONS_MAX: Definition = plain(
    "caravan_database_connections_max",
    "Most connections that the database pool opens",
);

// Every process with routes of its own.
const HTTP_REQUESTS: Definition = plain(
    "caravan_http_requests",
    "HTTP requests that were answered, by route and status",
);
const HTTP_REQUEST_DURATION: Definition = seconds(
    "caravan_http_request_duration",
    "From an HTTP request's head to its answer, including the wait for its turn",
);

// Every process that writes to Kafka.
const EVENTS_EMITTED: Definition = plain(
    "caravan_events_emitted",
    "Events that the brokers have acknowledged, repetitions included",
);

// Workers.
const EVENTS: Definition = plain("caravan_events", "Completed events, by outcome");
const BATCH_SIZE: Definition = plain("caravan_batch_size_events", "Events per batch");
const STAGE_DURATION: Definition = seconds(
    "caravan_stage_duration",
    "Time that a batch spent in one stage",
);
const RETRIES: Definition = plain(
    "caravan_retries",
    "Attempts that are repeated: of a batch if infrastructure failed, otherwise of an event",
);
const DEAD_LETTERS: Definition = plain(
    "caravan_dead_letters",
    "Events that were written to the dead-letter topic, by the reason's kind",
);
const PARTITION_LAG: Definition = plain(
    "caravan_partition_lag_events",
    "Events of an assigned partition that are not completed",
);
const PARTITIONS_ASSIGNED: Definition = plain(
    "caravan_partitions_assigned",
    "Partitions assigned to this worker",
);
const PARTITIONS_PAUSED: Definition = plain(
    "caravan_partitions_paused",
    "Partitions that are not read at present, by reason",
);

// The payment-service.
const OUTBOX_UNSENT: Definition = plain(
    "caravan_outbox_unsent_events",
    "Announcements in the outbox that are not in Kafka yet",
);
const OUTBOX_OLDEST_UNSENT: Definition = seconds(
    "caravan_outbox_oldest_unsent_age",
    "Age of the oldest announcement that is not in Kafka yet, 0 where there is none",
);

/// A round trip to a local database is half a millisecond, the longest timeout 30 s.
const DURATION_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];
const BATCH_BUCKETS: [f64; 11] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0,
];

/// OpenMetrics, which Prometheus supports.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Histograms<L> = Family<L, Histogram, Durations>;

/// Makes the histograms of a family.
#[derive(Debug, Clone, Copy)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(DURATION_BUCKETS)
    }
}

/// The metrics of one process. Cheap to clone; all clones share their state.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    process: Arc<Process>,
    requests: Family<Request, Counter>,
    request_duration: Histograms<Route>,
}

impl Metrics {
    /// The metrics that every process has; `health` is read at every scrape.
    #[must_use]
    pub fn new(health: Health) -> Self {
        let mut registry = Registry::default();
        let process = Process::register(&mut registry, health);
        let requests = Family::default();
        register(&mut registry, HTTP_REQUESTS, &requests);
        let request_duration = Family::new_with_constructor(Durations);
        register(&mut registry, HTTP_REQUEST_DURATION, &request_duration);
        Self {
            registry: Arc::new(Mutex::new(registry)),
            process: Arc::new(process),
            requests,
            request_duration,
        }
    }

    /// The metrics of a worker that consumes `topic`. Call it once per process.
    #[must_use]
    pub fn worker(&self, topic: &'static str) -> WorkerMetrics {
        WorkerMetrics::register(&mut self.registry(), topic)
    }

    /// The metrics of an outbox. Call it once per process.
    #[must_use]
    pub fn outbox(&self) -> OutboxMetrics {
        OutboxMetrics::register(&mut self.registry())
    }

    /// Adds the metrics of the connection pool. Call it once per process.
    pub fn watch_pool(&self, pool: PgPool) {
        self.process.watch_pool(&mut self.registry(), pool);
    }

    /// An HTTP request was answered. `route` is a pattern such as `/payments/{id}`, not a path.
    pub(crate) fn answered(
        &self,
        method: &'static str,
        route: &str,
        status: StatusCode,
        took: Duration,
    ) {
        let route = Route {
            method,
            route: route.to_owned(),
        };
        let duration = took.as_secs_f64();
        self.request_duration
            .get_or_create(&route)
            .observe(duration);
        let request = Request {
            method,
            route: route.route,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&request).inc();
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        self.process.look();
        let mut out = String::new();
        // Fails only if the writer fails, and writing to a string does not.
        text::encode(&mut out, &self.registry()).unwrap_or_default();
        out
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /metrics`, to be merged with a service's own routes.
pub fn router(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(show))
        .with_state(metrics)
}

async fn show(State(metrics): State<Metrics>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text()).into_response()
}

fn register<M: Metric + Clone>(registry: &mut Registry, definition: Definition, metric: &M) {
    let Definition { name, unit, help } = definition;
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, metric.clone()),
        None => registry.register(name, help, metric.clone()),
    }
}

#[cfg(test)]
mod tests;
