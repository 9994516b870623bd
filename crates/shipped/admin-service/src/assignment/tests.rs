use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn trainer(n: u128, capacity: Option<i32>, active_allocations: i32, courses: &[u128]) -> Trainer {
    Trainer {
        id: id(n),
        capacity,
        active_allocations,
        courses: courses.iter().copied().map(id).collect(),
    }
}

#[test]
fn the_least_loaded_then_the_lowest_id() {
    let trainers = [
        trainer(1, None, 3, &[7]),
        trainer(2, None, 1, &[7]),
        trainer(3, None, 1, &[7]),
    ];
    let assigned = assign(&trainers, &[id(7); 6]);
    assert_eq!(assigned, [2, 3, 2, 3, 1, 2].map(|n| Some(id(n))));
}

#[test]
fn a_full_trainer_gets_nobody_and_one_over_capacity_neither() {
    let trainers = [trainer(1, Some(2), 1, &[7]), trainer(2, Some(1), 5, &[7])];
    assert_eq!(assign(&trainers, &[id(7); 2]), [Some(id(1)), None]);
}

#[test]
fn a_course_that_nobody_teaches_does_not_stop_the_others() {
    let trainers = [trainer(1, Some(2), 0, &[7])];
    let assigned = assign(&trainers, &[id(8), id(7), id(8), id(7)]);
    assert_eq!(assigned, [None, Some(id(1)), None, Some(id(1))]);
}

const COURSES: u128 = 4;

fn trainers() -> impl Strategy<Value = Vec<Trainer>> {
    let one = (
        proptest::option::of(0..12i32),
        0..12i32,
        proptest::collection::btree_set(0..COURSES, 0..=COURSES as usize),
    );
    vec(one, 0..8).prop_map(|all| {
        let numbered = (1..).zip(all);
        numbered
            .map(|(n, (capacity, held, courses))| {
                trainer(n, capacity, held, &courses.into_iter().collect::<Vec<_>>())
            })
            .collect()
    })
}

fn purchases() -> impl Strategy<Value = Vec<Uuid>> {
    vec((0..COURSES + 1).prop_map(id), 0..60)
}

/// What each trainer holds after the assignment.
fn loads(trainers: &[Trainer], assigned: &[Option<Uuid>]) -> BTreeMap<Uuid, i32> {
    let mut loads: BTreeMap<Uuid, i32> = trainers
        .iter()
        .map(|t| (t.id, t.active_allocations))
        .collect();
    for trainer in assigned.iter().flatten() {
        *loads.get_mut(trainer).expect("one of the trainers") += 1;
    }
    loads
}

proptest! {
    #[test]
    fn nobody_goes_over_capacity_or_teaches_what_they_cannot(
        trainers in trainers(), purchases in purchases(),
    ) {
        let assigned = assign(&trainers, &purchases);
        prop_assert_eq!(assigned.len(), purchases.len());
        let loads = loads(&trainers, &assigned);
        for trainer in &trainers {
            let most = trainer.capacity.unwrap_or(i32::MAX).max(trainer.active_allocations);
            prop_assert!(loads[&trainer.id] <= most);
        }
        for (course, given) in purchases.iter().zip(&assigned) {
            let given = trainers.iter().find(|t| Some(t.id) == *given);
            prop_assert!(given.is_none_or(|t| t.courses.contains(course)));
        }
    }

    /// Nobody is turned away while somebody has room: who got none finds every teacher full.
    #[test]
    fn a_purchase_has_no_trainer_only_if_all_are_full(trainers in trainers(), purchases in purchases()) {
        let assigned = assign(&trainers, &purchases);
        for (n, (course, given)) in purchases.iter().zip(&assigned).enumerate() {
            let loads = loads(&trainers, &assigned[..n]);
            let free = trainers.iter().any(|t| {
                t.courses.contains(course) && t.capacity.is_none_or(|most| loads[&t.id] < most)
            });
            prop_assert_eq!(given.is_some(), free);
        }
    }

    /// Whatever the order in which the database lists the trainers; and a batch is the same as
    /// its purchases one after another, so that replicas and batch sizes change nothing.
    #[test]
    fn the_same_trainers_and_purchases_are_the_same_assignment(
        trainers in trainers(), purchases in purchases(),
    ) {
        let assigned = assign(&trainers, &purchases);
        let mut one_by_one = trainers;
        one_by_one.reverse();
        for (course, given) in purchases.iter().zip(&assigned) {
            prop_assert_eq!(assign(&one_by_one, &[*course]), [*given]);
            if let Some(t) = one_by_one.iter_mut().find(|t| Some(t.id) == *given) {
                t.active_allocations += 1;
            }
        }
    }

    /// Trainers who can do the same and have no limit end up at most one apart, unless they
    /// began further apart: nobody who is given anything ends above the others.
    #[test]
    fn equals_share_equally(
        held in vec(0..12i32, 1..8), count in 0..60usize,
    ) {
        let trainers: Vec<Trainer> =
            (1..).zip(&held).map(|(n, held)| trainer(n, None, *held, &[7])).collect();
        let assigned = assign(&trainers, &vec![id(7); count]);
        let loads = loads(&trainers, &assigned);
        let least = loads.values().min().expect("at least one");
        for given in assigned.iter().flatten() {
            prop_assert!(loads[given] <= least + 1);
        }
    }
}
