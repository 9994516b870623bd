use std::time::Duration;

use super::{SelectionArgs, Verdict, expect_known, open, progress_reporter, remedied};
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::dead_letters as output,
};
use diagnostics::Result;
use proof::dead_letters::summary::Request;

/// List dead letters, grouped by source, reason and age
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Also list the newest dead letters one by one
    #[arg(long)]
    each: bool,
    /// Time to read them
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "60s",
        env = "CARAVAN_TIMEOUT"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let selection = args.selection.selection()?;
    let pipeline = context.pipeline()?;
    let dead_letters = open(context, &pipeline).await?;
    let (report, spinner) = progress_reporter(context, "dlq list");
    let request = Request {
        selection: selection.clone(),
        each: args.each,
        patience: args.timeout,
    };
    let summary = dead_letters.summarize(request, report).await;
    spinner.finish_and_clear();
    let summary = summary.map_err(|error| remedied(context, error))?;
    if !summary.incomplete && summary.total > 0 {
        expect_known(context, &summary.choices, &selection)?;
    }
    let console = &context.console;
    match args.output.output {
        Format::Json => output::document::list(console, dead_letters.topic(), &summary),
        Format::Table => {
            let text = output::summary(console, dead_letters.topic(), &summary, &selection);
            console.composed(&text);
            if let Some(place) = &summary.all.example {
                let next = context.invocation.command(&format!("dlq show {place}"));
                console.note(&format!("Next: {next}"));
            }
        }
    }
    if summary.incomplete {
        console.warn("not all dead letters were read in time; a longer --timeout reads more");
        return Ok(Verdict::Late);
    }
    Ok(Verdict::Right)
}
