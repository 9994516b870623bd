//! Docker: what is there, what is to be done, doing it, waiting for it, taking it down.
//!
//! In the order in which data passes: `connect` finds the engine; `observe` says what it has;
//! `images` brings what is to run; `spec` turns a service into what Docker is handed and `plan`
//! compares that with what is there; `up` carries the plan out, each service as soon as its own
//! dependencies allow; `down` takes it all away again. Nothing here prints: events go to a channel.

mod connect;
pub(crate) mod event;
pub(crate) mod images;
pub(crate) mod labels;
mod logs;
mod observe;
pub(crate) mod observed;
mod report;
mod rotation;

pub(crate) use connect::Engine;
#[expect(unused_imports, reason = "the engine's public face")]
pub(crate) use logs::{LogOptions, StartLogs};
pub(crate) use report::{ServiceReport, UpReport};
