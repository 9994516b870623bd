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

/// Every worker that passes the point is killed there, side by side.
pub(crate) fn kills(point: Point, chance: &mut Chance) -> Round {
    let workers = WORKERS.into_iter().filter(|worker| passes(worker, point));
    let mut trap = |worker| {
        // There is one revocation in a round; anything else happens time and again.
        let nth = match point {
            Point::OnRevoke => 1,
            _ => 1 + chance.below(3),
        };
        let with = With::Kill;
        (worker, Trap { point, nth, with })
    };
    workers.map(&mut trap).collect()
}

/// Where in an event's way workers are frozen, of their own transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Before,
    /// They hold locks. Woken early they may yet commit; late, PostgreSQL has ended their transaction.
    Within,
    After,
}

impl Stage {
    fn points(self) -> &'static [Point] {
        use Point::*;
        match self {
            Self::Before => &[AfterPoll, AfterAdminCall],
            Self::Within => &[AfterBegin, AfterInbox, AfterEffect, BeforeCommit],
            Self::After => &[
                AfterCommit,
                BeforeProduce,
                AfterSomeAcks,
                AfterProduce,
                BeforeOffsetCommit,
            ],
        }
    }
}

/// All workers that pass one of the stage's points are frozen at one of them, side by side.
pub(crate) fn freezes(stage: Stage, chance: &mut Chance) -> Round {
    let trap = |worker: &&'static str| {
        let mut points = stage.points().to_vec();
        points.retain(|point| passes(worker, *point));
        (!points.is_empty()).then(|| {
            let point = chance.one_of(&points);
            let (nth, with) = (1 + chance.below(2), With::Stop);
            (*worker, Trap { point, nth, with })
        })
    };
    WORKERS.iter().filter_map(trap).collect()
}

/// For who looks on with `--nocapture`.
pub(crate) fn describe(round: &[(&str, Trap)]) -> String {
    let traps = round
        .iter()
        .map(|(role, trap)| format!("{role} {}:{}", trap.point.name(), trap.nth));
    traps.collect::<Vec<_>>().join(", ")
}

#[test]
fn every_worker_is_killed_at_every_point_that_it_passes() {
    let mut chance = Chance::of("");
    let tested = crate::kills::POINTS.iter();
    let rounds: Vec<_> = tested.map(|point| kills(*point, &mut chance)).collect();
    let number = |worker| {
        let traps = rounds.iter().flatten();
        traps.filter(|(role, _)| *role == worker).count()
    };
    assert_eq!(WORKERS.map(number), [12, 13, 9, 4]);
    for point in Point::ALL {
        let tests = crate::kills::POINTS.iter().filter(|p| **p == point);
        assert_eq!(tests.count(), 1, "{}", point.name());
    }
    for round in &rounds {
        let mut workers: Vec<_> = round.iter().map(|(worker, _)| worker).collect();
        workers.dedup();
        assert_eq!(workers.len(), round.len(), "one trap for one worker");
    }
    assert_eq!(CACHE, WORKERS[3]);
}
