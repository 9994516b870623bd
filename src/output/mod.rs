//! The only code that prints. Results go to stdout, everything else to stderr; known secrets are
//! masked in both (`secrets`).
//!
//! - `console`: the two streams, colours, masking, prompts; `terminal`: which streams are a terminal;
//! - `progress`: events, live on a terminal, plain lines otherwise;
//! - `plan`: what `up` would do; `failure`: errors, as text or machine-readable;
//! - `dead_letters`: dead letters, replays and purges; `images`: the images that a pipeline needs;
//! - `report`: findings of `verify` and `doctor`; `flow`: what `test-flow` and `trace` found; `listing`: plain
//!   tables;
//! - `json`: JSON documents; `verbose`: calls to Docker, Kafka and the stores (`-v`).

mod console;
pub(crate) mod dead_letters;
mod failure;
pub(crate) mod flow;
pub(crate) mod images;
pub(crate) mod json;
pub(crate) mod listing;
pub(crate) mod plan;
mod progress;
pub(crate) mod report;
mod secrets;
mod terminal;
mod verbose;

pub(crate) use console::{Console, Paint, check_stdout};
pub(crate) use progress::{Progress, word};
pub(crate) use terminal::Terminal;
pub(crate) use verbose::listen;
