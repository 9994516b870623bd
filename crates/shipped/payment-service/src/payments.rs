//! Writes a payment and its outbox row in one transaction, once per idempotency key.

use std::sync::Arc;

use caravan_events::{Event, Payload, PurchaseConfirmed, ids};
use chrono::{DateTime, SubsecRound, Utc};
use sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;
use worker_runtime::Trace;

/// A requested payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) student_id: Uuid,
    pub(crate) course_id: Uuid,
    pub(crate) amount_cents: i64,
    pub(crate) currency: String,
    /// Test traffic: the rows are marked as synthetic, and the sender of the test deletes them.
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

/// The outcome of an order.
#[derive(Debug)]
pub(crate) enum Accepted {
    New(Payment),
    /// The key was used before, for the same order.
    Before(Payment),
    /// The key was used before, for another order.
    KeyReused,
    /// The key's payment was deleted between the insert and the lookup, as test traffic may be.
    Vanished,
}

/// `ON CONFLICT` without a column: a conflict on any unique index means that another request was
/// first.
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
    /// Notified of every new payment, so that the relay sends it without polling.
    accepted: Arc<Notify>,
}

impl Payments {
    pub(crate) fn new(pool: PgPool, accepted: Arc<Notify>) -> Self {
        Self { pool, accepted }
    }

    /// Writes the payment and its outbox row, unless the key has a payment already. `trace` is the
    /// trace of the event.
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
        // A separate statement: the insert's snapshot does not contain a row that was committed
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
        // PostgreSQL's precision is microseconds: event and row must have the same time.
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
    fn a_synthetic_order_does_not_match_a_real_payment() {
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
