//! The domain of allocations. The admin-service owns the rows: this worker asks for them, and
//! believes only what it reads in the database itself.

use std::collections::{HashMap, HashSet};

use caravan_events::{Event, PurchaseCreated, TrainerAllocated};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use worker_runtime::{
    Failure,
    worker::{Emitted, Handler, Received},
};

use crate::admin::AdminService;

/// Asks for an allocation for each purchase. An event whose row is not there afterwards stays
/// unprocessed: it is asked for and looked for again, and its neighbours go on.
pub(crate) struct Allocations {
    admin: AdminService,
}

/// An allocation as the admin-service wrote it.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: Uuid,
    purchase_id: Uuid,
    trainer_id: Uuid,
    student_id: Uuid,
    course_id: Uuid,
    created_at: DateTime<Utc>,
}

impl Allocations {
    pub(crate) fn new(admin: AdminService) -> Self {
        Self { admin }
    }
}

impl Handler for Allocations {
    type Input = PurchaseCreated;

    /// Also for events seen before: that is what brings a deleted row back on a replay.
    async fn prepare(&self, events: &[&Received<PurchaseCreated>]) -> Vec<Result<(), Failure>> {
        self.admin.allocate(events).await
    }

    async fn confirm(
        &self,
        db: &mut PgConnection,
        events: &[&Received<PurchaseCreated>],
    ) -> Result<HashSet<usize>, sqlx::Error> {
        let rows = rows(db, events).await?;
        Ok((0..events.len())
            .filter(|index| rows.contains_key(&events[*index].event.payload.purchase_id))
            .collect())
    }

    /// The effect is the admin-service's, and is there already.
    async fn apply(
        &self,
        _: &mut PgConnection,
        _: &[&Received<PurchaseCreated>],
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn outputs(
        &self,
        db: &mut PgConnection,
        events: &[&Received<PurchaseCreated>],
    ) -> Result<Vec<Option<Emitted>>, sqlx::Error> {
        let rows = rows(db, events).await?;
        Ok(events
            .iter()
            .map(|received| {
                let row = rows.get(&received.event.payload.purchase_id)?;
                Some(row.allocated(received.event.correlation_id).into())
            })
            .collect())
    }
}

/// The allocations that are there, by purchase.
async fn rows(
    db: &mut PgConnection,
    events: &[&Received<PurchaseCreated>],
) -> Result<HashMap<Uuid, Row>, sqlx::Error> {
    let purchases: Vec<Uuid> = events.iter().map(|r| r.event.payload.purchase_id).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, purchase_id, trainer_id, student_id, course_id, created_at
         FROM trainer_allocations WHERE purchase_id = ANY($1)",
    )
    .bind(&purchases)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.purchase_id, row)).collect())
}

impl Row {
    fn allocated(&self, correlation_id: Uuid) -> Event<TrainerAllocated> {
        let payload = TrainerAllocated {
            allocation_id: self.id,
            purchase_id: self.purchase_id,
            trainer_id: self.trainer_id,
            student_id: self.student_id,
            course_id: self.course_id,
        };
        Event::about(payload, correlation_id, self.created_at)
    }
}
