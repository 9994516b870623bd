//! The command line as a tree; each command's arguments live beside its `run`.

use clap::{Parser, Subcommand};

use crate::{
    commands::{
        completions, config, dlq, doctor, down, groups, health, images, init, logs, man, restart,
        run, scale, schema, status, test_flow, topics, trace, up, verify, version,
    },
    context::DeploymentNeeds,
    flags::{Global, ReportFormat},
    remote::NetworkNeeds,
};
use declaration::Needs;

/// Deploys an event-driven pipeline and proves, end to end, that it works.
#[derive(Debug, Parser)]
#[command(
    name = "caravan",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Args),
    Down(down::Args),
    Restart(restart::Args),
    // Completions offer one of a command's visible names, the first by the alphabet.
    #[command(alias = "ps")]
    Status(status::Args),
    Scale(scale::Args),
    Logs(logs::Args),
    #[command(alias = "check")]
    Verify(verify::Args),
    TestFlow(test_flow::Args),
    Trace(trace::Args),
    Topics(topics::Args),
    Groups(groups::Args),
    Dlq(dlq::Args),
    Init(init::Args),
    Doctor(doctor::Args),
    Images(images::Args),
    Config(config::Args),
    Schema(schema::Args),
    #[command(alias = "completion")]
    Completions(completions::Args),
    Version(version::Args),
    Man(man::Args),
    #[command(hide = true)]
    Run(run::Args),
    #[command(hide = true)]
    Health(health::Args),
}

impl Command {
    /// Whether the command is a server, which handles its signals itself.
    pub(crate) fn handles_signals(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Health(_))
    }

    /// What it needs of the pipeline's network, if some addresses resolve only there.
    pub(crate) fn network_needs(&self) -> Option<NetworkNeeds> {
        let addresses = match self {
            Self::Verify(args) if args.list => return None,
            Self::Verify(_) | Self::TestFlow(_) | Self::Trace(_) => Needs::Everything,
            Self::Topics(_) | Self::Groups(_) | Self::Dlq(_) => Needs::Kafka,
            Self::Up(_)
            | Self::Down(_)
            | Self::Restart(_)
            | Self::Status(_)
            | Self::Scale(_)
            | Self::Logs(_)
            | Self::Doctor(_)
            | Self::Images(_)
            | Self::Init(_)
            | Self::Config(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Version(_)
            | Self::Man(_)
            | Self::Run(_)
            | Self::Health(_) => return None,
        };
        Some(NetworkNeeds {
            addresses,
            asks: matches!(self, Self::Dlq(_)),
            reports_missing: matches!(self, Self::Verify(_)),
            results: matches!(self, Self::Verify(_)),
        })
    }

    /// What it needs of a deployed project: without it, the command fails.
    pub(crate) fn deployment_needs(&self) -> Option<DeploymentNeeds> {
        match self {
            Self::Verify(args) if args.list => None,
            Self::Verify(_) => Some(DeploymentNeeds::Secrets),
            Self::Restart(_) | Self::Scale(_) | Self::Logs(_) => Some(DeploymentNeeds::Containers),
            Self::TestFlow(_)
            | Self::Trace(_)
            | Self::Topics(_)
            | Self::Groups(_)
            | Self::Dlq(_) => Some(DeploymentNeeds::Kafka),
            Self::Up(_)
            | Self::Down(_)
            | Self::Status(_)
            | Self::Doctor(_)
            | Self::Images(_)
            | Self::Init(_)
            | Self::Config(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Version(_)
            | Self::Man(_)
            | Self::Run(_)
            | Self::Health(_) => None,
        }
    }

    /// For a command about a deployed project: its command line, as a hint repeats it.
    pub(crate) fn on_a_deployment(&self) -> Option<String> {
        let line = match self {
            Self::Up(args) => args.line(),
            Self::Status(args) if args.all => return None,
            Self::Status(_) => "status".to_owned(),
            Self::Down(_) => "down".to_owned(),
            Self::Restart(_) => "restart".to_owned(),
            Self::Scale(args) => args.line(),
            Self::Logs(_) => "logs".to_owned(),
            Self::Verify(args) if args.list => return None,
            Self::Verify(_) => "verify".to_owned(),
            Self::TestFlow(_) => "test-flow".to_owned(),
            // Their arguments are not repeated; `status` shows the project that the hint is about.
            Self::Trace(_) | Self::Dlq(_) => "status".to_owned(),
            Self::Topics(_) => "topics".to_owned(),
            Self::Groups(_) => "groups".to_owned(),
            Self::Doctor(_) => "doctor".to_owned(),
            Self::Images(_)
            | Self::Init(_)
            | Self::Config(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Version(_)
            | Self::Man(_)
            | Self::Run(_)
            | Self::Health(_) => return None,
        };
        Some(line)
    }

    /// The services in the command line, as typed. The profiles of a service with its full name are active.
    pub(crate) fn services(&self) -> &[String] {
        match self {
            Self::Up(args) => &args.services,
            Self::Status(args) => &args.services,
            Self::Restart(args) => &args.services,
            Self::Logs(args) => &args.services,
            _ => &[],
        }
    }

    /// Threads of the async runtime; None: one per core. A role waits for other services most of the time,
    /// and its replicas share the cores (docs/performance.md).
    pub(crate) fn threads(&self) -> Option<usize> {
        self.is_role().then_some(1)
    }

    /// Whether the command is a role of the pipeline, which configures its own logging.
    pub(crate) fn is_role(&self) -> bool {
        matches!(self, Self::Run(_))
    }

    /// Whether the command stops cleanly when it is cancelled, and reports what it left.
    pub(crate) fn stops_cleanly(&self) -> bool {
        matches!(
            self,
            Self::Up(_)
                | Self::Scale(_)
                | Self::Restart(_)
                | Self::Down(_)
                | Self::TestFlow(_)
                | Self::Doctor(_)
        ) || matches!(self, Self::Dlq(args) if args.stops_cleanly())
    }

    /// Whether the command ends only on a signal, so that this is no error.
    pub(crate) fn is_endless(&self) -> bool {
        match self {
            Self::Verify(args) => args.watch,
            Self::Logs(args) => args.follow,
            _ => false,
        }
    }

    /// The format of stdout, for errors too.
    pub(crate) fn format(&self) -> ReportFormat {
        match self {
            Self::Verify(args) => args.output.output,
            Self::Trace(args) => args.output.output.into(),
            Self::Doctor(args) => args.output.output,
            Self::Status(args) => args.output.into(),
            Self::TestFlow(args) => args.output.output.into(),
            Self::Topics(args) => args.output.output.into(),
            Self::Groups(args) => args.output.output.into(),
            Self::Dlq(args) => args.format().into(),
            Self::Images(args) => args.format().into(),
            Self::Up(args) => args.output.output.into(),
            Self::Scale(args) => args.output.output.into(),
            Self::Down(args) => args.output.output.into(),
            Self::Restart(args) => args.output.output.into(),
            Self::Logs(args) => args.output.into(),
            Self::Version(args) => args.output.output.into(),
            Self::Config(args) => args.output.into(),
            Self::Init(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Run(_)
            | Self::Health(_) => ReportFormat::Table,
        }
    }

    /// The name of the command, as JSON documents have it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Down(_) => "down",
            Self::Restart(_) => "restart",
            Self::Status(_) => "status",
            Self::Scale(_) => "scale",
            Self::Logs(_) => "logs",
            Self::Verify(_) => "verify",
            Self::TestFlow(_) => "test-flow",
            Self::Trace(_) => "trace",
            Self::Topics(_) => "topics",
            Self::Groups(_) => "groups",
            Self::Dlq(args) => args.name(),
            Self::Init(_) => "init",
            Self::Doctor(_) => "doctor",
            Self::Images(args) => args.name(),
            Self::Config(_) => "config",
            Self::Schema(_) => "schema",
            Self::Completions(_) => "completions",
            Self::Version(_) => "version",
            Self::Man(_) => "man",
            Self::Run(_) => "run",
            Self::Health(_) => "health",
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_tree_is_consistent() {
        crate::help::command().debug_assert();
    }

    /// docs/reference.md has the `caravan help` text of all commands: `CARAVAN_WRITE_DOCS=1 cargo test` updates it.
    #[test]
    fn the_reference_is_what_help_says() {
        fn describe(command: &clap::Command, path: &str, text: &mut String) {
            for command in command.get_subcommands() {
                let is_hidden = command.is_hide_set() && command.get_name() != "options";
                if is_hidden || command.get_name() == "help" {
                    continue;
                }
                let path = format!("{path} {}", command.get_name());
                let help = command
                    .clone()
                    .bin_name(&path)
                    .term_width(100)
                    .render_long_help();
                let help = help.to_string();
                let lines = help.lines().map(str::trim_end).collect::<Vec<_>>();
                text.push_str(&format!(
                    "\n## `{path}`\n\n```text\n{}\n```\n",
                    lines.join("\n")
                ));
                describe(command, &path, text);
            }
        }
        let mut cli = crate::help::command().term_width(100);
        cli.build();
        let mut text =
            "# Reference\n\nThe output of `caravan help COMMAND` for all commands. docs/cli.md describes what \
             they have in common.\n"
                .to_owned();
        let overview = cli.render_long_help();
        text.push_str(&format!("\n## `caravan`\n\n```text\n{overview}\n```\n"));
        describe(&cli, "caravan", &mut text);
        declaration::testing::expect_generated("reference.md", &text);
    }
}
