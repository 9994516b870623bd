//! Docker: observes a project's containers, plans changes, applies them, waits for readiness, removes them.
//!
//! In the order in which data passes:
//! - `connect` finds the engine; `observe` lists what it has; `deployment` says which ports a project publishes
//!   and which files it was brought up from;
//! - `images` provides the images; `spec` turns a service into a request to create its container;
//! - `settings` names the keys in which a container differs, and `plan` decides what to do about it (`preview`
//!   shows the plan, `drift` the differences);
//! - `up` starts all services, `apply` brings each one up as soon as its dependencies on the `board` allow;
//! - `wait` waits until a service is ready (`question` queries it) and nothing is a `hindrance`, `still_up` checks
//!   that it still is when the last service is, `rebalance` waits for consumer groups, `failure` explains an error, `outcome` combines all;
//! - `restart` and `down` stop services in the order of `stopping`;
//! - `engine_info`, `inside`, `port_availability` and `leftovers` serve `doctor`;
//! - `network_container` runs commands that need the pipeline's network.
//!
//! Nothing here prints: events go to a channel.

mod connect;
mod deployment;
mod observe;

mod drift;
pub mod images;
mod labels;
mod plan;
pub mod settings;
mod spec;

mod apply;
mod board;
mod containers;
mod hindrance;
mod oneshot;
mod outcome;
mod question;
mod rebalance;
mod resources;
mod still_up;
mod up;
mod wait;

mod exit_code;
mod failure;
mod listening;
pub mod ports;
mod preview;
mod published;
mod refusal;

mod down;
mod restart;
mod stopping;

mod logs;
mod rotation;

pub mod engine_info;
mod inside;
pub mod leftovers;
mod network_container;
pub mod port_availability;

mod platform;

pub use connect::{Engine, OLDEST_API};
