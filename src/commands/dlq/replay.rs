use std::time::Duration;

use super::{SelectionArgs, Verdict, expect_known, open, progress_reporter, remedied};
use crate::{
    context::{Context, Question},
    flags::{Format, OutputArgs},
    output::dead_letters as output,
};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use proof::dead_letters::plan::{Plan, Versions};

/// Replay dead letters to the topics and partitions that they came from
///
/// Caravan records what it sent, so a second run sends nothing twice. It sends rounds of growing
/// size and waits after each one until the consumer group has consumed it. If replayed messages
/// fail again, it sends nothing more. It changes no group's offsets. It leaves out what cannot succeed:
/// messages that are not JSON though the flow's events are, and replays that failed again since their group's
/// containers were created.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    /// All dead letters
    #[arg(long)]
    all: bool,
    /// Also send what cannot succeed
    #[arg(long)]
    force: bool,
    /// Show what would be sent, without sending it
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Time to read, and for each round
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
    let selection = args.selection.explicit(context, "replay", args.all)?;
    let mut flags = selection.flags();
    if args.force {
        flags.push_str(" --force");
    }
    let pipeline = context.pipeline()?;
    let versions = match args.force {
        true => None,
        false => Some(versions(context, &pipeline).await),
    };
    let dead_letters = open(context, &pipeline).await?;
    let (report, spinner) = progress_reporter(context, "dlq replay");
    let planned = tokio::select! {
        planned = dead_letters.plan(selection.clone(), versions, args.timeout, report.clone()) => planned,
        () = context.cancel.cancelled() => {
            Err(Error::new(Kind::Interrupted, "interrupted: nothing was sent"))
        }
    };
    spinner.finish_and_clear();
    let plan = planned.map_err(|error| remedied(context, error))?;
    if !plan.seen_nothing() {
        expect_known(context, &plan.choices, &selection)?;
    }
    let console = &context.console;
    let format = args.output.output;
    if args.dry_run || plan.is_empty() {
        match format {
            Format::Json => output::document::replay_planned(console, &plan, args.dry_run),
            Format::Table => {
                console.composed(&output::plan(console, &plan));
                if plan.hopeless() > 0 {
                    console.note("--force sends what cannot succeed; dlq purge deletes it");
                }
            }
        }
        let refused = !args.dry_run && plan.send.is_empty() && plan.hopeless() > 0;
        return Ok(match refused {
            true => Verdict::NotRight,
            false => Verdict::Right,
        });
    }
    console.composed_note(&output::plan(console, &plan));
    if !args.yes && !confirm(context, &plan, &flags).await? {
        if format == Format::Json {
            output::document::replay_planned(console, &plan, true);
        }
        return Ok(Verdict::Right);
    }
    let planned = output::document::Replay::of(&plan, false);
    let (report, spinner) = progress_reporter(context, "dlq replay");
    let outcome = dead_letters
        .replay(plan, args.timeout, &context.cancel, report)
        .await;
    spinner.finish_and_clear();
    let outcome = outcome.map_err(|error| {
        let again = context.invocation.command(&format!("dlq replay {flags}"));
        match error.kind {
            Kind::Interrupted => error.hint(again),
            _ => remedied(context, error),
        }
    })?;
    match format {
        Format::Json => output::document::replayed(console, planned, &outcome),
        Format::Table => {
            console.composed(&output::outcome(console, &outcome));
            let next = match outcome.failed_again.first() {
                Some(failed_again) => format!("dlq show {}", failed_again.dead_letter.id()),
                None => "verify".to_owned(),
            };
            console.note(&format!("Next: {}", context.invocation.command(&next)));
        }
    }
    Ok(if outcome.failed_again.is_empty() {
        Verdict::Right
    } else {
        Verdict::NotRight
    })
}

/// When the newest container of each group was created. A group whose containers cannot be seen is left out, for
/// instance because this process runs in a container on the pipeline's network.
async fn versions(context: &Context, pipeline: &Pipeline) -> Versions {
    if context.is_inside() {
        return Versions::new();
    }
    let Ok(platform) = context.platform().await else {
        return Versions::new();
    };
    let containers = platform.containers(&pipeline.project).await;
    let containers = containers.unwrap_or_default();
    let services = pipeline.services.iter();
    let versions = services.filter_map(|service| {
        let group = service.group.as_ref()?.name()?;
        let own = containers.iter().filter(|c| c.service == service.name);
        let created = own.filter_map(|container| container.created_at).max()?;
        Some((group.to_owned(), created))
    });
    versions.collect()
}

async fn confirm(context: &Context, plan: &Plan, flags: &str) -> Result<bool> {
    context
        .confirm(&Question {
            text: &format!("{}?", output::what(plan)),
            declined: "nothing was sent",
            no_terminal: "nothing was sent: there is no terminal to confirm it",
            instead: &format!("dlq replay {flags} --yes"),
        })
        .await
}
