use std::time::{Duration, Instant};

use super::{Verdict, resolve_services};
use crate::{
    context::Context,
    flags::{Format, LockArgs, OutputArgs},
    output::{Progress, change, plan},
    state,
};
use diagnostics::Result;

/// Restart the pipeline, or the named services, and wait until they are ready
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services, or parts of their names [default: all]
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Show what would be restarted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Time until all is ready
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
    let preview = || platform.preview_restart(&pipeline, &services, &context.invocation);
    if args.dry_run {
        plan::show_steps(&context.console, preview().await?, args.output.output);
        return Ok(Verdict::Right);
    }
    let began = Instant::now();
    let lock = state::lock(context.source()?, args.lock.wait_lock).await?;
    let steps = match args.output.output {
        Format::Json => preview().await?,
        Format::Table => Vec::new(),
    };
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
    if args.output.output == Format::Json {
        change::done(&context.console, &steps, began.elapsed());
    }
    Ok(Verdict::Right)
}
