//! The only code that prints. Results go to stdout, everything else to stderr; known secrets are
//! masked in both (`secrets`), control characters from outside are escaped (`control`).
//!
//! - `console`: the two streams, colours, masking, prompts; `terminal`: which streams are a terminal; `clock`:
//!   times;
//! - `progress`: events, live on a terminal, plain lines otherwise;
//! - `plan`: what `up` would do; `change`: the JSON of what it did; `failure`: errors, as text or machine-readable;
//! - `dead_letters`: dead letters, replays and purges; `images`: the images that a pipeline needs;
//! - `report`: findings of `verify` and `doctor`; `flow`: what `test-flow` and `trace` found; `listing`: plain
//!   tables;
//! - `json`: what all JSON documents have in common; `status`, `topics`, `logs`, `version`: those of commands; `schemas`:
//!   their schemas; `verbose`: calls to Docker, Kafka and the stores (`-v`); `widths`: for tests at terminals of all widths.

pub(crate) mod change;
mod clock;
mod console;
pub(crate) mod control;
pub(crate) mod dead_letters;
mod failure;
pub(crate) mod flow;
pub(crate) mod images;
pub(crate) mod json;
pub(crate) mod listing;
pub(crate) mod logs;
pub(crate) mod plan;
mod progress;
pub(crate) mod report;
#[cfg(test)]
mod schemas;
mod secrets;
pub(crate) mod status;
mod terminal;
pub(crate) mod topics;
mod verbose;
pub(crate) mod version;
#[cfg(test)]
pub(crate) mod widths;

pub(crate) use clock::{Clock, posix_zone};
pub(crate) use console::{Console, Paint, Spinner, check_stdout};
pub(crate) use failure::usage_failure;
pub(crate) use progress::{Progress, word};
pub(crate) use terminal::Terminal;
pub(crate) use verbose::listen;
