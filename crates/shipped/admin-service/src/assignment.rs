//! Assigns trainers to purchases, without the database.

use std::collections::HashMap;

use uuid::Uuid;

/// A trainer who can be assigned to purchases.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Trainer {
    pub(crate) id: Uuid,
    /// Maximum number of active allocations; None for no limit.
    pub(crate) capacity: Option<i32>,
    /// Number of active allocations.
    pub(crate) active_allocations: i32,
    /// The courses that the trainer teaches.
    pub(crate) courses: Vec<Uuid>,
}

impl Trainer {
    fn has_capacity(&self) -> bool {
        self.capacity
            .is_none_or(|capacity| self.active_allocations < capacity)
    }
}

/// Returns a trainer for each of `courses` (one per purchase), in order: the least loaded one who
/// teaches the course and has capacity, and of equals the one with the lowest id. None if there is
/// none. Each assignment counts for the following ones.
pub(crate) fn assign(trainers: &[Trainer], courses: &[Uuid]) -> Vec<Option<Uuid>> {
    let mut trainers = trainers.to_vec();
    let mut teachers: HashMap<Uuid, Vec<usize>> = HashMap::new();
    for (index, trainer) in trainers.iter().enumerate() {
        for course in &trainer.courses {
            teachers.entry(*course).or_default().push(index);
        }
    }
    courses
        .iter()
        .map(|course| {
            let least_loaded = teachers
                .get(course)?
                .iter()
                .copied()
                .filter(|index| trainers[*index].has_capacity())
                .min_by_key(|index| (trainers[*index].active_allocations, trainers[*index].id))?;
            trainers[least_loaded].active_allocations += 1;
            Some(trainers[least_loaded].id)
        })
        .collect()
}

#[cfg(test)]
mod tests;
