//! Flags that several commands take.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Compose file; before the command; later ones override
    ///
    /// It has `x-caravan`. Default: the first Compose file by its usual names, here or under compose/, that has
    /// `x-caravan`; else the pipeline that Caravan ships, which `-f embedded` names. As in Docker
    /// Compose, it goes before the command, because `-f` may have another meaning after it (`logs
    /// -f`).
    #[arg(
        short,
        long = "file",
        value_name = "FILE",
        env = "CARAVAN_FILE",
        value_delimiter = ':'
    )]
    pub(crate) file: Vec<PathBuf>,
    /// Project name: prefix and label of all that is deployed
    #[arg(
        short,
        long,
        value_name = "NAME",
        env = "CARAVAN_PROJECT",
        global = true
    )]
    pub(crate) project: Option<String>,
    /// Variables [default: .env beside the Compose file]
    #[arg(long, value_name = "FILE", env = "CARAVAN_ENV_FILE", global = true)]
    pub(crate) env_file: Option<PathBuf>,
    /// Profiles, with commas [default: $COMPOSE_PROFILES]
    #[arg(
        long,
        value_name = "NAME",
        env = "CARAVAN_PROFILE",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) profile: Vec<String>,
    /// Docker engine [default: $DOCKER_HOST, or local]
    #[arg(
        short = 'H',
        long,
        value_name = "URL",
        env = "CARAVAN_HOST",
        global = true
    )]
    pub(crate) host: Option<String>,
    /// Colours: auto (on a terminal), always or never
    ///
    /// NO_COLOR and TERM=dumb count, if it is auto.
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "CARAVAN_COLOR",
        global = true
    )]
    pub(crate) color: ColorChoice,
    /// Times in UTC instead of the local zone
    ///
    /// JSON and `logs --timestamps` always have UTC.
    #[arg(long, env = "CARAVAN_UTC", global = true)]
    pub(crate) utc: bool,
    /// Plain lines instead of live progress on a terminal
    #[arg(long, env = "CARAVAN_NO_PROGRESS", global = true)]
    pub(crate) no_progress: bool,
    /// Results and errors only
    #[arg(short, long, env = "CARAVAN_QUIET", global = true)]
    pub(crate) quiet: bool,
    /// Show each call to Docker, Kafka and the stores
    ///
    /// With how long it takes, on stderr, instead of live progress. Twice: also the log lines of the Kafka library.
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

/// Flattened into the arguments of commands that change a project.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Wait while another `caravan` changes the project
    ///
    /// By default it is an error at once.
    #[arg(long, value_name = "DURATION", env = "CARAVAN_WAIT_LOCK")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) wait_lock: Option<Duration>,
}

/// `-o`, for commands whose result a machine may want.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

/// `-o` of `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// A line for each service
    #[default]
    Table,
    /// A line for each container, with its image and IP addresses
    Wide,
    Json,
}

/// `-o` of `logs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// The lines, each after its container's name
    #[default]
    Table,
    /// A JSON line for each line, and a summary last
    Ndjson,
}

impl From<LogFormat> for ReportFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Table => Self::Table,
            LogFormat::Ndjson => Self::Ndjson,
        }
    }
}

impl From<StatusFormat> for ReportFormat {
    fn from(format: StatusFormat) -> Self {
        match format {
            StatusFormat::Table | StatusFormat::Wide => Self::Table,
            StatusFormat::Json => Self::Json,
        }
    }
}

/// Flattened into the arguments of those commands.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Format: table (default) or json; also --json
    #[arg(short, long, value_name = "FORMAT", env = "CARAVAN_OUTPUT")]
    #[arg(value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `-o` of commands that report findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people: a line for each layer of checks, then the root causes of failures
    #[default]
    Table,
    /// One line per finding, without colours or columns
    Plain,
    /// One JSON document (docs/schemas/verify.json)
    Json,
    /// One JSON line as soon as each check ends (docs/schemas/verify-line.json)
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
    /// table (default), plain, json, ndjson or junit
    #[arg(short, long, value_name = "FORMAT", env = "CARAVAN_OUTPUT")]
    #[arg(value_enum, default_value_t)]
    pub(crate) output: ReportFormat,
}
