//! The domain logic of purchases.

use std::collections::HashMap;

use caravan_events::{Event, PurchaseConfirmed, PurchaseCreated, ids};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use worker_runtime::{
    Failure,
    worker::{Emitted, Handler, Received},
};

/// Inserts one purchase per payment; the first event of a payment determines the row.
pub(crate) struct Purchases;

/// A row of `student_course_purchases`.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: Uuid,
    payment_id: Uuid,
    student_id: Uuid,
    course_id: Uuid,
    created_at: DateTime<Utc>,
}

impl Handler for Purchases {
    type Input = PurchaseConfirmed;

    async fn apply(
        &self,
        db: &mut PgConnection,
        events: &[&Received<PurchaseConfirmed>],
    ) -> Result<(), Failure> {
        let payments = || events.iter().map(|received| &received.event.payload);
        sqlx::query(
            "INSERT INTO student_course_purchases
                 (id, payment_id, student_id, course_id, amount_cents, currency, synthetic)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[],
                                  $6::text[], $7::boolean[])
             ON CONFLICT DO NOTHING",
        )
        .bind(
            payments()
                .map(|p| ids::purchase_id(p.payment_id))
                .collect::<Vec<_>>(),
        )
        .bind(payments().map(|p| p.payment_id).collect::<Vec<_>>())
        .bind(payments().map(|p| p.student_id).collect::<Vec<_>>())
        .bind(payments().map(|p| p.course_id).collect::<Vec<_>>())
        .bind(payments().map(|p| p.amount_cents).collect::<Vec<_>>())
        .bind(payments().map(|p| p.currency.as_str()).collect::<Vec<_>>())
        .bind(
            events
                .iter()
                .map(|received| received.synthetic)
                .collect::<Vec<_>>(),
        )
        .execute(db)
        .await?;
        Ok(())
    }

    async fn outputs(
        &self,
        db: &mut PgConnection,
        events: &[&Received<PurchaseConfirmed>],
    ) -> Result<Vec<Option<Emitted>>, sqlx::Error> {
        let payments: Vec<Uuid> = events.iter().map(|r| r.event.payload.payment_id).collect();
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, payment_id, student_id, course_id, created_at
             FROM student_course_purchases WHERE payment_id = ANY($1)",
        )
        .bind(&payments)
        .fetch_all(db)
        .await?;
        let rows: HashMap<Uuid, Row> = rows.into_iter().map(|row| (row.payment_id, row)).collect();
        Ok(events
            .iter()
            .map(|received| {
                let row = rows.get(&received.event.payload.payment_id)?;
                Some(row.created(received.event.correlation_id).into())
            })
            .collect())
    }
}

impl Row {
    fn created(&self, correlation_id: Uuid) -> Event<PurchaseCreated> {
        let payload = PurchaseCreated {
            purchase_id: self.id,
            payment_id: self.payment_id,
            student_id: self.student_id,
            course_id: self.course_id,
        };
        Event::about(payload, correlation_id, self.created_at)
    }
}
