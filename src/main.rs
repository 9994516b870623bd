//! Deploys an event-driven pipeline over the Docker API and proves, end to end, that it works.
//!
//! `commands` hands what the crates return to `output`; `remote` runs the same command in a container
//! on the pipeline's network where its addresses resolve only there. docs/architecture.md has the rest.

mod cli;
mod commands;
mod completion;
mod context;
#[cfg(test)]
mod docs;
mod doctor;
mod flags;
mod habits;
mod help;
mod home;
mod output;
mod percent_encoding;
mod proposal;
mod remote;
mod signals;
mod state;
mod verdict;
mod when;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use clap::error::{ContextKind, ErrorKind};

use crate::{
    cli::{Cli, Command},
    context::Context,
    output::{Console, Terminal},
    remote::Handover,
    signals::Signals,
    verdict::Verdict,
};
use diagnostics::{Error, Kind};

fn main() -> ExitCode {
    if completion::answers() {
        return ExitCode::SUCCESS;
    }
    let line: Vec<_> = std::env::args_os().collect();
    let cli = match help::parse(&line) {
        Ok(cli) => cli,
        Err(message) => return print_clap_message(&message, &line),
    };
    let (format, is_endless) = (cli.command.format(), cli.command.is_endless());
    let mut env: std::collections::BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    home::complete(&mut env);
    let handover = Handover::from_stdin(&env);
    let terminal = match &handover {
        Ok(Some(handover)) => handover.terminal,
        Ok(None) | Err(_) => Terminal::here(),
    };
    let console = Arc::new(Console::new(
        &cli.global,
        &env,
        terminal,
        cli.command.name(),
    ));
    let outcome = handover.and_then(|handover| execute(cli, Arc::clone(&console), env, handover));
    let code = match outcome {
        Ok(Verdict::Right) => 0,
        Ok(Verdict::NotRight) => Kind::NotRight.exit_code(),
        Ok(Verdict::Unreachable) => Kind::Unreachable.exit_code(),
        Ok(Verdict::Exited(code)) => code,
        Ok(Verdict::Late) => Kind::Deadline.exit_code(),
        Err(error) if error.kind == Kind::Interrupted && is_endless => error.kind.exit_code(),
        Err(error) => {
            console.failure(&error, format);
            // The exit code is the error's: it occurred before stdout failed.
            console.stdout_lost();
            return ExitCode::from(error.kind.exit_code());
        }
    };
    match console.stdout_lost() {
        true => ExitCode::from(Kind::Unreachable.exit_code()),
        false => ExitCode::from(code),
    }
}

/// Prints a message of clap: the output of `--help` or `--version`, or an error in the command line, for which
/// a machine gets a document.
fn print_clap_message(message: &clap::Error, line: &[OsString]) -> ExitCode {
    let code = u8::try_from(message.exit_code()).unwrap_or_else(|_| Kind::Usage.exit_code());
    if message.use_stderr() {
        let argument = message.get(ContextKind::InvalidArg);
        // A format that the command does not know is no format for the error.
        let is_of_format = message.kind() == ErrorKind::InvalidValue
            && argument.is_some_and(|arg| arg.to_string().starts_with("--output"));
        let format = help::machine_format(line).filter(|_| !is_of_format);
        let instead = habits::instead(message, line);
        if format.is_some() || instead.is_some() {
            let command = help::named_command(line);
            let error = usage_error(message, command.as_deref(), instead);
            let written = output::usage_failure(&error, command, format.unwrap_or_default());
            return match output::check_stdout(written) {
                true => ExitCode::from(code),
                false => ExitCode::from(Kind::Unreachable.exit_code()),
            };
        }
        // A failure to write to stderr cannot be reported anywhere.
        drop(message.print());
        return ExitCode::from(code);
    }
    match output::check_stdout(message.print()) {
        true => ExitCode::from(code),
        false => ExitCode::from(Kind::Unreachable.exit_code()),
    }
}

/// The error that a message of clap reports. `instead`: the command that does what the line means; otherwise
/// the help of the command is the next one.
fn usage_error(message: &clap::Error, command: Option<&str>, instead: Option<String>) -> Error {
    let text = message.to_string();
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let what = lines.next().unwrap_or_default();
    let error = Error::new(Kind::Usage, what.strip_prefix("error: ").unwrap_or(what));
    if let Some(instead) = instead {
        return error.hint(instead);
    }
    let lines = lines.filter(|line| !line.starts_with("For more information"));
    let error = lines.fold(error, |error, line| error.because(line.trim()));
    let help = ["caravan"].into_iter().chain(command).chain(["--help"]);
    error.hint(help.collect::<Vec<_>>().join(" "))
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
    let services = command.services();
    let mut context = Context::new(global, services, console, cwd, env, handover);
    let outcome = runtime.block_on(async {
        if command.handles_signals() {
            return dispatch(&context, &command).await;
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
        let run = async {
            if let Some(needs) = command.deployment_needs() {
                context.expect_up(needs).await?;
            }
            dispatch(context, &command).await
        };
        tokio::select! {
            outcome = run => outcome,
            error = interrupted(context, &command, signals) => Err(error),
        }
    });
    // Do not wait for a blocking call of a Kafka client.
    runtime.shutdown_background();
    outcome
}

/// Returns the error that ends a command on Ctrl-C, SIGTERM or SIGHUP: on the first signal, or on the second
/// one if the command stops cleanly or a question is open. The first signal cancels `context.cancel`, which
/// also declines the question. Never returns if the command handles the signals itself.
async fn interrupted(context: &Context, command: &Command, mut signals: Signals) -> Error {
    let stop = Error::new(Kind::Interrupted, "interrupted");
    signals.stop().await;
    if context.handles_signals() {
        return std::future::pending().await;
    }
    if !context.has_open_question() {
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

/// Runs a command: here, or in the pipeline's network if the addresses that it needs resolve only there.
async fn dispatch(context: &Context, command: &Command) -> diagnostics::Result<Verdict> {
    if let Some(needs) = command.network_needs() {
        let inside = Box::pin(remote::run_in_network(context, needs));
        if let Some(verdict) = inside.await? {
            return Ok(verdict);
        }
    }
    match command {
        Command::Up(args) => commands::up::run(context, args).await,
        Command::Down(args) => commands::down::run(context, args).await,
        Command::Restart(args) => commands::restart::run(context, args).await,
        Command::Scale(args) => commands::scale::run(context, args).await,
        Command::Status(args) => commands::status::run(context, args).await,
        Command::Logs(args) => commands::logs::run(context, args).await,
        Command::Verify(args) => commands::verify::run(context, args).await,
        Command::TestFlow(args) => commands::test_flow::run(context, args).await,
        Command::Trace(args) => Box::pin(commands::trace::run(context, args)).await,
        Command::Topics(args) => commands::topics::run(context, args).await,
        Command::Groups(args) => commands::groups::run(context, args).await,
        Command::Dlq(args) => commands::dlq::run(context, args).await,
        Command::Doctor(args) => commands::doctor::run(context, args).await,
        Command::Images(args) => commands::images::run(context, args).await,
        Command::Init(args) => commands::init::run(context, args).await,
        Command::Config(args) => commands::config::run(context, args),
        Command::Schema(_) => commands::schema::run(context),
        Command::Version(args) => Ok(commands::version::run(context, args)),
        Command::Completions(args) => commands::completions::run(context, args),
        Command::Man(args) => commands::man::run(context, args),
        Command::Run(args) => Box::pin(commands::run::run(&context.console, args))
            .await
            .map(|()| Verdict::Right),
        Command::Health(_) => commands::health::run(&context.console)
            .await
            .map(|()| Verdict::Right),
    }
}
