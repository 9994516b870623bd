use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Verdict;
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::{self, timeline},
};
use diagnostics::{Kind, Result};
use proof::{load, probe};

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
    /// At most so many requests or events that wait for their answer at one time [default: 32
    /// requests, 512 with a rate; 5000 events]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
    /// Produce the first event (x-caravan.flow.event) instead of asking the entry service
    #[arg(long)]
    direct: bool,
    /// Once they are through, send the same events again, and the first ones under new ids, and
    /// compare every row
    #[arg(long)]
    redeliver: bool,
    /// Send a bad event between good ones: it is to be given up with its reason, they are to pass
    #[arg(long, conflicts_with_all = ["count", "rate", "concurrency", "redeliver"])]
    poison: bool,
    /// Send nothing: delete the rows that earlier runs kept or had to leave, of that age [default:
    /// 10m, so that those of a run under way stay]
    #[arg(long, value_name = "AGE", num_args = 0..=1, default_missing_value = "10m")]
    #[arg(require_equals = true, value_parser = humantime::parse_duration)]
    #[arg(conflicts_with_all = [
        "count", "rate", "concurrency", "direct", "redeliver", "poison", "keep",
    ])]
    collect: Option<Duration>,
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
    if let Some(age) = args.collect {
        return collect(context, args, age).await;
    }
    let many_flags = args.direct || args.redeliver || args.poison || args.concurrency.is_some();
    let single = args.count == 1 && !many_flags && args.rate.is_none();
    if !single {
        many(context, args).await
    } else {
        one(context, args).await
    }
}

async fn collect(context: &Context, args: &Args, age: Duration) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let console = &context.console;
    let spinner = console.spinner("test-flow");
    spinner.set_message("waiting until every group has taken what is there");
    let collected = load::collect::collect(&pipeline, age, args.timeout, &context.cancel).await;
    spinner.finish_and_clear();
    let collected = collected.map_err(|error| {
        let next = context.invocation.command("groups");
        if error.kind == Kind::Deadline {
            error.hint(next)
        } else {
            error
        }
    })?;
    match args.output.output {
        Format::Json => {
            let document = output::load::collected_value(&pipeline.project, &collected);
            console.document(&document);
        }
        Format::Table => console.composed(&output::load::collected(console, &collected)),
    }
    Ok(Verdict::Right)
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
        concurrency: args.concurrency.map(usize::from),
        direct: args.direct,
        redeliver: args.redeliver,
        poison: args.poison,
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
            console.document(&document);
        }
        Format::Table => {
            console.composed(&output::load::text(console, &report));
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
            console.document(&document);
        }
        Format::Table => {
            console.composed(&timeline::text(console, &trace));
            if trace.missing.is_some() {
                console.note(&format!("Next: {}", context.invocation.command("verify")));
            }
        }
    }
    Ok(if trace.is_right() {
        Verdict::Right
    } else {
        Verdict::NotRight
    })
}
