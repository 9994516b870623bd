use std::time::Duration;

use super::{SelectionArgs, Verdict, expect_known, open, progress_reporter, remedied};
use crate::{
    context::{Context, Question},
    flags::{Format, OutputArgs},
    output::dead_letters as output,
};
use diagnostics::{Error, Kind, Result};
use proof::dead_letters::{RecordId, purge::PurgePlan};

/// Delete dead letters for ever, from the front of each partition
///
/// Kafka deletes records only together with all that stand before them in their partition: a
/// selection that leaves an older letter standing before one that it takes is refused.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// How long to read
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
    let deletes = plan.dead_letters() > 0 && !args.dry_run;
    if deletes && !args.yes {
        confirm(context, &plan, &flags).await?;
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
            let document =
                output::purge_plan_value(&pipeline.project, dead_letters.topic(), &plan, deletes);
            console.document(&document);
        }
        Format::Table => console.composed(&output::purge_plan(&plan, deletes)),
    }
    Ok(Verdict::Right)
}

fn refused(context: &Context, stuck: u64, before: &[&RecordId]) -> Error {
    let names: Vec<_> = before.iter().take(3).map(ToString::to_string).collect();
    let what = format!("nothing was deleted: {stuck} of the chosen dead letters cannot be");
    let next = before
        .first()
        .map_or_else(|| "dlq list".to_owned(), |p| format!("dlq show {p}"));
    Error::new(Kind::Usage, what)
        .because("Kafka deletes only from the front of a partition")
        .because(format!(
            "not chosen, and standing before them: {}",
            names.join(", ")
        ))
        .because("choose those as well (an --older-than takes whole fronts), or replay them first")
        .hint(context.invocation.command(&next))
}

/// Says what will be lost, and asks.
async fn confirm(context: &Context, plan: &PurgePlan, flags: &str) -> Result<()> {
    let lost = output::lost(plan);
    context
        .confirm(&Question {
            text: &format!("{lost}. Delete?"),
            declined: "nothing was deleted",
            unasked: &format!("{lost}, and there is no terminal to ask on"),
            instead: &format!("dlq purge {flags} --yes"),
        })
        .await
}
