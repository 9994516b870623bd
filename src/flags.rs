//! Flags that several commands take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Compose file with `x-caravan`, before the command; later ones overlay earlier ones
    ///
    /// Default: the first Compose file by its usual names, here or under compose/, that has
    /// `x-caravan`; else the pipeline that Caravan ships, which `-f embedded` names. As with Docker Compose it stands before
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
    /// Profile whose services belong to it, too; several with commas [default: $COMPOSE_PROFILES]
    #[arg(
        long,
        value_name = "NAME",
        env = "CARAVAN_PROFILE",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) profile: Vec<String>,
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
    /// Show what is asked of Docker, Kafka and the rest, and how long each takes to answer
    ///
    /// On stderr, in place of live progress. Twice: what the Kafka library says of it, too.
    #[arg(
        short,
        long,
        action = clap::ArgAction::Count,
        env = "CARAVAN_VERBOSE",
        global = true,
        conflicts_with = "quiet"
    )]
    pub(crate) verbose: u8,
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

/// `-o` of commands that report findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For a person: all checks, then the roots of what is wrong
    #[default]
    Table,
    /// A line a finding, without colours or columns
    Plain,
    /// One document (docs/schemas/report.json)
    Json,
    /// A line of JSON as each check ends (docs/schemas/report-line.json)
    Ndjson,
    /// JUnit XML, for CI servers
    Junit,
}

impl From<Format> for ReportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Json => Self::Json,
        }
    }
}

/// Flattened into the arguments of those commands.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// How the findings are written
    #[arg(short, long, value_enum, default_value_t, env = "CARAVAN_OUTPUT")]
    pub(crate) output: ReportFormat,
}
