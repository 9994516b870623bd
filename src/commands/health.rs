//! `caravan health`: Docker's health check in an image that has no shell.

use worker_runtime::health;

use crate::output::Console;
use diagnostics::{Error, Kind, Result};

/// Ask the role that runs in this container whether it is ready
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Docker keeps what it prints, and `verify` reads it: `ready`, or `degraded: ` and what is impaired.
///
/// # Errors
/// The role is not ready, or does not respond.
pub(crate) async fn run(console: &Console) -> Result<()> {
    let degraded = health::probe()
        .await
        .map_err(|why| Error::new(Kind::NotRight, why.to_string()))?;
    console.composed(&match degraded.is_empty() {
        true => "ready".to_owned(),
        false => format!("degraded: {}", degraded.join("; ")),
    });
    Ok(())
}
