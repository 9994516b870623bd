//! The periodic pass: as sessions go by, windows are filled up again.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker_runtime::{Failure, Health, database};

use crate::{
    store::{self, Wanted},
    window::UPCOMING,
};

/// The pass's part in `/ready`.
const PART: &str = "top-up";
/// Allocations that are looked at at once.
const SLICE_SIZE: i64 = 2000;
/// Allocations that are filled in one transaction.
const BATCH: usize = 200;
/// After a slice, in multiples of the time it took.
const REST: u32 = 4;
/// For one slice: longer than the server's own timeouts, for a server that is frozen.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Tops windows up every so often. Replicas share the work: each skips what another has locked.
pub(crate) struct TopUp {
    db: PgPool,
    interval: Duration,
    health: Health,
}

/// The allocations that follow `$1`, each with whether its window is short. An allocation without
/// any session is its event's business first: it is left alone for a minute, so that a broken event
/// path shows instead of being papered over at once.
///
/// What this costs does not depend on how many allocations have ended, nor on how many sessions
/// have gone by: `starts_at` grows with `seq`, so the last few tell how many are to come.
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

/// Without those that another replica is at.
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

    /// Walks all allocations once, a slice at a time in the order of their ids; a slice is
    /// followed by a rest, so that the pass never takes more than a part of the database's time.
    async fn pass(&self) -> Result<u64, String> {
        let (mut after, mut sessions) = (Uuid::nil(), 0);
        loop {
            let began = Instant::now();
            let (last, added) = timeout(TIMEOUT, self.slice(after))
                .await
                .map_err(|_| "database: no answer".to_owned())?
                .map_err(|error| Failure::from(error).to_string())?;
            sessions += added;
            let Some(last) = last else {
                return Ok(sessions);
            };
            after = last;
            tokio::time::sleep(began.elapsed() * REST).await;
        }
    }

    /// Fills the windows that are short among the allocations that follow `after`. The last one
    /// that was looked at, and how many sessions were added.
    async fn slice(&self, after: Uuid) -> Result<(Option<Uuid>, u64), sqlx::Error> {
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

    /// One transaction. The row locks keep replicas apart, and `fill` reads after they are taken.
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
