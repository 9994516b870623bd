//! One trainer per purchase: the least loaded active one who teaches the course and has capacity.
//!
//! Replicas coordinate only by the trainers' row locks. An allocation locks all trainers of its
//! courses, in id order, which prevents deadlocks, and reads their load after that. The load cannot
//! change before the end of the transaction, because every change needs the same locks.

use std::collections::{HashMap, HashSet};

use caravan_events::ids;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use worker_runtime::database;

use crate::assignment::{Trainer, assign};

/// A purchase that needs a trainer.
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

/// The outcome for a purchase.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    New(Allocation),
    /// The purchase already had an allocation, which stays, whatever its student and course are.
    Before(Allocation),
    NoTrainer,
}

/// Returns rows as of the lock, not as of the start of the statement.
const LOCK_TRAINERS: &str = "
SELECT t.id, t.capacity, t.active_allocations, ARRAY(
    SELECT c.course_id FROM trainer_courses c
    WHERE c.trainer_id = t.id AND c.course_id = ANY($1)) AS courses
FROM trainers t
WHERE t.active
  AND t.id IN (SELECT c.trainer_id FROM trainer_courses c WHERE c.course_id = ANY($1))
ORDER BY t.id
FOR NO KEY UPDATE OF t";

/// `ON CONFLICT` without a column: a conflict on any unique index means that another request was
/// first.
const INSERT: &str = "
INSERT INTO trainer_allocations (id, purchase_id, trainer_id, student_id, course_id, synthetic)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::boolean[])
ON CONFLICT DO NOTHING
RETURNING id, purchase_id, trainer_id, student_id, course_id, status";

const BY_PURCHASE: &str = "
SELECT id, purchase_id, trainer_id, student_id, course_id, status
FROM trainer_allocations WHERE purchase_id = ANY($1)";

/// The allocations of the database.
#[derive(Debug, Clone)]
pub(crate) struct Allocations {
    pool: PgPool,
}

impl Allocations {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Allocates a trainer to each purchase without one, all in one transaction. Returns one outcome
    /// per purchase, in order; the second occurrence of a purchase is `Before`.
    ///
    /// # Errors
    /// The database's error; then nothing is allocated.
    pub(crate) async fn allocate(
        &self,
        purchases: &[Purchase],
    ) -> Result<Vec<Outcome>, sqlx::Error> {
        let mut transaction = database::begin(&self.pool).await?;
        let mut found = Found::default();
        allocate(&mut transaction, purchases, &mut found).await?;
        transaction.commit().await?;
        Ok(purchases.iter().map(|p| found.take(p.id)).collect())
    }
}

/// The allocations of a batch, by purchase.
#[derive(Default)]
struct Found {
    allocations: HashMap<Uuid, Allocation>,
    new: HashSet<Uuid>,
}

impl Found {
    fn take(&mut self, purchase_id: Uuid) -> Outcome {
        match self.allocations.get(&purchase_id) {
            Some(allocation) if self.new.remove(&purchase_id) => Outcome::New(allocation.clone()),
            Some(allocation) => Outcome::Before(allocation.clone()),
            None => Outcome::NoTrainer,
        }
    }

    fn add(&mut self, allocations: Vec<Allocation>) {
        let by_purchase = allocations.into_iter().map(|a| (a.purchase_id, a));
        self.allocations.extend(by_purchase);
    }
}

async fn allocate(
    db: &mut PgConnection,
    purchases: &[Purchase],
    found: &mut Found,
) -> Result<(), sqlx::Error> {
    let mut seen = HashSet::new();
    let mut left: Vec<&Purchase> = purchases.iter().filter(|p| seen.insert(p.id)).collect();
    let mut trainers = lock_trainers(db, &left).await?;
    loop {
        let courses: Vec<Uuid> = left.iter().map(|p| p.course_id).collect();
        let assigned: Vec<(&Purchase, Uuid)> = left
            .iter()
            .zip(assign(&trainers, &courses))
            .filter_map(|(purchase, trainer)| Some((*purchase, trainer?)))
            .collect();
        let new = insert(db, assigned).await?;
        count(&mut trainers, &new);
        found.new.extend(new.iter().map(|a| a.purchase_id));
        found.add(new);
        left.retain(|p| !found.allocations.contains_key(&p.id));
        if left.is_empty() {
            return Ok(());
        }
        // These already have an allocation, or no trainer is available for them.
        let before = by_purchase(db, &left).await?;
        if before.is_empty() {
            return Ok(());
        }
        found.add(before);
        left.retain(|p| !found.allocations.contains_key(&p.id));
        // Capacity reserved for purchases that already have an allocation is free for the others.
    }
}

async fn lock_trainers(
    db: &mut PgConnection,
    purchases: &[&Purchase],
) -> Result<Vec<Trainer>, sqlx::Error> {
    let courses: HashSet<Uuid> = purchases.iter().map(|p| p.course_id).collect();
    let courses: Vec<Uuid> = courses.into_iter().collect();
    sqlx::query_as(LOCK_TRAINERS)
        .bind(&courses)
        .fetch_all(db)
        .await
}

/// Updates the loads in memory as the database's trigger has updated the rows.
fn count(trainers: &mut [Trainer], new: &[Allocation]) {
    for allocation in new {
        let trainer = trainers.iter_mut().find(|t| t.id == allocation.trainer_id);
        if let Some(trainer) = trainer {
            trainer.active_allocations += 1;
        }
    }
}

/// Inserts in the order of the keys, which prevents deadlocks between batches with the same purchases.
async fn insert(
    db: &mut PgConnection,
    mut assigned: Vec<(&Purchase, Uuid)>,
) -> Result<Vec<Allocation>, sqlx::Error> {
    if assigned.is_empty() {
        return Ok(Vec::new());
    }
    assigned.sort_unstable_by_key(|(purchase, _)| purchase.id);
    let ids = |id: fn(&Purchase) -> Uuid| -> Vec<Uuid> {
        assigned.iter().map(|(purchase, _)| id(purchase)).collect()
    };
    let trainers: Vec<Uuid> = assigned.iter().map(|(_, trainer)| *trainer).collect();
    let synthetic: Vec<bool> = assigned.iter().map(|(p, _)| p.synthetic).collect();
    sqlx::query_as(INSERT)
        .bind(ids(|p| ids::allocation_id(p.id)))
        .bind(ids(|p| p.id))
        .bind(trainers)
        .bind(ids(|p| p.student_id))
        .bind(ids(|p| p.course_id))
        .bind(synthetic)
        .fetch_all(db)
        .await
}

async fn by_purchase(
    db: &mut PgConnection,
    purchases: &[&Purchase],
) -> Result<Vec<Allocation>, sqlx::Error> {
    let purchases: Vec<Uuid> = purchases.iter().map(|p| p.id).collect();
    sqlx::query_as(BY_PURCHASE)
        .bind(&purchases)
        .fetch_all(db)
        .await
}
