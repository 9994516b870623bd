//! Workers frozen at a stage of an event's way, and woken up when others have taken over.

use crate::{
    matrix::{self, Stage, Wake},
    scene::{Scene, scenario},
};

#[test]
fn before_their_transaction() {
    let test = "freezes::before_their_transaction";
    workers_are_frozen(test, Stage::Before, Wake::Late);
}

#[test]
fn within_it_and_woken_early() {
    let test = "freezes::within_it_and_woken_early";
    workers_are_frozen(test, Stage::Within, Wake::Early);
}

#[test]
fn within_it_and_woken_late() {
    let test = "freezes::within_it_and_woken_late";
    workers_are_frozen(test, Stage::Within, Wake::Late);
}

#[test]
fn after_their_transaction() {
    let test = "freezes::after_their_transaction";
    workers_are_frozen(test, Stage::After, Wake::Late);
}

fn workers_are_frozen(test: &str, stage: Stage, wake: Wake) {
    scenario(test, async |site, mut chance| {
        let round = matrix::freezes(stage, &mut chance);
        let mut scene = Scene::open(site, chance, &round).await;
        let payments = scene.zombie_round(&round, wake).await;
        scene.end();
        let whom = format!("{}, woken {wake:?}", matrix::describe(&round));
        (whom, payments)
    });
}
