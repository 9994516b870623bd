//! The help. `--help` fits a terminal of 24 rows: a command's own options in a line each, and examples.
//! `caravan help COMMAND` has the details, `caravan help options` the options of all commands.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, ValueEnum,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind, Result},
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
        "dlq list",
        &[
            "caravan dlq list",
            "caravan dlq list --each --newer-than 1h",
        ],
    ),
    ("dlq show", &["caravan dlq show orders/2/17"]),
    (
        "dlq replay",
        &[
            "caravan dlq replay --all --dry-run",
            "caravan dlq replay orders/2/17",
        ],
    ),
    (
        "dlq purge",
        &[
            "caravan dlq purge --older-than 7d --dry-run",
            "caravan dlq purge orders/2/17",
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
        "images list",
        &["caravan images list", "caravan images list -o json"],
    ),
    ("images build", &["caravan images build"]),
    (
        "images save",
        &["caravan images save images.tar", "caravan images save -"],
    ),
    ("images load", &["caravan images load images.tar"]),
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

/// What people type most of a command, such as `up` or `dlq list`.
pub(crate) fn examples(command: &str) -> &'static [&'static str] {
    let examples = EXAMPLES.iter().find(|(name, _)| *name == command);
    examples.map_or(&[], |(_, lines)| lines)
}

/// The command tree with all of its help.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let shared: Vec<_> = command
        .get_arguments()
        .map(|arg| arg.clone().global(false))
        .collect();
    let options = Command::new("options")
        .about("Options of all commands")
        .hide(true)
        .arg_required_else_help(true)
        .args(shared);
    command
        .mut_args(|arg| arg.hide(true))
        .mut_subcommands(|command| documented(command, ""))
        .subcommand(options)
        .override_help(OVERVIEW)
}

/// A command with its examples and `--json`, and those below it. `above`: the command that it belongs to.
fn documented(command: Command, above: &str) -> Command {
    let path = format!("{above}{}", command.get_name());
    let lines = examples(&path).iter();
    let lines: String = lines.map(|line| format!("  {line}\n")).collect();
    let examples = match lines.is_empty() {
        true => String::new(),
        false => format!("Examples:\n{lines}\n"),
    };
    let above = format!("{path} ");
    let command = command.mut_subcommands(|verb| documented(verb, &above));
    with_json(command).after_help(format!(
        "{examples}More: caravan help {path}. Options of all commands: caravan help options"
    ))
}

const JSON: &str = "json";

/// `--json`, where `-o json` is.
fn with_json(command: Command) -> Command {
    let output = command.get_arguments().find(|arg| arg.get_id() == "output");
    let formats = output.map(Arg::get_possible_values).unwrap_or_default();
    if !formats.iter().any(|format| format.get_name() == JSON) {
        return command;
    }
    let json = Arg::new(JSON)
        .long(JSON)
        .help("As `-o json`")
        .action(ArgAction::SetTrue)
        .conflicts_with("output");
    command
        .mut_arg("output", |arg| arg.default_value_if(JSON, "true", JSON))
        .arg(json)
}

/// Whether it takes one of several values, which its help text names.
fn is_enumerated(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set) && !arg.get_possible_values().is_empty()
}

/// The tree for `--help`, with a line for each option.
fn brief(command: Command) -> Command {
    let help = Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::HelpShort)
        .hide(true);
    let version = Arg::new("version")
        .short('V')
        .long("version")
        .action(ArgAction::Version)
        .hide(true);
    let terse = |arg: Arg| {
        let is_enumerated = is_enumerated(&arg);
        let is_hidden = arg.is_hide_set() || arg.get_id() == JSON;
        let arg = match arg.is_positional() {
            true => arg.display_order(0),
            false => arg,
        };
        arg.help_heading("Options")
            .hide(is_hidden)
            .hide_env(true)
            .hide_possible_values(is_enumerated)
            .hide_default_value(is_enumerated)
    };
    command
        .mut_args(terse)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args([help, version])
        .mut_subcommands(brief)
}

/// The variable that sets `-o`.
const OUTPUT: &str = "CARAVAN_OUTPUT";

/// Ignores a format in the environment that a command does not know, because the variable is for all commands, and
/// any format there if the line has `--json`.
fn known_output(command: Command, has_json: bool) -> Command {
    let format = std::env::var(OUTPUT).unwrap_or_default();
    let is_ignored = |arg: &Arg| {
        let known = arg.get_possible_values();
        arg.get_env().is_some_and(|name| name == OUTPUT)
            && (has_json || !known.iter().any(|known| known.matches(&format, false)))
    };
    let with_known = |arg: Arg| match is_ignored(&arg) {
        true => arg.env(Resettable::Reset),
        false => arg,
    };
    let below = |command| known_output(command, has_json);
    command.mut_args(with_known).mut_subcommands(below)
}

/// The command that a line names, whatever else is wrong with it; such as `up` or `dlq list`.
pub(crate) fn named_command(line: &[OsString]) -> Option<String> {
    let command = command().ignore_errors(true);
    let matches = command.try_get_matches_from(line).ok()?;
    let mut names = Vec::new();
    let mut below: &ArgMatches = &matches;
    while let Some((name, matches)) = below.subcommand() {
        names.push(name.to_owned());
        below = matches;
    }
    Some(names.join(" ")).filter(|names| !names.is_empty())
}

/// The machine-readable format that a command line which is wrong asks for.
pub(crate) fn machine_format(line: &[OsString]) -> Option<ReportFormat> {
    let words = line.iter().skip(1);
    let words: Vec<_> = words.filter_map(|word| word.to_str()).collect();
    let options = words.iter().take_while(|word| **word != "--");
    let given = options.enumerate().filter_map(|(n, word)| match *word {
        "-o" | "--output" => words.get(n + 1).copied(),
        "--json" => Some(JSON),
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
pub(crate) fn parse<T: AsRef<OsStr>>(line: impl IntoIterator<Item = T>) -> Result<Cli> {
    let line = line.into_iter().map(|word| word.as_ref().to_owned());
    let line: Vec<OsString> = line.collect();
    let has = |word: &str| line.iter().take_while(|w| *w != "--").any(|w| w == word);
    let command = known_output(command(), has("--json"));
    let mut command = match has("help") {
        true => command,
        false => brief(command),
    };
    let matches = match command.try_get_matches_from_mut(&line) {
        Err(error) if is_unknown(&error, PROJECTS) => {
            let words = line.iter().flat_map(|word| match word == PROJECTS {
                true => vec![OsStr::new("status"), OsStr::new("--all")],
                false => vec![word.as_os_str()],
            });
            command.try_get_matches_from_mut(words)
        }
        matches => matches,
    }?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The projects of the engine, as with `docker compose`: `status --all`.
const PROJECTS: &str = "ls";

fn is_unknown(error: &clap::Error, command: &str) -> bool {
    let name = error.get(ContextKind::InvalidSubcommand);
    error.kind() == ErrorKind::InvalidSubcommand
        && matches!(name, Some(ContextValue::String(name)) if name == command)
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

    /// Every command and verb, with the words before it.
    fn all(command: &Command, above: &[String]) -> Vec<Vec<String>> {
        let below = command.get_subcommands();
        let below = below.filter(|c| c.get_name() != "help" && !c.is_hide_set());
        let paths = below.flat_map(|command| {
            let path = [above, &[command.get_name().to_owned()]].concat();
            [vec![path.clone()], all(command, &path)].concat()
        });
        paths.collect()
    }

    #[test]
    fn the_help_of_every_command_fits_a_terminal() {
        let mut tree = brief(command()).term_width(80);
        tree.build();
        let mut commands = all(&tree, &[]);
        commands.push(vec!["options".to_owned()]);
        assert!(commands.len() > 25, "{commands:?}");
        let mut wrong = Vec::new();
        for path in commands {
            let mut command = &mut tree;
            for name in &path {
                command = command.find_subcommand_mut(name).expect("a command");
            }
            let help = command.clone().term_width(80).render_help().to_string();
            let lines: Vec<_> = help.trim_end().lines().collect();
            // The prompt takes the last row.
            if lines.len() >= 24 {
                wrong.push(format!("{path:?} has {} lines", lines.len()));
            }
            // A line each: no option goes on below.
            let is_bad = |line: &&&str| line.starts_with("         ") || line.chars().count() > 80;
            wrong.extend(
                lines
                    .iter()
                    .filter(is_bad)
                    .map(|line| format!("{path:?}: {line}")),
            );
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_help_text_names_all_values_that_are_possible() {
        for path in all(&command(), &[]) {
            let mut command = &command();
            for name in &path {
                command = command.find_subcommand(name).expect("a command");
            }
            for arg in command.get_arguments().filter(|arg| is_enumerated(arg)) {
                let help = arg.get_help().expect("a help text").to_string();
                for value in arg.get_possible_values() {
                    assert!(help.contains(value.get_name()), "{path:?}: {help}");
                }
            }
        }
    }

    #[test]
    fn json_is_an_option_wherever_it_is_a_format() {
        let format = |line: &[&str]| parse(line).expect("parses").command.format();
        assert_eq!(format(&["caravan", "status", "--json"]), ReportFormat::Json);
        let verb = ["caravan", "dlq", "list", "--json"];
        assert_eq!(format(&verb), ReportFormat::Json);
        assert_eq!(format(&["caravan", "status"]), ReportFormat::Table);
        let both = parse(["caravan", "verify", "--json", "-o", "junit"]);
        assert_eq!(
            both.expect_err("two formats").kind(),
            ErrorKind::ArgumentConflict
        );
        let wrong = ["caravan", "status", "--json", "--wrong"].map(OsString::from);
        assert_eq!(machine_format(&wrong), Some(ReportFormat::Json));
    }

    #[test]
    fn ls_is_the_list_of_projects() {
        let listed = parse(["caravan", "ls", "-o", "json"]).expect("parses");
        assert!(matches!(listed.command, crate::cli::Command::Status(args) if args.all));
    }

    #[test]
    fn v_of_down_means_its_volumes() {
        for (line, verbose) in [
            (&["caravan", "down", "-v"][..], 0),
            (&["caravan", "-v", "down", "-v"], 1),
            (&["caravan", "down", "--verbose", "--volumes"], 1),
            (&["caravan", "up", "-vv"], 2),
        ] {
            let parsed = parse(line).expect("parses");
            assert_eq!(parsed.global.verbose, verbose, "{line:?}");
            if let crate::cli::Command::Down(args) = parsed.command {
                assert!(args.volumes, "{line:?}");
            }
        }
    }

    #[test]
    fn a_wrong_line_names_its_command() {
        let named = |line: &str| {
            let line: Vec<_> = line.split(' ').map(OsString::from).collect();
            named_command(&line)
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(named("caravan verify --frobnicate"), some("verify"));
        assert_eq!(named("caravan -p a ps --wrong"), some("status"));
        assert_eq!(named("caravan dlq list --wrong"), some("dlq list"));
        assert_eq!(named("caravan scale"), some("scale"));
        assert_eq!(named("caravan frobnicate"), None);
        assert_eq!(named("caravan --frobnicate"), None);
    }

    #[test]
    fn the_options_of_all_commands_are_shown_once() {
        let shown = |line: &[&str]| parse(line).expect_err("help").to_string();
        let options = shown(&["caravan", "help", "options"]);
        let status = shown(&["caravan", "status", "--help"]);
        for of in ["file", "project", "color", "utc", "verbose"] {
            let variable = format!("--{of}");
            assert!(options.contains(&variable), "{of} in {options}");
            assert!(!status.contains(&variable), "{of} in {status}");
        }
        assert!(shown(&["caravan", "options"]).contains("--utc"));
        assert_eq!(shown(&["caravan", "--help"]).trim_end(), OVERVIEW);
    }
}
