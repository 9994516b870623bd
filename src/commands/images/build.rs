use super::pipeline;
use crate::{
    commands::Verdict,
    context::Context,
    output::{Progress, images},
};
use diagnostics::Result;

/// Pull or build all images that `up` would, in parallel, without starting anything
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(context: &Context, _args: &Args) -> Result<Verdict> {
    let pipeline = pipeline(context)?;
    let engine = context.engine().await?;
    let progress = Progress::start(&context.console);
    let made = engine.make_images(&pipeline, progress.events()).await;
    progress.finish().await;
    made?;
    let needed = engine.needed_images(&pipeline).await?;
    let console = &context.console;
    console.composed(&images::text(console, &needed));
    console.next(&context.invocation.command("up"));
    Ok(Verdict::Right)
}
