//! The rows that payments leave, and the statements that insert them: one for each worker, its
//! inbox rows included, prepared once by the connection.

use caravan_events::ids;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use crate::Result;

/// Sessions of an allocation.
const SESSIONS: i32 = 7;

/// A course and a trainer of the migrations.
const COURSE: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_c001);
const TRAINER: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_a001);

const PURCHASES: &str = "
WITH inbox AS (
    INSERT INTO processed_events (consumer, event_id)
    SELECT 'purchase-worker', * FROM unnest($4::uuid[]))
INSERT INTO student_course_purchases
    (id, payment_id, student_id, course_id, amount_cents, currency, synthetic)
SELECT *, $5, 4900, 'EUR', true FROM unnest($1::uuid[], $2::uuid[], $3::uuid[])";

const ALLOCATIONS: &str = "
WITH inbox AS (
    INSERT INTO processed_events (consumer, event_id)
    SELECT 'allocation-worker', * FROM unnest($4::uuid[]))
INSERT INTO trainer_allocations
    (id, purchase_id, student_id, trainer_id, course_id, synthetic)
SELECT *, $5, $6, true FROM unnest($1::uuid[], $2::uuid[], $3::uuid[])";

const SESSIONS_SQL: &str = "
WITH inbox AS (
    INSERT INTO processed_events (consumer, event_id)
    SELECT 'session-worker', * FROM unnest($4::uuid[]))
INSERT INTO tutoring_sessions (allocation_id, seq, starts_at, synthetic)
SELECT *, true FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[])";

/// The rows of a batch of payments, column by column.
pub(crate) struct Batch {
    payments: Vec<Uuid>,
    purchases: Vec<Uuid>,
    students: Vec<Uuid>,
    allocations: Vec<Uuid>,
    allocation_of: Vec<Uuid>,
    seq: Vec<i32>,
    starts_at: Vec<DateTime<Utc>>,
    /// One event a payment for each of the three workers.
    events: [Vec<Uuid>; 3],
}

/// One of the three inserts of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Insert {
    Purchases,
    Allocations,
    Sessions,
}

impl Insert {
    /// In the order of the pipeline.
    pub(crate) const ALL: [Self; 3] = [Self::Purchases, Self::Allocations, Self::Sessions];
}

impl Batch {
    /// Rows of `count` payments, with the ids that the pipeline would derive.
    pub(crate) fn of(count: usize) -> Self {
        let payments: Vec<Uuid> = (0..count).map(|_| ids::time_ordered()).collect();
        let derive = |from: &[Uuid], of: fn(Uuid) -> Uuid| from.iter().map(|id| of(*id)).collect();
        let purchases: Vec<Uuid> = derive(&payments, ids::purchase_id);
        let allocations: Vec<Uuid> = derive(&purchases, ids::allocation_id);
        let sessions = || {
            let each = |id: Uuid| (1..=SESSIONS).map(move |seq| (id, seq));
            allocations.iter().copied().flat_map(each)
        };
        let now = Utc::now();
        Self {
            students: derive(&payments, |_| ids::time_ordered()),
            allocation_of: sessions().map(|(id, _)| id).collect(),
            seq: sessions().map(|(_, seq)| seq).collect(),
            starts_at: sessions()
                .map(|(_, seq)| now + TimeDelta::days(seq.into()))
                .collect(),
            events: [
                derive(&payments, |id| ids::event_id("PURCHASE_CONFIRMED", id)),
                derive(&purchases, |id| ids::event_id("PURCHASE_CREATED", id)),
                derive(&allocations, |id| ids::event_id("TRAINER_ALLOCATED", id)),
            ],
            payments,
            purchases,
            allocations,
        }
    }

    fn query(&self, insert: Insert) -> Query<'_, Postgres, PgArguments> {
        let [purchase, allocation, session] = &self.events;
        match insert {
            Insert::Purchases => sqlx::query(PURCHASES)
                .bind(&self.purchases)
                .bind(&self.payments)
                .bind(&self.students)
                .bind(purchase)
                .bind(COURSE),
            Insert::Allocations => sqlx::query(ALLOCATIONS)
                .bind(&self.allocations)
                .bind(&self.purchases)
                .bind(&self.students)
                .bind(allocation)
                .bind(TRAINER)
                .bind(COURSE),
            Insert::Sessions => sqlx::query(SESSIONS_SQL)
                .bind(&self.allocation_of)
                .bind(&self.seq)
                .bind(&self.starts_at)
                .bind(session),
        }
    }

    /// Whose sessions there are.
    pub(crate) fn allocations(&self) -> &[Uuid] {
        &self.allocations
    }

    /// Deletes the rows again.
    pub(crate) async fn delete(&self, db: &mut PgConnection) -> Result<()> {
        for (sql, ids) in [
            (
                "DELETE FROM tutoring_sessions WHERE allocation_id = ANY($1)",
                &self.allocations,
            ),
            (
                "DELETE FROM trainer_allocations WHERE id = ANY($1)",
                &self.allocations,
            ),
            (
                "DELETE FROM student_course_purchases WHERE id = ANY($1)",
                &self.purchases,
            ),
            (
                "DELETE FROM processed_events WHERE event_id = ANY($1)",
                &self.events.concat(),
            ),
        ] {
            sqlx::query(sql).bind(ids).execute(&mut *db).await?;
        }
        Ok(())
    }

    /// Runs one insert; outside of a transaction it is one of its own.
    pub(crate) async fn insert(&self, db: &mut PgConnection, insert: Insert) -> Result<()> {
        self.query(insert).execute(db).await?;
        Ok(())
    }
}
