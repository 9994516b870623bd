//! Who teaches whom: the decision, without the database.

use std::collections::HashMap;

use uuid::Uuid;

/// A trainer who may be given purchases.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Trainer {
    pub(crate) id: Uuid,
    /// Active allocations that they may hold; None for no limit.
    pub(crate) capacity: Option<i32>,
    /// Active allocations that they hold.
    pub(crate) active_allocations: i32,
    /// What they teach.
    pub(crate) courses: Vec<Uuid>,
}

impl Trainer {
    fn has_capacity(&self) -> bool {
        self.capacity
            .is_none_or(|capacity| self.active_allocations < capacity)
    }
}

/// A trainer for each of `courses` (one for each purchase), in their order: of those who teach it
/// and have capacity left the one who holds least, of equals the one with the lowest id. None
/// where there is nobody. What is given counts for those that come after it.
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
