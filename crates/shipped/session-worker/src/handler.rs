//! The domain logic of sessions.

use caravan_events::TrainerAllocated;
use sqlx::PgConnection;
use worker_runtime::{
    Failure,
    worker::{Handler, Received},
};

use crate::store::{self, Wanted};

/// Creates the window of sessions of each new allocation.
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
        // Events are ordered by natural key, so those of one allocation are adjacent.
        wanted.dedup_by_key(|wanted| wanted.allocation_id);
        store::create(db, &wanted).await?;
        Ok(())
    }
}
