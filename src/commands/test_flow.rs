use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{Verdict, trace::next_command};
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::flow as output,
};
use declaration::Noun;
use diagnostics::{Kind, Result};
use proof::flow::{self, Progress, many, one};

/// Send test messages through the flow, and account for each
///
/// One is watched at every hop; of many, latencies and throughput are measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many messages
    ///
    /// One is watched at every hop, log lines and Redis keys included. Of more than one, events and rows are
    /// read afterwards, and latencies per hop and throughput are measured.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Messages a second [default: as many as are accepted]
    ///
    /// On a fixed schedule.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Unanswered requests, or events, at a time
    ///
    /// By default 32 requests, 512 with a rate; 5000 events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
    /// Produce the first event instead of a request
    ///
    /// The event is x-caravan.flow.event; the request would go to the entry service.
    #[arg(long)]
    direct: bool,
    /// Send all events again, and compare every row
    ///
    /// After all were consumed; the first ones also with new ids.
    #[arg(long)]
    redeliver: bool,
    /// Send a bad event: it must become a dead letter
    ///
    /// Between four good ones, which must pass. They are looked at as with `--count 4 --direct`.
    #[arg(long, conflicts_with_all = ["count", "rate", "concurrency", "redeliver"])]
    poison: bool,
    /// Only delete the rows that earlier runs left
    ///
    /// Those of this age that they kept or could not delete [default: 10m, so that the rows of a run in
    /// progress stay].
    #[arg(long, value_name = "AGE", num_args = 0..=1, default_missing_value = "10m")]
    #[arg(require_equals = true, value_parser = humantime::parse_duration)]
    #[arg(conflicts_with_all = [
        "count", "rate", "concurrency", "direct", "redeliver", "poison", "keep",
    ])]
    collect: Option<Duration>,
    /// Keep the rows instead of deleting them at the end
    #[arg(long)]
    keep: bool,
    /// Show each step, not only services
    #[arg(long)]
    all: bool,
    /// Time until the last step is seen
    ///
    /// After the last message was sent, until its last step was seen and every group has consumed its events.
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
        Ok(_) => Err("it must be above 0".to_owned()),
        Err(_) => Err("it is not a number".to_owned()),
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    if let Some(age) = args.collect {
        return collect(context, args, age).await;
    }
    let pipeline = context.pipeline()?;
    let (console, noun) = (&context.console, pipeline.noun());
    let options = flow::Options {
        count: args.count as usize,
        rate: args.rate,
        concurrency: args.concurrency.map(usize::from),
        direct: args.direct,
        redeliver: args.redeliver,
        poison: args.poison,
        keep: args.keep,
        timeout: args.timeout,
    };
    let (progress, steps) = mpsc::unbounded_channel();
    let cancel = context.cancel.clone();
    let json = matches!(args.output.output, Format::Json);
    let verify = context.invocation.command("verify");
    let collect = context.invocation.command("test-flow --collect=0s");
    let view = output::View {
        pipeline: &pipeline,
        all: args.all,
        next: None,
        collect: &collect,
    };
    let right = if options.is_one() {
        let engine = context.engine().await?;
        let sending = Box::pin(one::run(&pipeline, &engine, options, cancel, progress));
        let report = while_showing(context, &noun, args.timeout, steps, sending).await?;
        let missing = report.missing.as_ref();
        let command =
            missing.map(|missing| next_command(context, &report.correlation_id, &missing.next));
        match json {
            true => {
                let document = output::document::one(console, &report, command.as_deref());
                console.document(&document);
            }
            false => {
                let next = (!report.is_right()).then_some(command.as_ref().unwrap_or(&verify));
                let next = next.map(String::as_str);
                let view = output::View { next, ..view };
                console.composed(&output::one::text(console, &report, view));
            }
        }
        report.is_right()
    } else {
        let sending = Box::pin(many::run(&pipeline, options, cancel, progress));
        let report = while_showing(context, &noun, args.timeout, steps, sending).await?;
        match json {
            true => console.document(&output::document::many(console, &report)),
            false => {
                let next = (!report.is_right()).then_some(verify.as_str());
                let view = output::View { next, ..view };
                console.composed(&output::many::text(console, &report, view));
            }
        }
        report.is_right()
    };
    Ok(match right {
        true => Verdict::Right,
        false => Verdict::NotRight,
    })
}

/// Interval between two lines of progress without a terminal.
const LINE: Duration = Duration::from_secs(5);

/// Shows progress until `work` is done, which waits for `limit` at most after the last message was sent.
async fn while_showing<T>(
    context: &Context,
    noun: &Noun,
    limit: Duration,
    mut steps: mpsc::UnboundedReceiver<Progress>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (console, noun) = (Arc::clone(&context.console), noun.clone());
    let live = tokio::spawn(async move {
        let spinner = console.spinner("test-flow");
        let mut said = Instant::now();
        while let Some(step) = steps.recv().await {
            let line = output::line(&step, &noun);
            let is_limited = matches!(step, Progress::Seen { .. } | Progress::Passing { .. });
            spinner.set_limit(is_limited.then_some(limit));
            let done = matches!(step, Progress::Sent { .. } | Progress::Passed { .. });
            if done || (!console.live && said.elapsed() > LINE) {
                spinner.suspend(|| console.note(&line));
                said = Instant::now();
            }
            spinner.set_message(&line);
        }
        spinner.finish_and_clear();
    });
    let outcome = work.await;
    // The task ends with its channel; the panic hook reports a panic.
    drop(live.await);
    outcome
}

async fn collect(context: &Context, args: &Args, age: Duration) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let console = &context.console;
    let spinner = console.spinner("test-flow");
    spinner.set_message("waiting until every group has consumed all events");
    let collected = flow::collect(&pipeline, age, args.timeout, &context.cancel).await;
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
        Format::Json => console.document(&output::document::collected(console, &collected)),
        Format::Table => console.composed(&output::collected(console, &collected)),
    }
    Ok(Verdict::Right)
}
