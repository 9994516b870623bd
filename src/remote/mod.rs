//! The same command at another place: inside the pipeline's network, where its addresses are
//! (docs/decisions/0028).
//!
//! `host` starts a short-lived container of Caravan's own image there and serves it; `agent` is
//! what runs in it: it starts the very same command line as a process of its own. Between the two
//! is one connection, the container's attached stdin and stdout, on which `link` carries many
//! streams (`wire` says which): what the command writes, and the command's connections to Docker,
//! which the host makes in its place. `handover` is what the command is told, on its stdin, and the results
//! that it hands back.

pub(crate) mod agent;
pub(crate) mod answer;
mod handover;
mod host;
mod link;
mod wire;

pub(crate) use answer::FromHere;
pub(crate) use handover::{Handover, INSIDE, hand_back};
pub(crate) use host::run_in_network;
