use std::time::Duration;

use super::{Verdict, open, progress_reporter, remedied};
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::dead_letters as output,
};
use diagnostics::{Kind, Result};
use kafka::record::Message;
use proof::dead_letters::{DeadLetters, RecordId, find::Found, journal::Status};

/// Show one dead letter: why it failed, its headers and its payload
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A message or dead letter: TOPIC/PARTITION/OFFSET
    #[arg(value_name = "RECORD")]
    place: RecordId,
    /// Time to search
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
    let pipeline = context.pipeline()?;
    let dead_letters = open(context, &pipeline).await?;
    let (report, spinner) = progress_reporter(context, "dlq show");
    let found = dead_letters.find(&args.place, args.timeout, report).await;
    spinner.finish_and_clear();
    let found = found.map_err(|error| match error.kind {
        Kind::NotRight => error.hint(context.invocation.command("dlq list")),
        _ => remedied(context, error),
    })?;
    let console = &context.console;
    match args.output.output {
        Format::Json => output::document::show(console, &found),
        Format::Table => {
            console.composed(&output::dead_letter(console, &found));
            if let Some(next) = next(&dead_letters, &found) {
                let next = context.invocation.command(&next);
                console.note(&format!("Next: {next}"));
            }
        }
    }
    Ok(Verdict::Right)
}

/// What helps, as a dry run. Where events are JSON, one that is not fails again whenever it is replayed.
fn next(dead_letters: &DeadLetters, found: &Found) -> Option<String> {
    if !matches!(found.status, Status::Waiting | Status::Interrupted) {
        return None;
    }
    let id = found.dead_letter.id();
    Some(match dead_letters.is_unreadable(found.message.payload()) {
        true => format!("dlq purge {id} --dry-run"),
        false => format!("dlq replay {id} --dry-run"),
    })
}
