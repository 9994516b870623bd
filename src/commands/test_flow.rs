use std::time::Duration;

use tokio::sync::mpsc;

use super::Verdict;
use crate::{
    context::Context,
    error::Result,
    flags::{Format, OutputArgs},
    output::{json, timeline},
    probe::{self, Cleanup},
};

/// Send one synthetic payment through and follow it hop by hop
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the payment's rows instead of deleting them at the end
    #[arg(long)]
    keep: bool,
    /// How long to wait for the last hop
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        env = "CARAVAN_TIMEOUT"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let engine = context.engine().await?;
    let (hops, mut seen) = mpsc::unbounded_channel();
    let console = std::sync::Arc::clone(&context.console);
    let live = tokio::spawn(async move {
        let spinner = console.spinner("test-flow");
        let mut count = 0_usize;
        while seen.recv().await.is_some() {
            count += 1;
            spinner.set_message(format!("{count} hops seen"));
        }
        spinner.finish_and_clear();
    });
    let options = probe::Options {
        keep: args.keep,
        timeout: args.timeout,
    };
    let outcome = probe::run(&pipeline, &engine, options, context.cancel.clone(), hops).await;
    // Ends with its channel; a panic in it would have been reported by the hook.
    drop(live.await);
    let trace = outcome?;
    let console = &context.console;
    match args.output.output {
        Format::Json => {
            let document = timeline::value(&pipeline.project, &trace);
            console.result(&json::document(&document));
        }
        Format::Table => {
            console.result(&timeline::text(console, &trace));
            if trace.missing.is_some() {
                console.note(&format!("Next: {}", context.invocation.command("verify")));
            }
        }
    }
    let complete = trace.missing.is_none() && !matches!(trace.cleanup, Cleanup::Failed(_));
    Ok(if complete {
        Verdict::Right
    } else {
        Verdict::NotRight
    })
}
