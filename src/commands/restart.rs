use std::time::Duration;

use super::{Verdict, resolve_services};
use crate::{context::Context, output::Progress, state};
use diagnostics::Result;

/// Restart the pipeline, or the named services, and wait until they are ready
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, by name or unambiguous short form; by default all
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// How long to wait until everything is ready
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        env = "CARAVAN_TIMEOUT"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let services = resolve_services(&pipeline, &args.services)?;
    let platform = context.platform().await?;
    let lock = state::lock(context.source()?)?;
    let progress = Progress::start(&context.console);
    let outcome = platform
        .restart(
            &pipeline,
            &services,
            &context.invocation,
            args.timeout,
            progress.events(),
            context.cancel.clone(),
        )
        .await;
    progress.finish().await;
    drop(lock);
    outcome?;
    Ok(Verdict::Right)
}
