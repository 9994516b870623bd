//! One trainer per purchase: the least loaded active one who teaches the course and has capacity.
//!
//! Replicas do not know of each other: they meet at the trainers' row locks. Whoever allocates
//! locks all trainers of the courses at hand, in id order (so that none waits for another in a
//! circle), and gets their load as it is then; it cannot change before the end of the
//! transaction, because whatever changes it needs the same locks.

use std::collections::{HashMap, HashSet};

use caravan_events::ids;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use worker_runtime::database;

use crate::assignment::{Trainer, assign};

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
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    New(Allocation),
    /// The purchase had one; whoever and whatever it was for, it stays.
    Before(Allocation),
    NoTrainer,
}

/// Locked rows come as they are once the lock is ours, not as they were when the statement began.
const LOCK_TRAINERS: &str = "
SELECT t.id, t.capacity, t.active_allocations, ARRAY(
    SELECT c.course_id FROM trainer_courses c
    WHERE c.trainer_id = t.id AND c.course_id = ANY($1)) AS courses
FROM trainers t
WHERE t.active
  AND t.id IN (SELECT c.trainer_id FROM trainer_courses c WHERE c.course_id = ANY($1))
ORDER BY t.id
FOR NO KEY UPDATE OF t";

/// `ON CONFLICT` without a column: whichever unique index is hit, another request was first.
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

    /// The allocation of each purchase, made if there is none yet, all in one transaction. One
    /// outcome each, in order; a purchase that is there twice has its allocation the second time.
    ///
    /// # Errors
    /// The database's; then nothing was allocated.
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
        // Those had their allocation before, or there is nobody for them.
        let before = by_purchase(db, &left).await?;
        if before.is_empty() {
            return Ok(());
        }
        found.add(before);
        left.retain(|p| !found.allocations.contains_key(&p.id));
        // What was held back for purchases that turned out to have theirs is free for the others.
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

/// Brings the loads in memory up to what the database's trigger has made of them.
fn count(trainers: &mut [Trainer], new: &[Allocation]) {
    for allocation in new {
        let trainer = trainers.iter_mut().find(|t| t.id == allocation.trainer_id);
        if let Some(trainer) = trainer {
            trainer.active_allocations += 1;
        }
    }
}

/// Inserted in the order of their keys, so that two batches about the same purchases do not wait
/// for each other in a circle.
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
