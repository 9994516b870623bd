//! `caravan health`: Docker's health check in an image that has no shell.

use worker_runtime::health;

use diagnostics::{Error, Kind, Result};

/// Ask the role that runs in this container whether it is ready
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// # Errors
/// The role is not ready, or does not respond.
pub(crate) async fn run() -> Result<()> {
    health::probe()
        .await
        .map_err(|why| Error::new(Kind::NotRight, why.to_string()))
}
