//! Nothing lost and nothing twice, whatever dies: real workers on real Kafka, Postgres and Redis,
//! killed and frozen at every point of an event's way, under load, and the history checked after.
//!
//! - `chance`: the seed (`CARAVAN_CRASH_SEED`) and how long to run (`CARAVAN_CRASH_ROUNDS`);
//! - `fleet`: the processes; `load`: the payments; `matrix`: who dies where;
//! - `scene`: what all rounds share; `rounds`: what is done in each;
//! - `history`: what has happened, held against what the declaration promises.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: a panic is a failure, and what it prints is its evidence"
)]

mod chance;
mod fleet;
mod history;
mod load;
mod matrix;
mod rounds;
mod scene;
#[path = "../program/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the whole program")]
mod support;

use std::{fs, time::Instant};

use chance::Chance;
use matrix::Round;
use scene::Scene;
use support::{Ran, caravan, pipeline::Pipeline};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_doubled() {
    let chance = Chance::from_environment();
    let _told = Told(chance.command());
    eprintln!("{}", chance.command());
    let pipeline = Pipeline::declared("crash", &[]);
    let infrastructure = ["up", "kafka-init", "migrate", "redis"];
    pipeline.caravan(&infrastructure).expect(0);
    let mut scene = Scene::open(&pipeline, chance).await;
    for _ in 0..chance::rounds() {
        for round in matrix::kills(&mut scene.chance) {
            let began = Instant::now();
            let payments = scene.kill_round(&round).await;
            tell("killed", &describe(&round), payments.len(), began);
        }
        for round in matrix::zombies(&mut scene.chance) {
            let began = Instant::now();
            let payments = scene.zombie_round(&round).await;
            tell("frozen", &describe(&round), payments.len(), began);
        }
        let began = Instant::now();
        let payments = scene.joins_and_leaves(10).await;
        tell("replicas", "come and go", payments.len(), began);
        let began = Instant::now();
        let payments = scene.services_die(4).await;
        tell("services", "die", payments.len(), began);
        let began = Instant::now();
        let payments = scene.everything_is_asked_to_end().await;
        tell("SIGTERM", "to all", payments.len(), began);
    }
    let load = scene.load();
    let payments = scene.stop(load).await;
    scene.close(&payments).await;
}

/// For who looks on with `--nocapture`.
fn tell(what: &str, whom: &str, payments: usize, began: Instant) {
    eprintln!(
        "{what} {whom}: {payments} payments, {:.1?}",
        began.elapsed()
    );
}

fn describe(round: &Round) -> String {
    let traps = round
        .iter()
        .map(|(role, trap)| format!("{role} {}:{}", trap.point.name(), trap.nth));
    traps.collect::<Vec<_>>().join(", ")
}

/// Says how to see a failure again.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: {}", self.0);
        }
    }
}

#[test]
fn a_wrong_kill_point_is_an_error_at_the_start() {
    for (at, with, word) in [
        ("after-lunch", "kill", "after-commit"),
        ("after-poll:0", "kill", "CARAVAN_KILL_AT"),
        ("after-poll", "term", "CARAVAN_KILL_WITH"),
        ("", "stop", "CARAVAN_KILL_AT"),
    ] {
        let mut command = caravan();
        command.args(["run", "purchase-worker"]);
        command.envs([("CARAVAN_KILL_AT", at), ("CARAVAN_KILL_WITH", with)]);
        let ran = Ran::of(command.output().unwrap()).expect(2);
        assert!(ran.stderr.contains(word), "{at:?} {with:?}: {}", ran.stderr);
    }
}

/// The counterpart of `no_kill_points_are_shipped` in tests/program/cli.rs: what is looked for
/// there can be found.
#[test]
fn kill_points_show_in_an_executable_that_has_them() {
    let executable = fs::read(env!("CARGO_BIN_EXE_caravan")).unwrap();
    let name = b"CARAVAN_KILL_AT";
    assert!(executable.windows(name.len()).any(|bytes| bytes == name));
}
