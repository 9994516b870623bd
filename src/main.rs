//! Deploys an event-driven pipeline over the Docker API and proves, end to end, that it works.
//!
//! The way of the data: `pipeline` (declaration to model) -> `engine` (Docker), `checks` and
//! `probe` (findings and hops, through `clients`), `load` (many payments), `past` (one that was) ->
//! `output`. `vantage` runs the same command inside the pipeline's network where it has to be there.
//! docs/architecture.md tells more.

mod cli;
mod commands;
mod context;
mod doctor;
mod flags;
mod output;
mod proposal;
mod remote;
mod state;

use std::{process::ExitCode, sync::Arc};

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    commands::Verdict,
    context::Context,
    output::{Console, Terminal},
    remote::Handover,
};
use diagnostics::{Error, Kind};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.command.format();
    let env: std::collections::BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let no_color = env.get("NO_COLOR").is_some_and(|v| !v.is_empty());
    let handover = Handover::taken(&env);
    let terminal = match &handover {
        Ok(Some(handover)) => handover.terminal,
        Ok(None) | Err(_) => Terminal::here(),
    };
    let console = Arc::new(Console::new(&cli.global, no_color, terminal));
    let outcome = handover.and_then(|handover| execute(cli, Arc::clone(&console), env, handover));
    match outcome {
        Ok(Verdict::Right) => ExitCode::SUCCESS,
        Ok(Verdict::NotRight) => ExitCode::from(Kind::NotRight.exit_code()),
        Ok(Verdict::Unreachable) => ExitCode::from(Kind::Unreachable.exit_code()),
        Ok(Verdict::Told(code)) => ExitCode::from(code),
        Ok(Verdict::Late) => ExitCode::from(Kind::Deadline.exit_code()),
        Err(error) => {
            console.failure(&error, format);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

fn execute(
    cli: Cli,
    console: Arc<Console>,
    env: std::collections::BTreeMap<String, String>,
    handover: Option<Handover>,
) -> diagnostics::Result<Verdict> {
    let defect = |what: &str, e: std::io::Error| Error::new(Kind::Defect, format!("{what}: {e}"));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = cli.command.threads() {
        runtime.worker_threads(threads);
    }
    if cli.global.verbose > 0 && !cli.command.is_role() {
        output::listen(cli.global.verbose, &console);
    }
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|e| defect("cannot start the async runtime", e))?;
    let cwd = std::env::current_dir().map_err(|e| {
        Error::new(
            Kind::Usage,
            format!("cannot tell the working directory: {e}"),
        )
    })?;
    let Cli { global, command } = cli;
    let context = Context::new(global, console, cwd, env, handover);
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = commands::dispatch(&context, &command) => outcome,
            error = interrupted(&context, &command) => Err(error),
        }
    });
    // A blocking call into a Kafka client must not hold the exit up.
    runtime.shutdown_background();
    outcome
}

/// Ends a command on Ctrl-C: at once, or, where it stops cleanly, on the second one.
async fn interrupted(context: &Context, command: &Command) -> Error {
    if command.handles_signals() {
        return std::future::pending().await;
    }
    let stop = Error::new(Kind::Interrupted, "interrupted");
    if tokio::signal::ctrl_c().await.is_err() || context.has_taken_signals() {
        return std::future::pending().await;
    }
    if !command.stops_cleanly() {
        return stop;
    }
    context
        .console
        .alarm("stopping cleanly; Ctrl-C again stops now");
    context.cancel.cancel();
    match tokio::signal::ctrl_c().await {
        Ok(()) | Err(_) => stop.because("stopped at once: what was under way is left as it is"),
    }
}
