//! The whole program, from outside. One test binary, because linking is what costs.
//!
//! `cli` needs nothing; the others each bring up the shipped pipeline under a project of their
//! own, on real Docker with real Kafka, Postgres and Redis, and run side by side.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: a panic is a failure, and what it prints is its evidence"
)]

mod allocations;
mod bring_up;
mod builds;
mod cli;
mod compose;
mod compose_keys;
mod converge;
mod database;
mod dead_letters;
mod declare;
mod disks;
mod docker_gone;
mod doctor;
mod drift;
mod effects;
mod evidence;
mod failures;
mod faults;
mod first_start;
mod flow;
mod foreign;
mod groups;
mod hints;
mod housekeeping;
mod images;
mod kept;
mod killed;
mod load;
mod logs;
mod metrics;
mod networks;
mod origin;
mod outages;
mod outputs;
mod ownership;
mod projects;
mod proofs;
mod rules;
mod screens;
mod shapes;
mod shells;
mod signals;
mod stack;
mod stalls;
mod support;
mod terminals;
mod transactions;
mod vantage;
mod workers;
