use std::time::Instant;

use super::Verdict;
use crate::{
    context::Context,
    doctor::{self, Patient},
    flags::ReportArgs,
    output::report::{self, Report},
};
use diagnostics::{Error, Kind, Result};

/// Check whether this machine and its Docker can run the pipeline
///
/// Starts one short-lived container on a temporary network, and removes both.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: ReportArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let began = Instant::now();
    let source = context.source()?;
    let pipeline = context.resolve_without_secrets(source)?;
    let patient = Patient {
        source,
        pipeline: &pipeline,
        invocation: &context.invocation,
    };
    let spinner = context.console.spinner("doctor");
    spinner.set_message("checking");
    let engine = context.any_engine().await;
    let findings = Box::pin(doctor::examine(patient, engine, &context.cancel)).await;
    spinner.finish_and_clear();
    if context.cancel.is_cancelled() {
        return Err(interrupted());
    }
    let report = Report {
        project: &pipeline.project,
        findings: &findings,
        took: began.elapsed(),
        strict: false,
    };
    let (console, format) = (&context.console, args.output.output);
    for finding in &findings {
        report::show_finding(console, finding, format);
    }
    report::show(console, report, format);
    Ok(match report.is_right() {
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
