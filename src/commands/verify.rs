use std::time::Instant;

use super::Verdict;
use crate::{
    checks::{self, Selection},
    context::Context,
    error::Result,
    flags::{Format, OutputArgs},
    output::report,
};

/// Prove that every part of the pipeline works
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let began = Instant::now();
    let pipeline = context.pipeline()?;
    let engine = context.engine().await?;
    let selection = Selection::default();
    let findings = checks::run(&pipeline, &engine, &context.invocation, &selection, |_| {}).await?;
    let took = began.elapsed();
    let right = report::Tally::of(&findings).is_right();
    let (console, format) = (&context.console, args.output.output);
    report::show(console, &pipeline.project, &findings, took, format);
    if format == Format::Table && right && pipeline.flow.is_some() {
        let next = context.invocation.command("test-flow");
        console.note(&format!("Next: {next}"));
    }
    Ok(if right {
        Verdict::Right
    } else {
        Verdict::NotRight
    })
}
