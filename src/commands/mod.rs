//! One file per command: its arguments (the doc comments are the help text) and `run`, which only
//! wires. A command answers with a [`Verdict`] or an error; `main` makes an exit code of both.

pub(crate) mod completions;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod groups;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod restart;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod test_flow;
pub(crate) mod topics;
pub(crate) mod trace;
pub(crate) mod up;
pub(crate) mod verify;

use crate::{cli::Command, context::Context, remote};
use declaration::Pipeline;
use diagnostics::Result;

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    /// The work was done, and showed that the pipeline is not right.
    NotRight,
    /// A part of it was done, and shown, when the deadline passed.
    Late,
    /// What could be told without Docker was shown.
    Unreachable,
    /// It ran inside the network, showed all, and ended with this exit code.
    Exited(u8),
}

/// Runs a command that looks at a pipeline.
pub(crate) async fn dispatch(context: &Context, command: &Command) -> Result<Verdict> {
    if let Some(verdict) = Box::pin(remote::run_in_network(context, command)).await? {
        return Ok(verdict);
    }
    match command {
        Command::Up(args) => up::run(context, args).await,
        Command::Down(args) => down::run(context, args).await,
        Command::Restart(args) => restart::run(context, args).await,
        Command::Scale(args) => scale::run(context, args).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Logs(args) => logs::run(context, args).await,
        Command::Verify(args) => verify::run(context, args).await,
        Command::TestFlow(args) => test_flow::run(context, args).await,
        Command::Trace(args) => Box::pin(trace::run(context, args)).await,
        Command::Topics(args) => topics::run(context, args).await,
        Command::Groups(args) => groups::run(context, args).await,
        Command::Dlq(args) => dlq::run(context, args).await,
        Command::Doctor(args) => doctor::run(context, args).await,
        Command::Images(args) => images::run(context, args).await,
        Command::Init(args) => init::run(context, args).await,
        Command::Schema(_) => schema::run(context),
        Command::Completions(args) => Ok(completions::run(context, args)),
        Command::Run(args) => Box::pin(run::run(&context.console, args))
            .await
            .map(|()| Verdict::Right),
        Command::Health(_) => health::run().await.map(|()| Verdict::Right),
    }
}

/// The full names of services given in any short form.
fn resolve_services(pipeline: &Pipeline, given: &[String]) -> Result<Vec<String>> {
    given
        .iter()
        .map(|name| declaration::find_service(pipeline, name).map(|s| s.name.clone()))
        .collect()
}
