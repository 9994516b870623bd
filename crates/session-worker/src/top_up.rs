//! The periodic pass: as sessions go by, windows are filled up again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgPool};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker_runtime::{Failure, Health};

use crate::{
    store,
    window::{Allocation, DEFAULT_INTERVAL_DAYS},
};

/// The pass's part in `/ready`.
const PART: &str = "top-up";
/// Allocations in one transaction.
const BATCH: i64 = 200;
/// For one transaction: longer than the server's own timeouts, for a server that is frozen.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Tops windows up every so often. Replicas share the work: each skips what another has locked.
pub(crate) struct TopUp {
    db: PgPool,
    interval: Duration,
    health: Health,
}

/// `(id, allocated at, synthetic, days between sessions)`.
type Row = (Uuid, DateTime<Utc>, bool, Option<i32>);

impl TopUp {
    pub(crate) fn new(db: PgPool, interval: Duration, health: Health) -> Self {
        Self {
            db,
            interval,
            health,
        }
    }

    /// A pass now, and one every interval, until the end. A failed pass is made good by the next.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.pass().await {
                Ok(0) => {
                    self.health.ready(PART);
                }
                Ok(sessions) => {
                    self.health.ready(PART);
                    tracing::info!(sessions, "windows topped up");
                }
                Err(why) => {
                    if self.health.degraded(PART, &why) {
                        tracing::warn!(why, "windows cannot be topped up");
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }

    /// Batch after batch, until there is none left to be topped up.
    async fn pass(&self) -> Result<u64, String> {
        let mut sessions = 0;
        loop {
            let added = timeout(TIMEOUT, self.batch())
                .await
                .map_err(|_| "database: no answer".to_owned())?
                .map_err(|error| Failure::from(error).to_string())?;
            if added == 0 {
                return Ok(sessions);
            }
            sessions += added;
        }
    }

    /// One transaction. The row locks keep replicas apart, and `fill` reads after they are taken.
    ///
    /// An allocation without any session is its event's business first: it is left alone for a
    /// minute, so that a broken event path shows instead of being papered over at once.
    async fn batch(&self) -> Result<u64, sqlx::Error> {
        let mut connection = self.db.acquire().await?;
        let mut transaction = connection.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT a.id, a.created_at, a.synthetic,
                    (SELECT session_interval_days FROM courses WHERE id = a.course_id)
             FROM trainer_allocations a
             CROSS JOIN LATERAL (
                 SELECT count(*) AS total, count(*) FILTER (WHERE starts_at > now()) AS upcoming
                 FROM tutoring_sessions WHERE allocation_id = a.id) s
             WHERE a.status = 'active' AND s.upcoming < 7
               AND (s.total > 0 OR a.created_at < now() - interval '1 minute')
             ORDER BY a.id LIMIT $1 FOR UPDATE OF a SKIP LOCKED",
        )
        .bind(BATCH)
        .fetch_all(&mut *transaction)
        .await?;
        let allocations: Vec<Allocation> = rows.into_iter().map(allocation).collect();
        let added = store::fill(&mut transaction, &allocations).await?;
        transaction.commit().await?;
        Ok(added)
    }
}

fn allocation((id, created_at, synthetic, interval_days): Row) -> Allocation {
    Allocation {
        id,
        day: created_at.date_naive(),
        interval_days: interval_days.unwrap_or(DEFAULT_INTERVAL_DAYS),
        synthetic,
    }
}
