//! The one-shots of the shipped pipeline. Each waits for the service that it changes, creates what is
//! missing, logs what it created and what existed, and exits.

pub mod kafka_init;
pub mod migrate;
