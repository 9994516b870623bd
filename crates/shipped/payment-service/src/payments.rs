//! A payment and the announcement of it: one transaction, once per idempotency key.

use std::sync::Arc;

use caravan_events::{Event, Payload, PurchaseConfirmed, ids};
use chrono::{DateTime, SubsecRound, Utc};
use sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;
use worker_runtime::Trace;

/// What a caller wants paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) student_id: Uuid,
    pub(crate) course_id: Uuid,
    pub(crate) amount_cents: i64,
    pub(crate) currency: String,
    /// Test traffic: marked as such, and deleted by whoever sent it.
    pub(crate) synthetic: bool,
}

/// A row of `payments`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Payment {
    pub(crate) id: Uuid,
    pub(crate) student_id: Uuid,
    pub(crate) course_id: Uuid,
    pub(crate) amount_cents: i64,
    pub(crate) currency: String,
    pub(crate) status: String,
    pub(crate) synthetic: bool,
    pub(crate) created_at: DateTime<Utc>,
}

impl Payment {
    fn is_for(&self, order: &Order) -> bool {
        self.student_id == order.student_id
            && self.course_id == order.course_id
            && self.amount_cents == order.amount_cents
            && self.currency == order.currency
            && self.synthetic == order.synthetic
    }
}

/// What became of an order.
#[derive(Debug)]
pub(crate) enum Accepted {
    New(Payment),
    /// The key was used before, for the same order.
    Before(Payment),
    /// The key was used before, for another order.
    KeyReused,
    /// The key's payment came and went while we looked, as those of test traffic may.
    Vanished,
}

/// `ON CONFLICT` without a column: whichever unique index is hit, another request was first.
const INSERT: &str = "
WITH payment AS (
    INSERT INTO payments (id, idempotency_key, student_id, course_id, amount_cents, currency,
                          synthetic, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT DO NOTHING
    RETURNING *
), announcement AS (
    INSERT INTO outbox (event_id, correlation_id, topic, event, synthetic, traceparent)
    SELECT $9, id, $10, $11, synthetic, $12 FROM payment
)
SELECT id, student_id, course_id, amount_cents, currency, status, synthetic, created_at
FROM payment";

const BY_KEY: &str = "
SELECT id, student_id, course_id, amount_cents, currency, status, synthetic, created_at
FROM payments WHERE idempotency_key = $1";

const BY_ID: &str = "
SELECT id, student_id, course_id, amount_cents, currency, status, synthetic, created_at
FROM payments WHERE id = $1";

/// The payments of the database.
#[derive(Debug, Clone)]
pub(crate) struct Payments {
    pool: PgPool,
    /// Told of every new payment, so that the relay need not look for it.
    accepted: Arc<Notify>,
}

impl Payments {
    pub(crate) fn new(pool: PgPool, accepted: Arc<Notify>) -> Self {
        Self { pool, accepted }
    }

    /// Writes the payment and its announcement, unless the key has one already. `trace` is what
    /// the announcement belongs to.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn accept(
        &self,
        key: &str,
        order: &Order,
        trace: Trace,
    ) -> Result<Accepted, sqlx::Error> {
        if let Some(payment) = self.insert(key, order, trace).await? {
            self.accepted.notify_one();
            return Ok(Accepted::New(payment));
        }
        // A statement of its own: the insert's snapshot cannot see a row that was committed
        // while the insert waited for it.
        let before: Option<Payment> = sqlx::query_as(BY_KEY)
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        Ok(match before {
            Some(payment) if payment.is_for(order) => Accepted::Before(payment),
            Some(_) => Accepted::KeyReused,
            None => Accepted::Vanished,
        })
    }

    async fn insert(
        &self,
        key: &str,
        order: &Order,
        trace: Trace,
    ) -> Result<Option<Payment>, sqlx::Error> {
        let id = ids::time_ordered();
        // What PostgreSQL can hold, so that event and row tell the same moment.
        let created_at = Utc::now().trunc_subsecs(6);
        let payload = PurchaseConfirmed {
            payment_id: id,
            student_id: order.student_id,
            course_id: order.course_id,
            amount_cents: order.amount_cents,
            currency: order.currency.clone(),
        };
        let event = Event::about(payload, id, created_at);
        sqlx::query_as(INSERT)
            .bind(id)
            .bind(key)
            .bind(order.student_id)
            .bind(order.course_id)
            .bind(order.amount_cents)
            .bind(&order.currency)
            .bind(order.synthetic)
            .bind(created_at)
            .bind(event.event_id)
            .bind(PurchaseConfirmed::TOPIC)
            .bind(event.encode())
            .bind(trace.to_string())
            .fetch_optional(&self.pool)
            .await
    }

    /// # Errors
    /// The database's.
    pub(crate) async fn find(&self, id: Uuid) -> Result<Option<Payment>, sqlx::Error> {
        sqlx::query_as(BY_ID)
            .bind(id)
            .fetch_optional(&self.pool)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_does_not_stand_for_the_payment_it_looks_like() {
        let order = Order {
            student_id: Uuid::from_u128(1),
            course_id: Uuid::from_u128(2),
            amount_cents: 4900,
            currency: "EUR".to_owned(),
            synthetic: true,
        };
        let payment = Payment {
            id: Uuid::from_u128(3),
            student_id: order.student_id,
            course_id: order.course_id,
            amount_cents: order.amount_cents,
            currency: order.currency.clone(),
            status: "confirmed".to_owned(),
            synthetic: true,
            created_at: Utc::now(),
        };
        assert!(payment.is_for(&order));
        let real = Order {
            synthetic: false,
            ..order
        };
        assert!(!payment.is_for(&real));
    }
}
