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

/// When frozen workers are woken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// As soon as others have their partitions: for the same work, at the same time.
    Early,
    /// Once others have done all of it.
    Late,
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
pub(crate) fn zombies(chance: &mut Chance) -> Vec<(Round, Wake)> {
    use Point::*;
    const BEFORE: &[Point] = &[AfterPoll, AfterAdminCall];
    const WITHIN: &[Point] = &[AfterBegin, AfterInbox, AfterEffect, BeforeCommit];
    const AFTER: &[Point] = &[
        AfterCommit,
        BeforeProduce,
        AfterSomeAcks,
        AfterProduce,
        BeforeOffsetCommit,
    ];
    // Within it they hold locks. Woken early they may yet commit; late, PostgreSQL has ended
    // their transaction.
    let stages = [
        (BEFORE, Wake::Late),
        (WITHIN, Wake::Early),
        (WITHIN, Wake::Late),
        (AFTER, Wake::Late),
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
    stages.map(|(stage, wake)| (round(stage), wake)).into()
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
