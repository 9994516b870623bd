//! The command line as a tree; each command's arguments live beside its `run`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    down, groups, health, logs, restart, run, status, test_flow, topics, up, verify,
};

/// Deploys an event-driven pipeline and proves, end to end, that it works.
#[derive(Debug, Parser)]
#[command(
    name = "caravan",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "\
Exit codes: 0 all is right · 1 the pipeline is not right · 2 wrong usage or declaration
            3 no Docker, Kafka or database · 4 deadline passed · 70 defect · 130 interrupted")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Compose file with `x-caravan`, before the command; later ones overlay earlier ones
    ///
    /// Default: the first Compose file by its usual names, here or under compose/, that has
    /// `x-caravan`; else the pipeline that Caravan ships. As with Docker Compose it stands before
    /// the command, where `-f` may mean something else (`logs -f`).
    #[arg(
        short,
        long = "file",
        value_name = "FILE",
        env = "CARAVAN_FILE",
        value_delimiter = ':'
    )]
    pub(crate) file: Vec<PathBuf>,
    /// Project name: prefix and label of everything that belongs to the pipeline
    #[arg(
        short,
        long,
        value_name = "NAME",
        env = "CARAVAN_PROJECT",
        global = true
    )]
    pub(crate) project: Option<String>,
    /// File with the variables of the declaration [default: .env beside the Compose file]
    #[arg(long, value_name = "FILE", env = "CARAVAN_ENV_FILE", global = true)]
    pub(crate) env_file: Option<PathBuf>,
    /// Docker engine to talk to [default: $DOCKER_HOST, else the local socket]
    #[arg(
        short = 'H',
        long,
        value_name = "URL",
        env = "CARAVAN_HOST",
        global = true
    )]
    pub(crate) host: Option<String>,
    /// Colours: on a terminal, always or never (NO_COLOR counts)
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "CARAVAN_COLOR",
        global = true
    )]
    pub(crate) color: ColorChoice,
    /// Plain lines instead of live progress, on a terminal too
    #[arg(long, env = "CARAVAN_NO_PROGRESS", global = true)]
    pub(crate) no_progress: bool,
    /// Results and errors only
    #[arg(short, long, env = "CARAVAN_QUIET", global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// `-o`, for commands whose result a machine may want.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

/// Flattened into the arguments of those commands.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// How the result is written
    #[arg(short, long, value_enum, default_value_t, env = "CARAVAN_OUTPUT")]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Args),
    Down(down::Args),
    Restart(restart::Args),
    Status(status::Args),
    Logs(logs::Args),
    Verify(verify::Args),
    TestFlow(test_flow::Args),
    Topics(topics::Args),
    Groups(groups::Args),
    #[command(hide = true)]
    Run(run::Args),
    #[command(hide = true)]
    Health(health::Args),
}

impl Command {
    /// A role is a server of its own and takes its signals itself.
    pub(crate) fn handles_signals(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Health(_))
    }

    /// Leaves things in order, and says how, when it is cancelled.
    pub(crate) fn stops_cleanly(&self) -> bool {
        matches!(
            self,
            Self::Up(_) | Self::Restart(_) | Self::Down(_) | Self::TestFlow(_)
        )
    }

    /// Whether stdout is to hold one JSON document, whatever happens.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Status(args) => args.output.output,
            Self::Verify(args) => args.output.output,
            Self::TestFlow(args) => args.output.output,
            Self::Topics(args) => args.output.output,
            Self::Groups(args) => args.output.output,
            Self::Up(_)
            | Self::Down(_)
            | Self::Restart(_)
            | Self::Logs(_)
            | Self::Run(_)
            | Self::Health(_) => Format::Table,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
