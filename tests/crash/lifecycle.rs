//! Replicas that come and go, services that die, everything asked to end; at last, whether
//! `caravan verify` says the same of all that.

use crate::scene::{Scene, scenario};

#[test]
fn replicas_come_and_go() {
    let test = "lifecycle::replicas_come_and_go";
    scenario(test, async |site, chance| {
        let mut scene = Scene::open(site, chance, &[]).await;
        let payments = scene.joins_and_leaves(10).await;
        scene.end();
        (String::new(), payments)
    });
}

#[test]
fn services_die() {
    let test = "lifecycle::services_die";
    scenario(test, async |site, chance| {
        let mut scene = Scene::open(site, chance, &[]).await;
        let payments = scene.services_die(4).await;
        scene.end();
        (String::new(), payments)
    });
}

#[test]
fn everything_is_stopped_gracefully() {
    let test = "lifecycle::everything_is_stopped_gracefully";
    scenario(test, async |site, chance| {
        let mut scene = Scene::open(site, chance, &[]).await;
        let payments = scene.everything_is_stopped_gracefully().await;
        scene.end();
        (String::new(), payments)
    });
}

/// Tests start in the order of their names: this one comes after whatever else was done to the
/// database.
#[test]
fn wrong_rows_are_found_and_verify_agrees() {
    let test = "lifecycle::wrong_rows_are_found_and_verify_agrees";
    scenario(test, async |site, chance| {
        let mut scene = Scene::open(site, chance, &[]).await;
        let load = scene.load();
        let payments = scene.stop(load).await;
        scene.close(&payments).await;
        (String::new(), payments)
    });
}
