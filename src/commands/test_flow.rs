use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Verdict;
use crate::{
    context::Context,
    error::Result,
    flags::{Format, OutputArgs},
    load,
    output::{self, json, timeline},
    probe::{self, Cleanup},
};

/// Send synthetic payments through: one, followed hop by hop, or many, timed and all accounted for
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many payments; with more than one, latencies per hop and throughput are measured
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Payments per second, on a fixed schedule [default: as fast as they are taken]
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Produce the first event (x-caravan.flow.event) instead of asking the entry service
    #[arg(long)]
    direct: bool,
    /// Keep the payments' rows instead of deleting them at the end
    #[arg(long)]
    keep: bool,
    /// How long to wait for the last hop; with many payments, after the last one was sent
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

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        Ok(_) => Err("it has to be above 0".to_owned()),
        Err(_) => Err("it is not a number".to_owned()),
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    if args.count > 1 || args.direct || args.rate.is_some() {
        many(context, args).await
    } else {
        one(context, args).await
    }
}

/// Between two lines of progress where there is no terminal.
const LINE: Duration = Duration::from_secs(5);

async fn many(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let (progress, mut steps) = mpsc::unbounded_channel();
    let console = std::sync::Arc::clone(&context.console);
    let live = tokio::spawn(async move {
        let spinner = console.spinner("test-flow");
        let mut said = Instant::now();
        while let Some(step) = steps.recv().await {
            let line = output::load::line(&step);
            let done = matches!(
                step,
                load::Progress::Sent { .. } | load::Progress::Passed { .. }
            );
            if done || (!console.live && said.elapsed() > LINE) {
                spinner.suspend(|| console.note(&line));
                said = Instant::now();
            }
            spinner.set_message(line);
        }
        spinner.finish_and_clear();
    });
    let options = load::Options {
        count: args.count as usize,
        rate: args.rate,
        direct: args.direct,
        keep: args.keep,
        timeout: args.timeout,
    };
    let outcome = load::run(&pipeline, options, context.cancel.clone(), progress).await;
    // As in `one`.
    drop(live.await);
    let report = outcome?;
    let console = &context.console;
    match args.output.output {
        Format::Json => {
            let document = output::load::value(&pipeline.project, &report);
            console.result(&json::document(&document));
        }
        Format::Table => {
            console.result(&output::load::text(console, &report));
            if !report.is_right() {
                console.note(&format!("Next: {}", context.invocation.command("verify")));
            }
        }
    }
    Ok(if report.is_right() {
        Verdict::Right
    } else {
        Verdict::NotRight
    })
}

async fn one(context: &Context, args: &Args) -> Result<Verdict> {
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
