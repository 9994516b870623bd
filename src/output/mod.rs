//! The only code that prints. Results go to stdout, everything else to stderr; known secrets are
//! masked in both (`secrets`).
//!
//! - `console`: the two streams, colours, masking, questions; `terminal`: what they are;
//! - `progress`: the engine's events, live on a terminal, plain lines elsewhere;
//! - `plan`: what `up` would do; `failure`: an error for a person or a machine;
//! - `dead_letters`: what `dlq` shows; `images`: what the pipeline runs from;
//! - `report`: what `verify` and `doctor` found; `flow`: what `test-flow` and `trace` saw; `listing`: plain
//!   tables;
//! - `json`: the machine's form of those; `verbose`: what is asked of others meanwhile (`-v`).

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
