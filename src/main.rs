//! Deploys an event-driven pipeline over the Docker API and proves, end to end, that it works.
//!
//! `commands` hands what the crates return to `output`; `remote` runs the same command in a container
//! on the pipeline's network where its addresses resolve only there. docs/architecture.md has the rest.

mod cli;
mod commands;
mod context;
mod doctor;
mod flags;
mod output;
mod proposal;
mod remote;
mod signals;
mod state;

use std::{process::ExitCode, sync::Arc};

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    commands::Verdict,
    context::Context,
    output::{Console, Terminal},
    remote::Handover,
    signals::Signals,
};
use diagnostics::{Error, Kind};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return answered(&answer),
    };
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
    let code = match outcome {
        Ok(Verdict::Right) => 0,
        Ok(Verdict::NotRight) => Kind::NotRight.exit_code(),
        Ok(Verdict::Unreachable) => Kind::Unreachable.exit_code(),
        Ok(Verdict::Told(code)) => code,
        Ok(Verdict::Late) => Kind::Deadline.exit_code(),
        Err(error) => {
            console.failure(&error, format);
            // The error's own code is kept: it came before the output was lost.
            console.stdout_lost();
            return ExitCode::from(error.kind.exit_code());
        }
    };
    match console.stdout_lost() {
        true => ExitCode::from(Kind::Unreachable.exit_code()),
        false => ExitCode::from(code),
    }
}

/// What clap answers by itself: `--help`, `--version`, or what is wrong with the command line.
fn answered(answer: &clap::Error) -> ExitCode {
    let code = u8::try_from(answer.exit_code()).unwrap_or_else(|_| Kind::Usage.exit_code());
    if answer.use_stderr() {
        // Nothing is left where a failure to write to stderr could be reported.
        drop(answer.print());
        return ExitCode::from(code);
    }
    match output::check_stdout(answer.print()) {
        true => ExitCode::from(code),
        false => ExitCode::from(Kind::Unreachable.exit_code()),
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
            format!("cannot read the working directory: {e}"),
        )
    })?;
    let Cli { global, command } = cli;
    let mut context = Context::new(global, console, cwd, env, handover);
    let outcome = runtime.block_on(async {
        if command.handles_signals() {
            return commands::dispatch(&context, &command).await;
        }
        let listening = Signals::listen();
        let mut signals = listening.map_err(|e| defect("cannot listen for signals", e))?;
        if let Some(line) = command.on_a_deployment() {
            tokio::select! {
                () = Box::pin(context.find_deployment(&line)) => {}
                () = signals.stop() => return Err(Error::new(Kind::Interrupted, "interrupted")),
            }
        }
        let context = &context;
        tokio::select! {
            outcome = commands::dispatch(context, &command) => outcome,
            error = interrupted(context, &command, signals) => Err(error),
        }
    });
    // A blocking call into a Kafka client must not hold the exit up.
    runtime.shutdown_background();
    outcome
}

/// Ends a command on Ctrl-C, SIGTERM or SIGHUP: at once, or, where it stops cleanly, on the second
/// one. A question that is open ends by itself, and the command with it.
async fn interrupted(context: &Context, command: &Command, mut signals: Signals) -> Error {
    let stop = Error::new(Kind::Interrupted, "interrupted");
    signals.stop().await;
    if context.has_taken_signals() {
        return std::future::pending().await;
    }
    if !context.is_asking() {
        if !command.stops_cleanly() {
            return stop;
        }
        context
            .console
            .alarm("stopping cleanly; Ctrl-C again stops now");
    }
    context.cancel.cancel();
    signals.stop_at_once().await;
    stop.because("stopped at once: unfinished work was left as it was")
}
