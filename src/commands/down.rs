use std::time::Instant;

use super::Verdict;
use crate::{
    context::{Context, Question},
    flags::{Format, LockArgs, OutputArgs},
    output::{Progress, change, plan},
    state,
};
use diagnostics::Result;

/// Stop and remove the pipeline's containers and network; data volumes stay
#[derive(Debug, clap::Args)]
#[command(arg = long_verbose())]
pub(crate) struct Args {
    /// Also remove the data volumes, after a question
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Show what would be removed, without removing it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `--verbose` without its short form: as in Docker Compose, `-v` of `down` means `--volumes`.
fn long_verbose() -> clap::Arg {
    clap::Arg::new("verbose")
        .long("verbose")
        .env("CARAVAN_VERBOSE")
        .action(clap::ArgAction::Count)
        .conflicts_with("quiet")
        .hide(true)
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let began = Instant::now();
    let source = context.source()?;
    let platform = context.platform().await?;
    let project = source.project().to_owned();
    if args.dry_run {
        let steps = platform.preview_down(&project, args.volumes).await?;
        plan::show_steps(&context.console, steps, args.output.output);
        return Ok(Verdict::Right);
    }
    let lock = state::lock(source, args.lock.wait_lock).await?;
    let steps = platform.preview_down(&project, args.volumes).await?;
    if args.volumes && !args.yes {
        let volumes = platform.volumes(&project).await?;
        if !volumes.is_empty() && !confirm(context, &volumes).await? {
            if args.output.output == Format::Json {
                change::done(&context.console, &[], began.elapsed());
            }
            return Ok(Verdict::Right);
        }
    }
    let progress = Progress::start(&context.console);
    let outcome = platform
        .down(&project, args.volumes, progress.events())
        .await;
    progress.finish().await;
    if outcome.is_ok() {
        state::remove_files(source, !args.volumes)?;
    }
    drop(lock);
    outcome?;
    if args.output.output == Format::Json {
        change::done(&context.console, &steps, began.elapsed());
    }
    let volumes = platform.volumes(&project).await?;
    if steps.is_empty() {
        context.console.note(&nothing_to_remove(&project, &volumes));
    } else if !volumes.is_empty() {
        let stay = volumes.join(", ");
        context
            .console
            .note(&format!("the data in {stay} stays; --volumes removes it"));
    }
    Ok(Verdict::Right)
}

/// What is said if the project had nothing to remove. `volumes`: those that stay.
fn nothing_to_remove(project: &str, volumes: &[String]) -> String {
    match volumes {
        [] => format!("nothing to remove: {project} has no containers, networks or volumes"),
        stay => format!(
            "nothing to remove: {project} has no containers and networks; {} stays",
            stay.join(", ")
        ),
    }
}

/// Shows what will be deleted, and asks for confirmation.
async fn confirm(context: &Context, volumes: &[String]) -> Result<bool> {
    let lost = format!("the data in {} will be lost", volumes.join(", "));
    context
        .confirm(&Question {
            text: &format!("{lost}. Remove?"),
            declined: "nothing was removed",
            no_terminal: &format!("{lost}; there is no terminal to confirm it"),
            instead: "down --volumes --yes",
        })
        .await
}
