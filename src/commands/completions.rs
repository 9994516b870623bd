use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use clap_complete::Shell;

use super::Verdict;
use crate::{completion, context::Context, state};
use diagnostics::{Error, Kind, Result};

/// Print the completions of a shell, or install them
///
/// They know the services, checks, topics and groups of the declaration here, and the projects of the engine.
/// What is installed runs `caravan completions SHELL`, so it needs no update after an upgrade.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// bash, elvish, fish, powershell or zsh
    ///
    /// With --install, by default that of $SHELL.
    #[arg(required_unless_present = "install")]
    shell: Option<Shell>,
    /// Write a file where bash, zsh or fish look for it
    ///
    /// Does not overwrite other files.
    #[arg(long)]
    install: bool,
}

/// In every installed file; a file without it is the user's.
const MARK: &str = "# Written by `caravan completions --install`.";

/// A file of completions, and what is left to do until the shell reads it.
#[derive(Debug, PartialEq, Eq)]
struct Installation {
    path: PathBuf,
    text: String,
    left: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let shell = match args.shell {
        Some(shell) => shell,
        None => login_shell(context)?,
    };
    if args.install {
        install(context, shell)?;
        return Ok(Verdict::Right);
    }
    let script = completion::script(&shell.to_string());
    let script = script.map_err(|error| Error::new(Kind::Defect, error.to_string()))?;
    context.console.composed(&script);
    Ok(Verdict::Right)
}

/// # Errors
/// `Usage`: `$SHELL` is not set, or unknown.
fn login_shell(context: &Context) -> Result<Shell> {
    let variable = context.environment().get("SHELL");
    let shell = variable.and_then(Shell::from_shell_path);
    shell.ok_or_else(|| {
        let why = match variable {
            Some(path) => format!("$SHELL is {path}"),
            None => "$SHELL is not set".to_owned(),
        };
        Error::new(Kind::Usage, "it is unknown which shell to complete for")
            .because(why)
            .hint("caravan completions --install bash")
    })
}

fn install(context: &Context, shell: Shell) -> Result<()> {
    let variable = |name: &str| {
        let value = context.environment().get(name);
        value.filter(|value| !value.is_empty()).cloned()
    };
    let has_bash_completion = Path::new("/usr/share/bash-completion/bash_completion").exists();
    let Installation { path, text, left } = installation(shell, &variable, has_bash_completion)?;
    refuse_other(&path)?;
    let failed = |error: std::io::Error| {
        Error::new(
            Kind::Unreachable,
            format!("cannot write {}", path.display()),
        )
        .because(error.to_string())
    };
    let directory = path.parent().unwrap_or(&path);
    fs::create_dir_all(directory).map_err(failed)?;
    state::replace_file(&path, &text, 0o644).map_err(failed)?;
    let console = &context.console;
    console.note(&format!("wrote {}", path.display()));
    let left = left.unwrap_or_else(|| "new shells use it".to_owned());
    console.note(&left);
    Ok(())
}

/// # Errors
/// `Usage`: the file exists, and `install` did not write it.
fn refuse_other(path: &Path) -> Result<()> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        there => there,
    };
    let is_own = there.is_ok_and(|there| there.is_file())
        && fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(MARK));
    match is_own {
        true => Ok(()),
        false => Err(
            Error::new(Kind::Usage, format!("{} already exists", path.display()))
                .because("`caravan completions --install` did not write it; it was not changed")
                .hint("move it away, then repeat the command"),
        ),
    }
}

/// Where the shell looks for completions, by its documentation.
///
/// # Errors
/// `Usage`: there is no such place, or no home directory.
fn installation(
    shell: Shell,
    variable: &dyn Fn(&str) -> Option<String>,
    has_bash_completion: bool,
) -> Result<Installation> {
    let home = variable("HOME")
        .map(PathBuf::from)
        .ok_or_else(|| Error::new(Kind::Usage, "there is no home directory").hint("set HOME"))?;
    let below = |name: &str, default: &str| {
        variable(name).map_or_else(|| home.join(default), PathBuf::from)
    };
    match shell {
        Shell::Bash => {
            // A list since bash-completion 2.12; its first entry has priority.
            let own = variable("BASH_COMPLETION_USER_DIR");
            let own = own.and_then(|list| list.split(':').next().map(PathBuf::from));
            let own = own
                .unwrap_or_else(|| below("XDG_DATA_HOME", ".local/share").join("bash-completion"));
            let path = own.join("completions/caravan");
            let left = match has_bash_completion {
                true => None,
                false => Some(format!(
                    "the package bash-completion, which reads it, is missing: install it, or add to \
                     ~/.bashrc: source {}",
                    path.display()
                )),
            };
            Ok(Installation {
                path,
                text: format!("{MARK}\nsource <(caravan completions bash 2>/dev/null)\n"),
                left,
            })
        }
        Shell::Zsh => {
            let directory = variable("ZDOTDIR").map_or_else(|| home.clone(), PathBuf::from);
            let functions = directory.join(".zfunc");
            let left = format!(
                "zsh reads it if {}/.zshrc has, before compinit: fpath=({} $fpath)",
                directory.display(),
                functions.display()
            );
            Ok(Installation {
                path: functions.join("_caravan"),
                text: format!(
                    "#compdef caravan\n{MARK}\nsource <(caravan completions zsh 2>/dev/null)\n"
                ),
                left: Some(left),
            })
        }
        Shell::Fish => Ok(Installation {
            path: below("XDG_CONFIG_HOME", ".config").join("fish/completions/caravan.fish"),
            text: format!("{MARK}\ncaravan completions fish 2>/dev/null | source\n"),
            left: None,
        }),
        other => Err(Error::new(
            Kind::Usage,
            format!("{other} has no directory for completions"),
        )
        .hint(format!(
            "add the output of `caravan completions {other}` to what it reads at its start"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(shell: Shell, variables: &[(&str, &str)]) -> Installation {
        let variable = |name: &str| {
            let mut all = variables.iter().chain(&[("HOME", "/home/ops")]);
            all.find(|(own, _)| *own == name)
                .map(|(_, value)| (*value).to_owned())
        };
        installation(shell, &variable, true).expect("a place")
    }

    #[test]
    fn each_shell_has_its_own_place() {
        let path = |shell, variables: &[_]| place(shell, variables).path.display().to_string();
        assert_eq!(
            path(Shell::Bash, &[]),
            "/home/ops/.local/share/bash-completion/completions/caravan"
        );
        assert_eq!(
            path(Shell::Bash, &[("XDG_DATA_HOME", "/data")]),
            "/data/bash-completion/completions/caravan"
        );
        assert_eq!(
            path(Shell::Bash, &[("BASH_COMPLETION_USER_DIR", "/own:/other")]),
            "/own/completions/caravan"
        );
        assert_eq!(path(Shell::Zsh, &[]), "/home/ops/.zfunc/_caravan");
        assert_eq!(path(Shell::Zsh, &[("ZDOTDIR", "/z")]), "/z/.zfunc/_caravan");
        assert_eq!(
            path(Shell::Fish, &[]),
            "/home/ops/.config/fish/completions/caravan.fish"
        );
        assert!(
            place(Shell::Zsh, &[])
                .left
                .expect("a place")
                .contains("fpath=(")
        );
        assert!(installation(Shell::Elvish, &|_| Some("/".to_owned()), true).is_err());
        let without =
            installation(Shell::Bash, &|_| Some("/x".to_owned()), false).expect("a place");
        assert!(without.left.expect("a place").contains("source /x"));
    }
}
