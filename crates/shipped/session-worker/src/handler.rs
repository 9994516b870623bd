//! The domain of sessions.

use caravan_events::TrainerAllocated;
use sqlx::PgConnection;
use worker_runtime::{
    Failure,
    worker::{Handler, Received},
};

use crate::store::{self, Wanted};

/// Gives each new allocation its window of sessions.
pub(crate) struct Sessions;

impl Handler for Sessions {
    type Input = TrainerAllocated;

    async fn apply(
        &self,
        db: &mut PgConnection,
        events: &[&Received<TrainerAllocated>],
    ) -> Result<(), Failure> {
        let mut wanted: Vec<Wanted> = events
            .iter()
            .map(|received| {
                let payload = &received.event.payload;
                Wanted {
                    allocation_id: payload.allocation_id,
                    course_id: payload.course_id,
                    day: received.event.occurred_at.date_naive(),
                    synthetic: received.synthetic,
                }
            })
            .collect();
        // Ordered by their natural key, two events about one allocation are neighbours.
        wanted.dedup_by_key(|wanted| wanted.allocation_id);
        store::fill(db, &wanted).await?;
        Ok(())
    }
}
