//! Nothing lost and nothing twice, whatever dies: real workers on real Kafka, Postgres and Redis,
//! killed and frozen at every point of an event's way, under load, and the history checked after.
//!
//! - `kills`, `freezes`, `lifecycle`: the scenarios, a test each;
//! - `chance`: the seed (`CARAVAN_CRASH_SEED`) and how often each is gone through
//!   (`CARAVAN_CRASH_ROUNDS`);
//! - `fleet`: the processes; `load`: the payments; `matrix`: who dies where;
//! - `scene`: what a scenario has; `rounds`: what is done in each;
//! - `history`: what has happened, held against what the declaration promises.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: a panic is a failure, and what it prints is its evidence"
)]

mod chance;
mod fleet;
mod freezes;
mod history;
mod kills;
mod lifecycle;
mod load;
mod matrix;
mod rounds;
mod scene;
#[path = "../program/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the whole program")]
mod support;

use std::fs;

use support::{Ran, caravan};

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
