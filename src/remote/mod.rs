//! Runs the same command in a container on the pipeline's network, for addresses that resolve only there
//! (docs/decisions/0028).
//!
//! `host` starts a short-lived container of Caravan's own image and serves it. `agent` is the container's
//! first process: it starts the same command line as a process of its own. Both share one connection, the
//! container's attached stdin and stdout. `link` multiplexes it into streams, which `wire` defines: the
//! command's output, and its connections to Docker, which the host makes on its behalf. `handover` is the
//! input of the command, on its stdin, and the results that it hands back. `answer` answers questions of `up`
//! from there.

pub(crate) mod agent;
pub(crate) mod answer;
mod handover;
mod host;
mod link;
mod wire;

pub(crate) use answer::LocalAnswers;
pub(crate) use handover::{Handover, INSIDE, hand_back};
pub(crate) use host::{NetworkNeeds, run_in_network};
