//! Command lines of other tools, and what does the same here.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{completion, context::Context, help};
use diagnostics::quote;

/// Commands of `docker compose` that work on what `up` started, because its containers have Compose's labels.
const COMPOSE: [&str; 11] = [
    "attach", "cp", "events", "exec", "kill", "pause", "port", "rm", "stop", "top", "unpause",
];

/// The command that does what a refused command line means. None: nothing is known to.
pub(crate) fn instead(error: &clap::Error, line: &[OsString]) -> Option<String> {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => Some(name.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => of_command(named(ContextKind::InvalidSubcommand)?, line),
        ErrorKind::UnknownArgument => of_argument(named(ContextKind::InvalidArg)?, line),
        _ => None,
    }
}

fn of_command(name: &str, line: &[OsString]) -> Option<String> {
    let mut arguments = line.iter().skip_while(|word| *word != name);
    arguments.next()?;
    let arguments = quoted(arguments);
    let context = completion::context_of(line)?;
    let own = |command: &str| Some(context.invocation.command(command));
    match name {
        "start" => own(format!("up {arguments}").trim_end()),
        "build" | "pull" => own("images build"),
        "watch" => own("verify --watch"),
        _ if COMPOSE.contains(&name) => compose(&context, &format!("{name} {arguments}")),
        _ => None,
    }
}

fn of_argument(argument: &str, line: &[OsString]) -> Option<String> {
    let place = line.iter().position(|word| word == argument);
    if help::named_command(line)? == "down" && !argument.starts_with('-') {
        let services = line.iter().skip(place?).filter(|word| !is_option(word));
        let context = completion::context_of(line)?;
        return compose(&context, &format!("rm --stop --force {}", quoted(services)));
    }
    let (place, value) = (place?, line.get(place? + 1)?);
    let others = line.iter().enumerate();
    let others = others.filter(|(n, _)| *n != place && *n != place + 1);
    let others = quoted(others.map(|(_, word)| word).skip(1));
    let value = quote(value.to_str()?);
    match argument {
        // The command comes after it, because `-f` has another meaning in `logs`.
        "-f" | "--file" => Some(format!("caravan -f {value} {others}")),
        "--format" => Some(format!("caravan {others} -o {value}")),
        _ => None,
    }
}

/// `docker compose` on the project that the command line is about.
fn compose(context: &Context, command: &str) -> Option<String> {
    let project = quote(context.source().ok()?.project());
    let line = format!("compose -p {project} {command}");
    Some(context.invocation.docker(line.trim_end()))
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

fn quoted<'a>(words: impl Iterator<Item = &'a OsString>) -> String {
    let words = words.map(|word| quote(&word.to_string_lossy()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(line: &str) -> Option<String> {
        let line: Vec<_> = line.split(' ').map(OsString::from).collect();
        let error = help::parse(&line).expect_err("is refused");
        instead(&error, &line)
    }

    #[test]
    fn a_command_of_compose_is_answered_by_what_does_the_same() {
        for (line, instead) in [
            (
                "caravan -p shop stop web",
                "docker compose -p shop stop web",
            ),
            (
                "caravan -p shop -H tcp://a:1 exec web date",
                "docker -H tcp://a:1 compose -p shop exec web date",
            ),
            ("caravan -p shop start web", "caravan -p shop up web"),
            ("caravan -p shop start", "caravan -p shop up"),
            (
                "caravan -p shop down web",
                "docker compose -p shop rm --stop --force web",
            ),
            ("caravan build", "caravan images build"),
            ("caravan watch", "caravan verify --watch"),
            ("caravan status -f x.yaml -a", "caravan -f x.yaml status -a"),
            (
                "caravan -p shop topics --file x.yaml",
                "caravan -f x.yaml -p shop topics",
            ),
            ("caravan status --format json", "caravan status -o json"),
        ] {
            assert_eq!(shown(line).as_deref(), Some(instead), "{line}");
        }
        for line in [
            "caravan frobnicate",
            "caravan up --frobnicate",
            "caravan status -f",
        ] {
            assert_eq!(shown(line), None, "{line}");
        }
    }
}
