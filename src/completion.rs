//! What a shell offers at TAB. The shell's script (`caravan completions SHELL`) runs `caravan` with
//! `CARAVAN_COMPLETE` set and the command line as arguments, and reads the candidates from stdout.
//!
//! Services, checks, topics and groups come from the declaration; Docker is asked for projects, Kafka for topics
//! and groups that nobody declares. All of it is silent, and ends in time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs::File,
    sync::Arc,
    time::Duration,
};

use clap::{Arg, Command, FromArgMatches};
use clap_complete::{
    ArgValueCandidates, ArgValueCompleter, CompleteEnv, CompletionCandidate,
    env::{EnvCompleter, Shells},
};

use crate::{
    context::Context,
    flags::Global,
    help,
    output::{Console, Terminal},
};
use declaration::Pipeline;
use kafka::Kafka;
use proof::checks;

/// Set by the shell's script to the name of the shell.
const VARIABLE: &str = "CARAVAN_COMPLETE";
/// Where the candidates are, among the words; bash and zsh set it, fish completes the last word.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";
/// Docker and Kafka answer within this time, or only what is declared is offered.
const ANSWER: Duration = Duration::from_millis(500);
/// The process ends after this time whatever holds it up, such as the file system of the declaration.
const LIMIT: Duration = Duration::from_secs(2);

/// The context of a command line that is wrong, by those of its options that count for the declaration.
pub(crate) fn context_of(line: &[OsString]) -> Option<Context> {
    Values(Words {
        before: line.to_vec(),
        current: OsString::new(),
    })
    .context()
}

/// Writes the candidates if a shell asks for them; returns whether one does.
pub(crate) fn answers() -> bool {
    if std::env::var_os(VARIABLE).is_none_or(|shell| shell.is_empty()) {
        return false;
    }
    // Warnings about the declaration, or lines of the Kafka library, would be written into the prompt.
    let silenced = File::options().write(true).open("/dev/null");
    let silenced = silenced.and_then(|null| Ok(rustix::stdio::dup2_stderr(null)?));
    if silenced.is_err() {
        return true;
    }
    end_in_time();
    let words = Words::of(std::env::args_os(), std::env::var(INDEX).ok());
    let complete = CompleteEnv::with_factory(|| command(&words)).var(VARIABLE);
    let here = std::env::current_dir().ok();
    // Without candidates the shell offers none, which is all that there is to say.
    drop(complete.try_complete(std::env::args_os(), here.as_deref()));
    true
}

#[expect(clippy::exit, reason = "the main thread may be blocked in a read")]
fn end_in_time() {
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT);
        std::process::exit(0);
    });
}

/// The script that a shell reads; None: there is none for it.
///
/// # Errors
/// It cannot be written to memory.
pub(crate) fn script(shell: &str) -> std::io::Result<String> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell: &dyn EnvCompleter = shells
        .completer(shell)
        .ok_or_else(|| std::io::Error::other("there is no script for this shell"))?;
    shell.write_registration(VARIABLE, "caravan", "caravan", "caravan", &mut script)?;
    let mut script = String::from_utf8(script).map_err(std::io::Error::other)?;
    if shell.name() == "zsh" {
        // As `_caravan` in `fpath`, zsh runs the file itself as the function at the first TAB.
        script.push_str(
            "\nif (( ${funcstack[(I)_caravan]} )); then _clap_dynamic_completer_caravan \"$@\"; fi",
        );
    }
    Ok(script.trim().to_owned())
}

/// The words of the command line up to the one that is being completed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Words {
    before: Vec<OsString>,
    current: OsString,
}

impl Words {
    /// `arguments` are those of this process: the words follow `--`.
    fn of(arguments: impl Iterator<Item = OsString>, index: Option<String>) -> Self {
        let mut words: Vec<_> = arguments.skip_while(|word| word != "--").skip(1).collect();
        let last = words.len().saturating_sub(1);
        let index = index.and_then(|index| index.parse().ok()).unwrap_or(last);
        let current = words.get(index).cloned().unwrap_or_default();
        words.truncate(index);
        Self {
            before: words,
            current,
        }
    }

    /// Options that count for the declaration: `-f`, `-p` and so on. What else is wrong or missing is ignored.
    fn global(&self) -> Option<Global> {
        let command = help::command().ignore_errors(true);
        let matches = command.try_get_matches_from(&self.before).ok()?;
        Global::from_arg_matches(&matches).ok()
    }

    /// Whether an option is being typed, so that options are wanted.
    fn wants_options(&self) -> bool {
        self.current.as_encoded_bytes().starts_with(b"-")
    }

    /// Whether bash, for which `=` separates words, completes what follows one (`--output=`, `session=`).
    fn follow_equals_sign(&self) -> bool {
        self.current == "=" || self.before.last().is_some_and(|word| word == "=")
    }
}

/// The command tree with candidates. Options are hidden while something else can be typed.
fn command(words: &Words) -> Command {
    let values = Arc::new(Values(words.clone()));
    prepared(help::command(), words, &values)
}

fn prepared(command: Command, words: &Words, values: &Arc<Values>) -> Command {
    let wants_options = words.wants_options();
    let prepare = |arg: Arg| {
        let is_hidden = arg.is_hide_set() || !(arg.is_positional() || wants_options);
        with_candidates(arg, words, values).hide(is_hidden)
    };
    command
        .disable_help_flag(!wants_options)
        .disable_version_flag(!wants_options)
        .mut_args(prepare)
        .mut_subcommands(|command| prepared(command, words, values))
}

/// The argument, with candidates by what it takes: the name of its value.
fn with_candidates(arg: Arg, words: &Words, values: &Arc<Values>) -> Arg {
    let takes = arg.get_value_names().and_then(|names| names.first());
    let takes = takes.map(|name| name.to_string()).unwrap_or_default();
    let is_project = arg.get_id() == "project";
    let candidates = |of: fn(&Values) -> Option<Vec<String>>| {
        let values = Arc::clone(values);
        ArgValueCandidates::new(move || candidates(of(&values).unwrap_or_default()))
    };
    match takes.as_str() {
        _ if words.follow_equals_sign() => arg,
        "SERVICE" => arg.add(candidates(Values::services)),
        "SERVICE=N" => arg.add(candidates(Values::scalable)),
        "TOPIC" => arg.add(candidates(Values::topics)),
        "GROUP" => arg.add(candidates(Values::groups)),
        "NAME" if is_project => arg.add(candidates(Values::projects)),
        "CHECK" => {
            let values = Arc::clone(values);
            let checks = move |current: &OsStr| {
                let current = current.to_string_lossy();
                let checks = values.checks(&current).unwrap_or_default();
                let matching = checks
                    .into_iter()
                    .filter(|name| name.starts_with(&*current));
                candidates_of(matching)
            };
            arg.add(ArgValueCompleter::new(checks))
        }
        _ => arg,
    }
}

fn candidates(values: Vec<String>) -> Vec<CompletionCandidate> {
    candidates_of(values.into_iter())
}

/// In the order of the declaration.
fn candidates_of(values: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    values.map(CompletionCandidate::new).collect()
}

/// Where values come from. None: they are unknown.
struct Values(Words);

impl Values {
    fn context(&self) -> Option<Context> {
        let global = self.0.global()?;
        let mut env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        crate::home::complete(&mut env);
        let console = Arc::new(Console::new(
            &global,
            &env,
            Terminal::default(),
            "completions",
        ));
        let cwd = std::env::current_dir().ok()?;
        Some(Context::new(global, &[], console, cwd, env, None))
    }

    fn pipeline(&self) -> Option<Pipeline> {
        let context = self.context()?;
        context.source().ok()?.resolve_without_secrets().ok()
    }

    fn services(&self) -> Option<Vec<String>> {
        let services = self.pipeline()?.services;
        Some(services.into_iter().map(|service| service.name).collect())
    }

    fn scalable(&self) -> Option<Vec<String>> {
        let pipeline = self.pipeline()?;
        let scalable = pipeline
            .services
            .iter()
            .filter(|s| !s.is_one_shot(&pipeline));
        Some(
            scalable
                .map(|service| format!("{}=", service.name))
                .collect(),
        )
    }

    /// Layers and services; after a dot, ids.
    fn checks(&self, current: &str) -> Option<Vec<String>> {
        let pipeline = self.pipeline()?;
        let plan = checks::plan(&pipeline);
        if current.contains('.') {
            return Some(plan.iter().map(|check| check.id.to_string()).collect());
        }
        let mut names: Vec<String> = Vec::new();
        let layers = plan.iter().map(|check| check.id.layer());
        let services = pipeline
            .services
            .iter()
            .map(|service| service.name.as_str());
        for name in layers.chain(services) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Some(names)
    }

    fn topics(&self) -> Option<Vec<String>> {
        let declared = self.pipeline()?.topics;
        let declared = declared.into_iter().map(|topic| topic.name);
        let existing = self.in_time(async |context| {
            let topics = kafka(context).await?.topics().await.ok()?;
            Some(topics.into_iter().map(|topic| topic.name).collect())
        });
        let shown = |name: &String| !name.starts_with("__");
        Some(merged(declared, existing.into_iter().filter(shown)))
    }

    fn groups(&self) -> Option<Vec<String>> {
        let services = self.pipeline()?.services;
        let declared = services.iter().filter_map(|s| s.group.as_ref()?.name());
        let existing = self.in_time(async |context| {
            let groups = kafka(context).await?.groups().await.ok()?;
            Some(groups.into_iter().map(|group| group.name).collect())
        });
        Some(merged(declared.map(str::to_owned), existing.into_iter()))
    }

    fn projects(&self) -> Option<Vec<String>> {
        let projects = self.in_time(async |context| {
            let platform = context.platform().await.ok()?;
            let projects = platform.projects().await.ok()?;
            Some(projects.into_keys().collect())
        });
        Some(projects)
    }

    /// What `ask` returns; nothing, if it does not answer in time.
    fn in_time(&self, ask: impl AsyncFnOnce(&mut Context) -> Option<Vec<String>>) -> Vec<String> {
        let answer = || {
            let mut context = self.context()?;
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().ok()?;
            let asked = async { tokio::time::timeout(ANSWER, ask(&mut context)).await };
            let answer = runtime.block_on(asked).ok().flatten();
            // Do not wait for a blocking call of a Kafka client.
            runtime.shutdown_background();
            answer
        };
        answer().unwrap_or_default()
    }
}

/// A client of the pipeline's Kafka, at the port that its container publishes.
async fn kafka(context: &mut Context) -> Option<Kafka> {
    context.find_deployment("").await;
    let pipeline = context.source().ok()?.resolve_without_secrets().ok()?;
    let address = context.deployed(pipeline).kafka?.address;
    Kafka::connect(&address).await.ok()
}

/// Without those that occur twice.
fn merged(
    declared: impl Iterator<Item = String>,
    existing: impl Iterator<Item = String>,
) -> Vec<String> {
    let names: BTreeSet<_> = declared.chain(existing).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str], index: Option<&str>) -> Words {
        let arguments = ["caravan", "--"].iter().chain(line).map(OsString::from);
        Words::of(arguments, index.map(str::to_owned))
    }

    #[test]
    fn the_word_at_the_cursor_is_completed() {
        let typed = words(&["caravan", "status", "al", "behind"], Some("2"));
        assert_eq!(typed.before, ["caravan", "status"]);
        assert_eq!(typed.current, "al");
        // zsh leaves out an empty word, fish has no index.
        assert_eq!(words(&["caravan", "up"], Some("2")).current, "");
        assert_eq!(words(&["caravan", "up", "w"], None).current, "w");
        assert_eq!(words(&[], None), Words::default());
    }

    #[test]
    fn options_before_the_cursor_choose_the_declaration() {
        let typed = words(
            &["caravan", "-f", "a.yaml", "status", "-p", "shop", ""],
            None,
        );
        let global = typed.global().expect("options");
        assert_eq!(global.file, [std::path::PathBuf::from("a.yaml")]);
        assert_eq!(global.project.as_deref(), Some("shop"));
        // Of a line that is not complete, or wrong.
        let typed = words(
            &["caravan", "-p", "shop", "scale", "--wrong", "a", ""],
            None,
        );
        assert_eq!(
            typed.global().expect("options").project.as_deref(),
            Some("shop")
        );
        assert_eq!(
            words(&["caravan", ""], None)
                .global()
                .expect("options")
                .project,
            None
        );
    }

    #[test]
    fn every_value_that_has_candidates_has_a_name_that_an_argument_has() {
        fn names(command: &Command, found: &mut BTreeSet<String>) {
            for arg in command.get_arguments() {
                let names = arg.get_value_names().unwrap_or_default();
                found.extend(names.iter().map(ToString::to_string));
            }
            for command in command.get_subcommands() {
                names(command, found);
            }
        }
        let mut found = BTreeSet::new();
        names(&help::command(), &mut found);
        for name in ["SERVICE", "SERVICE=N", "TOPIC", "GROUP", "CHECK"] {
            assert!(found.contains(name), "{name} of {found:?}");
        }
    }
}
