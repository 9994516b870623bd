//! Workers killed at one point of an event's way: a test for each point.

use worker_runtime::kill::Point;

use crate::{
    matrix,
    scene::{Scene, scenario},
};

macro_rules! a_test_for_each {
    ($($name:ident: $point:ident,)*) => {
        /// What the tests below are about.
        pub(crate) const POINTS: &[Point] = &[$(Point::$point),*];

        $(#[test]
        fn $name() {
            workers_are_killed(concat!("kills::", stringify!($name)), Point::$point);
        })*
    };
}

a_test_for_each! {
    after_poll: AfterPoll,
    after_admin_call: AfterAdminCall,
    after_begin: AfterBegin,
    after_inbox: AfterInbox,
    after_effect: AfterEffect,
    before_commit: BeforeCommit,
    after_commit: AfterCommit,
    before_produce: BeforeProduce,
    after_some_acks: AfterSomeAcks,
    after_produce: AfterProduce,
    before_offset_commit: BeforeOffsetCommit,
    after_offset_commit: AfterOffsetCommit,
    on_revoke: OnRevoke,
}

fn workers_are_killed(test: &str, point: Point) {
    scenario(test, async |site, mut chance| {
        let round = matrix::kills(point, &mut chance);
        let mut scene = Scene::open(site, chance, &round).await;
        let payments = scene.kill_round(&round).await;
        scene.end();
        (matrix::describe(&round), payments)
    });
}
