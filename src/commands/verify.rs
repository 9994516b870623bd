use std::time::Instant;

use tokio::sync::mpsc;

use super::Verdict;
use crate::{
    checks,
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
    let (sender, mut receiver) = mpsc::unbounded_channel();
    checks::run(&pipeline, &engine, &context.invocation, sender).await?;
    let mut findings = Vec::new();
    while let Ok(finding) = receiver.try_recv() {
        findings.push(finding);
    }
    checks::sort(&pipeline, &mut findings);
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
