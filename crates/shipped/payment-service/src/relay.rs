//! Sends outbox rows to Kafka, at least once and in the outbox's order; receivers drop duplicates by
//! event id.
//!
//! An advisory lock lets one replica at a time send a batch. With `SKIP LOCKED`, rows that replicas
//! send concurrently would overtake each other. A query that prevents this per payment depends on the
//! planner (40 s for a batch, with a large outbox and stale statistics).
//!
//! A new payment of this replica wakes its relay within the process. PostgreSQL's NOTIFY would need
//! another round trip, and serialises commits: 3,600 instead of 13,200 durable
//! inserts a second, measured with 16 connections. A slow poll finds rows that another replica left.

use std::{sync::Arc, time::Duration};

use caravan_events::names::PURCHASE_CONFIRMED_TOPIC;
use sqlx::PgPool;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker_runtime::{
    Failure, Health, RunError, Service, Trace,
    backoff::Backoff,
    database,
    kafka::{self, Producer, Record},
    metrics::OutboxMetrics,
    watchdog::Pulse,
};

/// Name of the relay in `/ready`: degraded while events are unsent, since payments are still accepted.
const PART: &str = "outbox";
/// Outbox rows that are sent together.
const BATCH: i64 = 500;
const POLL: Duration = Duration::from_secs(1);
/// For one batch: longer than its turn may be waited for (`lock_timeout`, 10 s) and its messages
/// take (10 s to be queued, 20 s to be sent). The server has timeouts of its own; this one is for
/// a server that is frozen.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout of one lookup, for the same reason.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// This replica's turn, until the end of the transaction, which may be idle for as long as Kafka
/// takes to acknowledge: the session's 15 s would end it before Kafka's 30 s are over, and have
/// what was acknowledged late sent again.
const TAKE_TURN: &str = "
SELECT set_config('idle_in_transaction_session_timeout', '45s', true),
       pg_advisory_xact_lock(hashtextextended('payment-service/outbox', 0))";

/// A separate statement after [`TAKE_TURN`]: it has to see the rows that the previous turn marked.
const UNSENT: &str = "
SELECT id, event_id, correlation_id, topic, event, synthetic, traceparent
FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1";

const MARK_SENT: &str = "UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY($1)";

const WAITS: &str = "SELECT EXISTS (SELECT 1 FROM outbox WHERE sent_at IS NULL)";

#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: i64,
    event_id: Uuid,
    correlation_id: Uuid,
    topic: String,
    event: String,
    synthetic: bool,
    traceparent: Option<String>,
}

/// Sends the outbox; one per replica.
pub(crate) struct Relay {
    pool: PgPool,
    producer: Producer,
    accepted: Arc<Notify>,
    health: Health,
    metrics: OutboxMetrics,
    pulse: Arc<Pulse>,
    backoff: Backoff,
    failing: bool,
}

impl Relay {
    pub(crate) fn new(
        pool: PgPool,
        producer: Producer,
        accepted: Arc<Notify>,
        service: &Service,
        metrics: OutboxMetrics,
    ) -> Self {
        service.health.ready(PART);
        Self {
            pool,
            producer,
            accepted,
            health: service.health.clone(),
            metrics,
            // Each iteration reads the outbox, so the relay always has work.
            pulse: service.watchdog.watch_with_others(PART, || true),
            backoff: Backoff::infrastructure(),
            failing: false,
        }
    }

    /// Sends until `stop`, then sends the remaining rows until the first failure.
    ///
    /// # Errors
    /// The producer has a fatal error.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), RunError> {
        loop {
            self.pulse.beat();
            let pause = match self.send_batch().await {
                Ok(0) if stop.is_cancelled() => return Ok(()),
                Ok(0) if self.failing && self.something_waits().await => Some(POLL),
                Ok(0) => {
                    self.report_recovered();
                    None
                }
                Ok(_) => {
                    self.report_recovered();
                    continue;
                }
                Err(_) if stop.is_cancelled() => return Ok(()),
                Err(failure) => Some(self.report_failed(&failure)),
            };
            self.producer.check_fatal()?;
            tokio::select! {
                () = self.work_or(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Waits until there may be work; after a failure, for the given delay.
    async fn work_or(&self, pause: Option<Duration>) {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            // Either a new payment, or the poll interval is over.
            None => timeout(POLL, self.accepted.notified()).await.unwrap_or(()),
        }
    }

    /// Sends the oldest unsent rows. Returns their number.
    async fn send_batch(&self) -> Result<usize, Failure> {
        database::within(BATCH_TIMEOUT, self.try_send_batch()).await
    }

    async fn try_send_batch(&self) -> Result<usize, Failure> {
        let mut transaction = database::begin(&self.pool).await?;
        sqlx::query(TAKE_TURN).execute(&mut *transaction).await?;
        let rows: Vec<Row> = sqlx::query_as(UNSENT)
            .bind(BATCH)
            .fetch_all(&mut *transaction)
            .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let records: Vec<Record> = rows.iter().map(Row::record).collect();
        kafka::send_all(&self.producer, records).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        sqlx::query(MARK_SENT)
            .bind(&ids)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        // The outbox contains only events of this topic.
        self.metrics.emitted(PURCHASE_CONFIRMED_TOPIC, rows.len());
        for row in &rows {
            tracing::info!(
                topic = row.topic,
                eventId = %row.event_id,
                correlationId = %row.correlation_id,
                "event emitted"
            );
        }
        Ok(rows.len())
    }

    /// Whether another replica holds what this one could not send.
    async fn something_waits(&self) -> bool {
        let waits = sqlx::query_scalar(WAITS).fetch_one(&self.pool);
        !matches!(timeout(LOOK_TIMEOUT, waits).await, Ok(Ok(false)))
    }

    fn report_recovered(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.failing) {
            self.health.ready(PART);
            tracing::info!("announcements are being sent again");
        }
    }

    /// Logs the first failure. Returns the delay before the retry.
    fn report_failed(&mut self, failure: &Failure) -> Duration {
        let why = failure.to_string();
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                why,
                "announcements wait in the outbox; payments are accepted"
            );
        }
        self.health.degraded(PART, why);
        self.backoff.next_delay()
    }
}

impl Row {
    fn record(&self) -> Record {
        let key = self.correlation_id.to_string();
        // The same at every attempt: the span is the payment's, not the relay's.
        let trace = self.traceparent.as_deref();
        let trace = trace.and_then(|value| Trace::parse(value.as_bytes()));
        Record::event(&self.topic, &key, self.event.clone(), self.synthetic, trace)
    }
}
