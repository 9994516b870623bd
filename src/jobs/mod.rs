//! The one-shots of the pipeline: they wait for what they work on, do it, say what they did and
//! what was there already, and end.
//!
//! - [`kafka_init`]: the declared topics;
//! - [`migrate`]: the embedded migrations;
//! - [`doctor`]: no part of a pipeline: looks around for the command of that name; [`ask`] asks for
//!   `up`, both from inside.

pub(crate) mod ask;
pub(crate) mod doctor;
pub(crate) mod kafka_init;
pub(crate) mod migrate;
