//! The help. The page of `caravan --help` fits a terminal of 24 rows; a command's page has its own options and
//! examples; `caravan help options` has the options of all commands.

use std::ffi::OsString;

use clap::{
    Arg, Command, CommandFactory, FromArgMatches, ValueEnum, builder::Resettable, error::Result,
};

use crate::{cli::Cli, flags::ReportFormat};

/// `caravan --help`.
const OVERVIEW: &str = "\
Brings up an event-driven pipeline (Kafka, Postgres, Redis, workers) from a
Compose file, and proves end to end that it works.

Usage: caravan [-f FILE] [-p PROJECT] COMMAND

Run      up           Start everything, or services and what they need
         down         Stop and remove it; data stays without --volumes
         restart      Restart services and wait until they are ready
         scale        Change replicas: caravan scale WORKER=3
Look     status       What runs: state, health, lag, address (alias ps)
         logs         Logs of services, or of one message
         topics       Topics, and what is declared
         groups       Consumer groups and their lag
Prove    verify       Run all checks (alias check)
         test-flow    Send a test message and follow it
         trace        How far an earlier message got
Repair   dlq          List, show, replay and purge dead letters
         doctor       Can this machine run the pipeline?
Set up   init, config, images, schema, completions, man, version

Options of all commands: caravan help options
Exit codes: 0 ok, 1 not ok, 2 usage or declaration, 3 unreachable, 4 timeout
First time: caravan up && caravan verify && caravan test-flow";

/// What people type most, below the options of a command.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "up",
        &[
            "caravan up",
            "caravan up allocation-worker",
            "caravan up --dry-run",
        ],
    ),
    (
        "down",
        &[
            "caravan down",
            "caravan down --dry-run",
            "caravan down --volumes",
        ],
    ),
    (
        "config",
        &[
            "caravan config",
            "caravan config -q",
            "caravan config -o json > project.json",
        ],
    ),
    (
        "restart",
        &[
            "caravan restart",
            "caravan restart allocation",
            "caravan restart --dry-run",
        ],
    ),
    (
        "status",
        &[
            "caravan status",
            "caravan status -o wide",
            "caravan status --all",
        ],
    ),
    (
        "scale",
        &["caravan scale session=3", "caravan scale session=1 cache=2"],
    ),
    (
        "logs",
        &[
            "caravan logs allocation -f",
            "caravan logs --since 30m --grep timeout",
            "caravan logs --correlation-id ID",
        ],
    ),
    (
        "verify",
        &[
            "caravan verify",
            "caravan verify groups --wait 60s",
            "caravan verify -o junit > report.xml",
        ],
    ),
    (
        "test-flow",
        &[
            "caravan test-flow",
            "caravan test-flow --count 600 --rate 50",
            "caravan test-flow --poison",
        ],
    ),
    (
        "trace",
        &[
            "caravan trace ID",
            "caravan trace ID --all",
            "caravan trace ID -o json",
        ],
    ),
    (
        "topics",
        &["caravan topics", "caravan topics purchase-created"],
    ),
    (
        "groups",
        &["caravan groups", "caravan groups allocation-worker"],
    ),
    (
        "dlq",
        &[
            "caravan dlq list",
            "caravan dlq show orders/2/17",
            "caravan dlq replay --all --dry-run",
        ],
    ),
    (
        "init",
        &[
            "caravan -f compose.yaml init",
            "caravan -f compose.yaml init --write",
            "caravan init --default",
        ],
    ),
    ("doctor", &["caravan doctor", "caravan doctor -o json"]),
    (
        "images",
        &[
            "caravan images list",
            "caravan images save images.tar",
            "caravan images load images.tar",
        ],
    ),
    (
        "completions",
        &["caravan completions --install", "caravan completions bash"],
    ),
    (
        "man",
        &[
            "caravan man ~/.local/share/man",
            "caravan man /usr/local/share/man",
        ],
    ),
];

/// The exit codes of all commands, as docs/cli.md has them.
pub(crate) const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "Success; all checks pass (warnings allowed)."),
    (
        "1",
        "A check failed, a step is missing, or a service did not start.",
    ),
    ("2", "Wrong usage, or the declaration is wrong."),
    (
        "3",
        "No Docker, no Kafka or no database; a file or stdout cannot be written.",
    ),
    ("4", "A deadline passed while waiting."),
    ("70", "A defect in Caravan."),
    ("130", "Interrupted."),
];

/// What people type most of a command.
pub(crate) fn examples(command: &str) -> &'static [&'static str] {
    let examples = EXAMPLES.iter().find(|(name, _)| *name == command);
    examples.map_or(&[], |(_, lines)| lines)
}

/// The command tree with its help.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let shared: Vec<_> = command
        .get_arguments()
        .map(|arg| arg.clone().global(false))
        .collect();
    let names: Vec<_> = shared.iter().filter_map(name).collect();
    let footer = format!(
        "Options of all commands (caravan help options): {}",
        names.join(" ")
    );
    let options = Command::new("options")
        .about("Options of all commands")
        .hide(true)
        .arg_required_else_help(true)
        .args(shared);
    let documented = |command: Command| {
        let lines = examples(command.get_name()).iter();
        let lines: String = lines.map(|line| format!("  {line}\n")).collect();
        let examples = match lines.is_empty() {
            true => String::new(),
            false => format!("Examples:\n{lines}\n"),
        };
        let below = |verb: Command| verb.after_help(footer.clone());
        command
            .mut_subcommands(below)
            .after_help(format!("{examples}{footer}"))
    };
    command
        .mut_args(|arg| arg.hide(true))
        .mut_subcommands(documented)
        .subcommand(options)
        .override_help(OVERVIEW)
}

/// The shorter form of an option.
fn name(arg: &Arg) -> Option<String> {
    match arg.get_short() {
        Some(short) => Some(format!("-{short}")),
        None => arg.get_long().map(|long| format!("--{long}")),
    }
}

/// The variable that sets `-o`.
const OUTPUT: &str = "CARAVAN_OUTPUT";

/// Ignores a format in the environment that a command does not know: the variable is for all commands.
fn known_output(command: Command) -> Command {
    let format = std::env::var(OUTPUT).unwrap_or_default();
    let is_unknown = |arg: &Arg| {
        let known = arg.get_possible_values();
        arg.get_env().is_some_and(|name| name == OUTPUT)
            && !known.iter().any(|known| known.matches(&format, false))
    };
    let with_known = |arg: Arg| match is_unknown(&arg) {
        true => arg.env(Resettable::Reset),
        false => arg,
    };
    command.mut_args(with_known).mut_subcommands(known_output)
}

/// The machine-readable format that a command line which is wrong asks for.
pub(crate) fn machine_format(line: impl Iterator<Item = OsString>) -> Option<ReportFormat> {
    let words: Vec<_> = line
        .skip(1)
        .filter_map(|word| word.into_string().ok())
        .collect();
    let options = words.iter().take_while(|word| *word != "--");
    let given = options
        .enumerate()
        .filter_map(|(n, word)| match word.as_str() {
            "-o" | "--output" => words.get(n + 1).map(String::as_str),
            word => word.strip_prefix("--output=").or_else(|| {
                let value = word.strip_prefix("-o")?;
                Some(value.strip_prefix('=').unwrap_or(value))
            }),
        });
    let variable = std::env::var(OUTPUT).ok();
    let format = given.last().or(variable.as_deref())?;
    match ReportFormat::from_str(format, false).ok()? {
        ReportFormat::Table | ReportFormat::Plain => None,
        format => Some(format),
    }
}

/// Parses a command line.
///
/// # Errors
/// It is wrong, or asks for help or the version.
pub(crate) fn parse<I, T>(line: I) -> Result<Cli>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut command = known_output(command());
    let matches = command.try_get_matches_from_mut(line)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_fits_a_terminal_and_has_every_command() {
        assert!(OVERVIEW.lines().count() <= 24);
        assert!(OVERVIEW.lines().all(|line| line.chars().count() <= 80));
        for command in Cli::command()
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
        {
            assert!(
                OVERVIEW.contains(command.get_name()),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn examples_are_commands_that_exist() {
        for (name, lines) in EXAMPLES {
            for line in *lines {
                let words = line.split_whitespace().take_while(|word| *word != ">");
                assert!(parse(words).is_ok(), "{line}");
                assert!(line.contains(name), "{line} of {name}");
            }
        }
        let without = |c: &&Command| !EXAMPLES.iter().any(|(name, _)| *name == c.get_name());
        let cli = Cli::command();
        let without: Vec<_> = cli
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
            .filter(without)
            .map(Command::get_name)
            .collect();
        assert_eq!(without, ["schema", "version"]);
    }

    #[test]
    fn the_options_of_all_commands_are_shown_once() {
        let shown = |line: &[&str]| parse(line).expect_err("help").to_string();
        let options = shown(&["caravan", "help", "options"]);
        let status = shown(&["caravan", "status", "--help"]);
        for of in ["FILE", "PROJECT", "COLOR", "UTC", "VERBOSE"] {
            let variable = format!("[env: CARAVAN_{of}=");
            assert!(options.contains(&variable), "{of} in {options}");
            assert!(!status.contains(&variable), "{of} in {status}");
        }
        assert!(shown(&["caravan", "options"]).contains("--utc"));
        assert_eq!(shown(&["caravan", "--help"]).trim_end(), OVERVIEW);
    }
}
