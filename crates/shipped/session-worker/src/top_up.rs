//! The periodic pass that refills windows as sessions end.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker_runtime::{Health, InfrastructureError, database};

use crate::{
    store::{self, Wanted},
    window::UPCOMING,
};

/// Name of the pass in `/ready`.
const PART: &str = "top-up";
/// Allocations that are checked per slice.
const SLICE_SIZE: i64 = 2000;
/// Allocations that are filled in one transaction.
const BATCH: usize = 200;
/// The pause after a slice, as a multiple of the slice's duration.
const REST: u32 = 4;
/// Timeout of one slice. Longer than the server's own timeouts; it is for a server that is frozen.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Refills windows periodically. Replicas share the work: each skips rows that another has locked.
pub(crate) struct TopUp {
    db: PgPool,
    interval: Duration,
    health: Health,
}

/// The allocations after `$1`, each with whether its window is short. The event normally creates the
/// first sessions: an allocation without sessions is skipped for a minute, so that a broken event
/// path stays visible.
///
/// The cost does not depend on the number of ended allocations or sessions: `starts_at` grows with
/// `seq`, so the last few rows show how many sessions are upcoming.
const SLICE: &str = "
SELECT a.id, a.status = 'active' AND s.upcoming < $3
    AND (s.filled OR a.created_at < now() - interval '1 minute')
FROM (SELECT id, status, created_at FROM trainer_allocations
      WHERE id > $1 ORDER BY id LIMIT $2) a
CROSS JOIN LATERAL (
    SELECT count(*) > 0 AS filled, count(*) FILTER (WHERE starts_at > now()) AS upcoming
    FROM (SELECT starts_at FROM tutoring_sessions
          WHERE allocation_id = a.id ORDER BY seq DESC LIMIT $3) last) s
ORDER BY a.id";

/// Skips allocations that another replica has locked.
const LOCK: &str = "
SELECT id, course_id, created_at, synthetic FROM trainer_allocations
WHERE id = ANY($1) AND status = 'active'
ORDER BY id FOR UPDATE SKIP LOCKED";

/// `(id, course, allocated at, synthetic)`.
type Row = (Uuid, Uuid, DateTime<Utc>, bool);

impl TopUp {
    pub(crate) fn new(db: PgPool, interval: Duration, health: Health) -> Self {
        Self {
            db,
            interval,
            health,
        }
    }

    /// Runs a pass now and after every interval, until shutdown. The next pass makes up for a failed
    /// one.
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
                    if self.health.degraded(PART, why.to_string()) {
                        tracing::warn!(%why, "windows cannot be topped up");
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }

    /// Checks all allocations once, in slices ordered by id. A pause after each slice bounds the load
    /// on the database.
    async fn pass(&self) -> Result<u64, InfrastructureError> {
        let (mut after, mut sessions) = (Uuid::nil(), 0);
        loop {
            let began = Instant::now();
            let (last, added) = database::within(TIMEOUT, self.slice(after)).await?;
            sessions += added;
            let Some(last) = last else {
                return Ok(sessions);
            };
            after = last;
            tokio::time::sleep(began.elapsed() * REST).await;
        }
    }

    /// Fills the short windows among the allocations after `after`. Returns the last allocation that
    /// was checked, and the number of inserted sessions.
    async fn slice(&self, after: Uuid) -> Result<(Option<Uuid>, u64), InfrastructureError> {
        let allocations: Vec<(Uuid, bool)> = sqlx::query_as(SLICE)
            .bind(after)
            .bind(SLICE_SIZE)
            .bind(UPCOMING)
            .fetch_all(&self.db)
            .await?;
        let Some((last, _)) = allocations.last().copied() else {
            return Ok((None, 0));
        };
        let short: Vec<Uuid> = allocations
            .into_iter()
            .filter_map(|(id, short)| short.then_some(id))
            .collect();
        let mut added = 0;
        for batch in short.chunks(BATCH) {
            added += self.fill(batch).await?;
        }
        Ok((Some(last), added))
    }

    /// Runs in one transaction. Row locks exclude other replicas; `fill` reads after locking.
    async fn fill(&self, allocations: &[Uuid]) -> Result<u64, sqlx::Error> {
        let mut transaction = database::begin(&self.db).await?;
        let rows: Vec<Row> = sqlx::query_as(LOCK)
            .bind(allocations)
            .fetch_all(&mut *transaction)
            .await?;
        let wanted: Vec<Wanted> = rows.into_iter().map(wanted).collect();
        let added = store::fill(&mut transaction, &wanted).await?;
        transaction.commit().await?;
        Ok(added)
    }
}

fn wanted((allocation_id, course_id, created_at, synthetic): Row) -> Wanted {
    Wanted {
        allocation_id,
        course_id,
        day: created_at.date_naive(),
        synthetic,
    }
}
