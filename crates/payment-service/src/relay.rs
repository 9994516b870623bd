//! From the outbox to Kafka, at least once and in order per payment; receivers drop copies by
//! event id.
//!
//! Several replicas share the work: each takes rows that no other has, and of a payment only the
//! oldest that is unsent, so that no replica overtakes another. A new payment of this replica
//! wakes its relay within the process; PostgreSQL's NOTIFY would do the same a round trip later,
//! and under a lock that lets payments commit only one at a time. The slow poll finds what another
//! replica left behind.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker_runtime::{
    Failure, Health, RunError,
    backoff::Backoff,
    kafka::{self, Producer, Record},
};

/// The relay's part in `/ready`: degraded while announcements wait, payments are taken anyway.
const PART: &str = "outbox";
/// Announcements sent together.
const BATCH: i64 = 500;
const POLL: Duration = Duration::from_secs(1);

/// Never a row whose payment has an older one unsent: another replica may be sending that.
const TAKE: &str = "
SELECT id, event_id, correlation_id, topic, event, synthetic
FROM outbox o
WHERE sent_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM outbox older
    WHERE older.correlation_id = o.correlation_id AND older.id < o.id AND older.sent_at IS NULL)
ORDER BY id
LIMIT $1
FOR UPDATE SKIP LOCKED";

const MARK_SENT: &str = "UPDATE outbox SET sent_at = now() WHERE id = ANY($1)";

const WAITS: &str = "SELECT EXISTS (SELECT 1 FROM outbox WHERE sent_at IS NULL)";

#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: i64,
    event_id: Uuid,
    correlation_id: Uuid,
    topic: String,
    event: String,
    synthetic: bool,
}

/// The one sender of this replica's outbox.
pub(crate) struct Relay {
    pool: PgPool,
    producer: Producer,
    accepted: Arc<Notify>,
    health: Health,
    backoff: Backoff,
    failing: bool,
}

impl Relay {
    pub(crate) fn new(
        pool: PgPool,
        producer: Producer,
        accepted: Arc<Notify>,
        health: Health,
    ) -> Self {
        health.ready(PART);
        Self {
            pool,
            producer,
            accepted,
            health,
            backoff: Backoff::infrastructure(),
            failing: false,
        }
    }

    /// Sends until `stop`, then what is left; gives up on that at the first failure.
    ///
    /// # Errors
    /// The producer is in a state that only a new process leaves.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), RunError> {
        loop {
            let pause = match self.send_batch().await {
                Ok(0) if stop.is_cancelled() => return Ok(()),
                Ok(0) if self.failing && self.something_waits().await => Some(POLL),
                Ok(0) => {
                    self.works();
                    None
                }
                Ok(_) => {
                    self.works();
                    continue;
                }
                Err(_) if stop.is_cancelled() => return Ok(()),
                Err(failure) => Some(self.fails(&failure)),
            };
            kafka::check_fatal(&self.producer)?;
            tokio::select! {
                () = self.work_or(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Until there may be work; after a failure, until its pause is over.
    async fn work_or(&self, pause: Option<Duration>) {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            // Over either way: a payment, or time to look.
            None => timeout(POLL, self.accepted.notified()).await.unwrap_or(()),
        }
    }

    /// Sends the oldest unsent announcements, and says how many there were.
    async fn send_batch(&self) -> Result<usize, Failure> {
        let mut transaction = self.pool.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(TAKE)
            .bind(BATCH)
            .fetch_all(&mut *transaction)
            .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let records: Vec<Record> = rows.iter().map(Row::record).collect();
        kafka::send_all(&self.producer, &records).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        sqlx::query(MARK_SENT)
            .bind(&ids)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
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
        let waits = sqlx::query_scalar(WAITS).fetch_one(&self.pool).await;
        waits.unwrap_or(true)
    }

    fn works(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.failing) {
            self.health.ready(PART);
            tracing::info!("announcements are being sent again");
        }
    }

    /// Says so once, and for how long to pause.
    fn fails(&mut self, failure: &Failure) -> Duration {
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
        Record::event(&self.topic, &key, self.event.clone(), self.synthetic)
    }
}
