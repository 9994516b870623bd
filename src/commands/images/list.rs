use super::pipeline;
use crate::{
    commands::Verdict,
    context::Context,
    flags::{Format, OutputArgs},
    output::images,
};
use diagnostics::Result;

/// List the pipeline's images, and which the engine has
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = pipeline(context)?;
    let engine = context.engine().await?;
    let needed = engine.needed_images(&pipeline).await?;
    let console = &context.console;
    match args.output.output {
        Format::Table => console.composed(&images::text(console, &needed)),
        Format::Json => images::report(console, &needed, None, false),
    }
    Ok(Verdict::Right)
}
