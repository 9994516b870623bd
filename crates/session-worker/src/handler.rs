//! The domain of sessions.

use std::collections::HashMap;

use caravan_events::TrainerAllocated;
use sqlx::PgConnection;
use uuid::Uuid;
use worker_runtime::{
    Failure,
    worker::{Handler, Received},
};

use crate::{
    store,
    window::{Allocation, DEFAULT_INTERVAL_DAYS},
};

/// Gives each new allocation its window of sessions.
pub(crate) struct Sessions;

impl Handler for Sessions {
    type Input = TrainerAllocated;

    async fn apply(
        &self,
        db: &mut PgConnection,
        events: &[&Received<TrainerAllocated>],
    ) -> Result<(), Failure> {
        let intervals = intervals(db, events).await?;
        let mut allocations: Vec<Allocation> = events
            .iter()
            .map(|received| {
                let payload = &received.event.payload;
                Allocation {
                    id: payload.allocation_id,
                    day: received.event.occurred_at.date_naive(),
                    interval_days: intervals
                        .get(&payload.course_id)
                        .copied()
                        .unwrap_or(DEFAULT_INTERVAL_DAYS),
                    synthetic: received.synthetic,
                }
            })
            .collect();
        // Ordered by their natural key, two events about one allocation are neighbours.
        allocations.dedup_by_key(|allocation| allocation.id);
        store::fill(db, &allocations).await?;
        Ok(())
    }
}

/// Days between sessions, by course.
async fn intervals(
    db: &mut PgConnection,
    events: &[&Received<TrainerAllocated>],
) -> Result<HashMap<Uuid, i32>, sqlx::Error> {
    let courses: Vec<Uuid> = events.iter().map(|r| r.event.payload.course_id).collect();
    let rows: Vec<(Uuid, i32)> =
        sqlx::query_as("SELECT id, session_interval_days FROM courses WHERE id = ANY($1)")
            .bind(&courses)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().collect())
}
