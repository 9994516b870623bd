use std::time::Duration;

use super::{SelectionArgs, Verdict, expect_known, open, remedied, teller};
use crate::{
    context::{Context, Question},
    flags::{Format, OutputArgs},
    output::dead_letters as output,
};
use diagnostics::{Error, Kind, Result};
use proof::dead_letters::{Place, purge::Cuts};

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
    let letters = open(context, &pipeline).await?;
    let (tell, spinner) = teller(context, "dlq purge");
    let cuts = letters
        .cuts(selection.clone(), args.timeout, tell.clone())
        .await;
    spinner.finish_and_clear();
    let cuts = cuts.map_err(|error| remedied(context, error))?;
    if !cuts.partitions.is_empty() {
        expect_known(context, &cuts.choices, &selection)?;
    }
    if let Some((stuck, before)) = cuts.stuck() {
        return Err(refused(context, stuck, &before));
    }
    let deletes = cuts.letters() > 0 && !args.dry_run;
    if deletes && !args.yes {
        confirm(context, &cuts, &flags).await?;
    }
    if deletes {
        let (tell, spinner) = teller(context, "dlq purge");
        let purged = letters.purge(&cuts, &tell).await;
        spinner.finish_and_clear();
        purged.map_err(|error| remedied(context, error))?;
    }
    let console = &context.console;
    match args.output.output {
        Format::Json => {
            let document = output::cuts_value(&pipeline.project, letters.topic(), &cuts, deletes);
            console.document(&document);
        }
        Format::Table => console.result(&output::cuts(&cuts, deletes)),
    }
    Ok(Verdict::Right)
}

fn refused(context: &Context, stuck: u64, before: &[&Place]) -> Error {
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
async fn confirm(context: &Context, cuts: &Cuts, flags: &str) -> Result<()> {
    let lost = output::lost(cuts);
    context
        .confirm(&Question {
            text: &format!("{lost}. Delete?"),
            declined: "nothing was deleted",
            unasked: &format!("{lost}, and there is no terminal to ask on"),
            instead: &format!("dlq purge {flags} --yes"),
        })
        .await
}
