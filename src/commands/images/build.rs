use super::pipeline;
use crate::{
    commands::Verdict,
    context::Context,
    flags::{Format, OutputArgs},
    output::{Progress, images},
};
use diagnostics::Result;

/// Pull or build all images, without starting anything
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = pipeline(context)?;
    let engine = context.engine().await?;
    let progress = Progress::start(&context.console);
    let made = engine.make_images(&pipeline, progress.events()).await;
    progress.finish().await;
    made?;
    let needed = engine.needed_images(&pipeline).await?;
    let console = &context.console;
    match args.output.output {
        Format::Table => console.composed(&images::text(console, &needed)),
        Format::Json => images::report(console, &needed, None, false),
    }
    console.next(&context.invocation.command("up"));
    Ok(Verdict::Right)
}
