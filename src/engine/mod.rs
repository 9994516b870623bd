//! Docker: what is there, what is to be done, doing it, waiting for it, taking it down.
//!
//! In the order in which data passes: `connect` finds the engine; `observe` says what it has;
//! `images` brings what is to run; `spec` turns a service into what Docker is handed and `plan`
//! compares that with what is there; `up` sets all services going, `apply` brings each one up as
//! soon as its dependencies on the `board` allow, `wait` tells when it is ready and `failure` why
//! it is not; `restart` and `down` are the way back. Nothing here prints: events go to a channel.

mod connect;
pub(crate) mod event;
pub(crate) mod labels;
mod observe;
pub(crate) mod observed;

pub(crate) mod images;
mod plan;
mod spec;

mod apply;
mod board;
mod containers;
mod graph;
mod oneshot;
mod report;
mod resources;
mod up;
mod wait;

mod failure;
mod ports;
mod published;

mod down;
mod restart;

mod logs;
mod rotation;

#[cfg(test)]
pub(crate) mod testing;

pub(crate) use connect::Engine;
pub(crate) use graph::with_dependencies;
pub(crate) use logs::{Filter, LogOptions};
pub(crate) use published::Published;
pub(crate) use report::UpReport;
