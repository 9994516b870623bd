use super::Verdict;
use crate::{
    context::{Context, Question},
    output::Progress,
    state,
};
use diagnostics::Result;

/// Stop and remove the pipeline's containers and network; data volumes stay
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also remove the data volumes: all data in Kafka and the database is lost
    #[arg(long)]
    volumes: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let source = context.source()?;
    let platform = context.platform().await?;
    let lock = state::lock(source)?;
    let project = source.project().to_owned();
    if args.volumes && !args.yes {
        let volumes = platform.volumes(&project).await?;
        confirm(context, &volumes).await?;
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
    Ok(Verdict::Right)
}

/// Shows what will be deleted, and asks for confirmation.
async fn confirm(context: &Context, volumes: &[String]) -> Result<()> {
    if volumes.is_empty() {
        return Ok(());
    }
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
