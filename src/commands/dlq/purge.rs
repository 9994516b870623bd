use std::time::Duration;

use super::{SelectionArgs, Verdict, expect_known, open, progress_reporter, remedied};
use crate::{
    context::{Context, Question},
    flags::{Format, OutputArgs},
    output::dead_letters as output,
};
use diagnostics::{Error, Kind, Result};
use proof::dead_letters::{RecordId, purge::PurgePlan};

/// Permanently delete the oldest dead letters of each partition
///
/// Kafka can delete only the oldest records of a partition, so a selection that keeps an older
/// dead letter of the same partition is refused.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    /// All dead letters
    #[arg(long)]
    all: bool,
    /// Show what would be deleted, without deleting it
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
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
    let selection = args.selection.explicit(context, "purge", args.all)?;
    let flags = selection.flags();
    let pipeline = context.pipeline()?;
    let dead_letters = open(context, &pipeline).await?;
    let (report, spinner) = progress_reporter(context, "dlq purge");
    let plan = dead_letters
        .purge_plan(selection.clone(), args.timeout, report.clone())
        .await;
    spinner.finish_and_clear();
    let plan = plan.map_err(|error| remedied(context, error))?;
    if !plan.partitions.is_empty() {
        expect_known(context, &plan.choices, &selection)?;
    }
    if let Some((stuck, before)) = plan.stuck() {
        return Err(refused(context, stuck, &before));
    }
    let mut deletes = plan.dead_letters() > 0 && !args.dry_run;
    if deletes && !args.yes {
        deletes = confirm(context, &plan, &flags).await?;
    }
    if deletes {
        let (report, spinner) = progress_reporter(context, "dlq purge");
        let purged = dead_letters.purge(&plan, &report).await;
        spinner.finish_and_clear();
        purged.map_err(|error| remedied(context, error))?;
    }
    let console = &context.console;
    match args.output.output {
        Format::Json => {
            output::document::purge(console, dead_letters.topic(), &plan, deletes);
        }
        Format::Table => console.composed(&output::purge_plan(&plan, deletes)),
    }
    Ok(Verdict::Right)
}

fn refused(context: &Context, stuck: u64, before: &[&RecordId]) -> Error {
    let names: Vec<_> = before.iter().take(3).map(ToString::to_string).collect();
    let what = format!(
        "nothing was deleted: {stuck} of the selected dead letters cannot be \
                        deleted"
    );
    let next = before
        .first()
        .map_or_else(|| "dlq list".to_owned(), |p| format!("dlq show {p}"));
    Error::new(Kind::NotRight, what)
        .because("Kafka deletes only the oldest records of a partition")
        .because(format!(
            "older records that are not selected: {}",
            names.join(", ")
        ))
        .because("select those too (--older-than selects the oldest), or replay them first")
        .hint(context.invocation.command(&next))
}

/// Shows what will be deleted, and asks for confirmation.
async fn confirm(context: &Context, plan: &PurgePlan, flags: &str) -> Result<bool> {
    let lost = output::lost(plan);
    context
        .confirm(&Question {
            text: &format!("{lost}. Delete?"),
            declined: "nothing was deleted",
            no_terminal: &format!("{lost}; there is no terminal to confirm it"),
            instead: &format!("dlq purge {flags} --yes"),
        })
        .await
}
