//! Which points each worker passes, and what is done at them.

use worker_runtime::kill::Point;

use crate::{
    chance::Chance,
    fleet::{ALLOCATION, CACHE, PURCHASE, SESSION, Trap, WORKERS, With},
};

/// Traps that are set side by side, at most one for each worker.
pub(crate) type Round = Vec<(&'static str, Trap)>;

/// Whether an event's way through the worker passes the point.
fn passes(worker: &str, point: Point) -> bool {
    let writes = [PURCHASE, ALLOCATION, SESSION].contains(&worker);
    let emits = [PURCHASE, ALLOCATION].contains(&worker);
    match point {
        Point::AfterPoll
        | Point::BeforeOffsetCommit
        | Point::AfterOffsetCommit
        | Point::OnRevoke => true,
        Point::AfterAdminCall => worker == ALLOCATION,
        Point::AfterBegin
        | Point::AfterInbox
        | Point::AfterEffect
        | Point::BeforeCommit
        | Point::AfterCommit => writes,
        Point::BeforeProduce | Point::AfterSomeAcks | Point::AfterProduce => emits,
    }
}

/// Holds locks in the database while it is frozen: nobody can go on from there before it wakes.
pub(crate) fn is_in_transaction(point: Point) -> bool {
    use Point::*;
    [AfterBegin, AfterInbox, AfterEffect, BeforeCommit].contains(&point)
}

/// Every worker killed at every point that it passes, each pair once, several side by side.
pub(crate) fn kills(chance: &mut Chance) -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    for worker in WORKERS {
        let mut points = Point::ALL.to_vec();
        points.retain(|point| passes(worker, *point));
        chance.shuffle(&mut points);
        for (n, point) in points.into_iter().enumerate() {
            if n == rounds.len() {
                rounds.push(Vec::new());
            }
            // There is one revocation in a round; anything else happens time and again.
            let nth = match point {
                Point::OnRevoke => 1,
                _ => 1 + chance.below(3),
            };
            let with = With::Kill;
            rounds[n].push((worker, Trap { point, nth, with }));
        }
    }
    rounds
}

/// All workers frozen side by side: before their transaction, within it, after it.
pub(crate) fn zombies(chance: &mut Chance) -> Vec<Round> {
    use Point::*;
    let stages: [&[Point]; 3] = [
        &[AfterPoll, AfterAdminCall],
        &[AfterBegin, AfterInbox, AfterEffect, BeforeCommit],
        &[
            AfterCommit,
            BeforeProduce,
            AfterSomeAcks,
            AfterProduce,
            BeforeOffsetCommit,
        ],
    ];
    let mut round = |stage: &[Point]| {
        let trap = |worker: &&'static str| {
            let mut points = stage.to_vec();
            points.retain(|point| passes(worker, *point));
            (!points.is_empty()).then(|| {
                let point = chance.one_of(&points);
                let (nth, with) = (1 + chance.below(2), With::Stop);
                (*worker, Trap { point, nth, with })
            })
        };
        WORKERS.iter().filter_map(trap).collect()
    };
    stages.map(|stage| round(stage)).into()
}

#[test]
fn every_worker_is_killed_at_every_point_that_it_passes() {
    let rounds = kills(&mut Chance::from_environment());
    let number = |worker| {
        let traps = rounds.iter().flatten();
        traps.filter(|(role, _)| *role == worker).count()
    };
    assert_eq!(WORKERS.map(number), [12, 13, 9, 4]);
    for round in &rounds {
        let mut workers: Vec<_> = round.iter().map(|(worker, _)| worker).collect();
        workers.dedup();
        assert_eq!(workers.len(), round.len(), "one trap for one worker");
    }
    assert_eq!(CACHE, WORKERS[3]);
}
