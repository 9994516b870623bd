//! The domain logic of allocations. The admin-service writes the rows: this worker requests them, and
//! relies only on what it reads from the database itself.

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

/// Requests an allocation for each purchase. An event whose row does not exist afterwards stays
/// unprocessed: its allocation is requested and read again, while other events continue.
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

    /// Duplicates are prepared too: this restores a deleted row on a replay.
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

    /// Writes nothing: the admin-service has already written the effect.
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

/// The existing allocations, by purchase.
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
