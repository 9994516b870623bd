//! One trainer per purchase: the least loaded active one who teaches the course and has capacity.
//!
//! Replicas do not know of each other: they meet at the trainers' row locks. Whoever allocates
//! locks all trainers of the course, in id order (so that none waits for another in a circle),
//! and only then counts; what it counts cannot change before it commits.

use caravan_events::ids;
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

/// What is to be allocated.
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    pub(crate) id: Uuid,
    pub(crate) student_id: Uuid,
    pub(crate) course_id: Uuid,
    pub(crate) synthetic: bool,
}

/// A row of `trainer_allocations`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Allocation {
    pub(crate) id: Uuid,
    pub(crate) purchase_id: Uuid,
    pub(crate) trainer_id: Uuid,
    pub(crate) student_id: Uuid,
    pub(crate) course_id: Uuid,
    pub(crate) status: String,
}

/// What became of a purchase.
#[derive(Debug)]
pub(crate) enum Outcome {
    New(Allocation),
    /// The purchase had one; whoever and whatever it was for, it stays.
    Before(Allocation),
    NoTrainer,
}

const BY_PURCHASE: &str = "
SELECT id, purchase_id, trainer_id, student_id, course_id, status
FROM trainer_allocations WHERE purchase_id = $1";

const LOCK_TRAINERS: &str = "
SELECT t.id FROM trainers t
JOIN trainer_courses c ON c.trainer_id = t.id
WHERE c.course_id = $1 AND t.active
ORDER BY t.id
FOR NO KEY UPDATE OF t";

/// Looks again at what it knows of the trainers, since their locks may have been waited for.
/// `ON CONFLICT` without a column: whichever unique index is hit, another request was first.
const ALLOCATE: &str = "
INSERT INTO trainer_allocations (id, purchase_id, trainer_id, student_id, course_id, synthetic)
SELECT $1, $2, t.id, $3, $4, $5
FROM trainers t
CROSS JOIN LATERAL (
    SELECT count(*) AS held FROM trainer_allocations a
    WHERE a.trainer_id = t.id AND a.status = 'active') load
WHERE t.id = ANY($6) AND t.active AND (t.capacity IS NULL OR load.held < t.capacity)
ORDER BY load.held, t.id
LIMIT 1
ON CONFLICT DO NOTHING
RETURNING id, purchase_id, trainer_id, student_id, course_id, status";

/// The allocations of the database.
#[derive(Debug, Clone)]
pub(crate) struct Allocations {
    pool: PgPool,
}

impl Allocations {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The purchase's allocation, made if there is none yet.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn allocate(&self, purchase: &Purchase) -> Result<Outcome, sqlx::Error> {
        // Most repetitions end here, without a lock.
        if let Some(allocation) = self.find(purchase.id).await? {
            return Ok(Outcome::Before(allocation));
        }
        let mut transaction = self.pool.begin().await?;
        let trainers: Vec<Uuid> = sqlx::query_scalar(LOCK_TRAINERS)
            .bind(purchase.course_id)
            .fetch_all(&mut *transaction)
            .await?;
        // A statement of its own: it has to see what others committed while we waited.
        let allocation = insert(&mut transaction, purchase, &trainers).await?;
        transaction.commit().await?;
        match allocation {
            Some(allocation) => Ok(Outcome::New(allocation)),
            // Either nobody is free, or another request for this purchase was first.
            None => Ok(self
                .find(purchase.id)
                .await?
                .map_or(Outcome::NoTrainer, Outcome::Before)),
        }
    }

    async fn find(&self, purchase_id: Uuid) -> Result<Option<Allocation>, sqlx::Error> {
        sqlx::query_as(BY_PURCHASE)
            .bind(purchase_id)
            .fetch_optional(&self.pool)
            .await
    }
}

async fn insert(
    transaction: &mut Transaction<'_, Postgres>,
    purchase: &Purchase,
    trainers: &[Uuid],
) -> Result<Option<Allocation>, sqlx::Error> {
    sqlx::query_as(ALLOCATE)
        .bind(ids::allocation_id(purchase.id))
        .bind(purchase.id)
        .bind(purchase.student_id)
        .bind(purchase.course_id)
        .bind(purchase.synthetic)
        .bind(trainers)
        .fetch_optional(&mut **transaction)
        .await
}
