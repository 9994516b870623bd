use std::time::Instant;

use super::Verdict;
use crate::{
    checks::doctor::{self, Patient},
    context::Context,
    error::{Error, Kind, Result},
    flags::OutputArgs,
    output::report,
};

/// Examine this machine and its Docker, and say what keeps the pipeline from coming up
///
/// Starts one short-lived container, on a network of its own, and removes both again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let began = Instant::now();
    let source = context.source()?;
    let pipeline = context.resolve_without_secrets(&source)?;
    let patient = Patient {
        source: &source,
        pipeline: &pipeline,
        invocation: &context.invocation,
    };
    let spinner = context.console.spinner("doctor");
    spinner.set_message("looking around");
    let engine = context.any_engine().await;
    let findings = Box::pin(doctor::examine(patient, engine, &context.cancel)).await;
    spinner.finish_and_clear();
    if context.cancel.is_cancelled() {
        return Err(interrupted());
    }
    let took = began.elapsed();
    let console = &context.console;
    let format = args.output.output;
    report::show(console, &pipeline.project, &findings, took, format);
    Ok(match report::Tally::of(&findings).is_right() {
        true => {
            let next = context.invocation.command("up");
            console.note(&format!("Next: {next}"));
            Verdict::Right
        }
        false if doctor::is_unreachable(&findings) => Verdict::Unreachable,
        false => Verdict::NotRight,
    })
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted").because("nothing was left behind")
}
