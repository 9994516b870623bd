//! The one-shots of the shipped pipeline. Each waits for the service that it changes, makes what is
//! missing, logs what it made and what existed, and ends.

pub mod kafka_init;
pub mod migrate;
