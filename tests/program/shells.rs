//! Completions in real shells, and manual pages.

use std::{
    ffi::OsString,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::{Ran, caravan};

const DECLARATION: &str = "x-caravan:
  kafka: {bootstrap: 'kafka:9092'}
  topics: [{name: orders, partitions: 1}]
services:
  kafka: {image: 'registry.invalid/kafka:1', ports: ['9092:9092']}
  web:
    image: 'registry.invalid/web:1'
    x-caravan: {consumes: [orders], group: web-group}
  worker: {image: 'registry.invalid/worker:1'}
";

/// A shell that finds `caravan`, with a home of its own.
struct Shell {
    home: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("compose.yaml"), DECLARATION).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn prepare(&self, command: &mut Command) {
        let caravan = Path::new(env!("CARGO_BIN_EXE_caravan")).parent().unwrap();
        let mut path = OsString::from(caravan);
        path.push(":/usr/local/bin:/usr/bin:/bin");
        command.env_clear().current_dir(self.home.path());
        command.env("PATH", path).env("HOME", self.home.path());
    }

    fn caravan(&self, args: &[&str]) -> Ran {
        let mut command = caravan();
        self.prepare(&mut command);
        Ran::of(command.args(args).output().unwrap())
    }

    fn run(&self, shell: &str, args: &[&str], host: Option<&str>) -> String {
        let mut command = Command::new(shell);
        self.prepare(&mut command);
        if let Some(host) = host {
            command.env("DOCKER_HOST", host);
        }
        let output = command.args(args).stdin(Stdio::null()).output().unwrap();
        let ran = Ran::of(output);
        // A completion writes nothing beside what is typed.
        assert_eq!(ran.stderr, "", "{shell} {args:?}");
        ran.expect(0).stdout
    }

    /// What bash offers for the last of `words`.
    fn bash(&self, words: &[&str], host: Option<&str>) -> Vec<String> {
        let script = "source <(caravan completions bash)
            COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
            _clap_complete_caravan caravan \"${COMP_WORDS[COMP_CWORD]}\"
            printf '%s\\n' \"${COMPREPLY[@]}\"";
        let args = ["--norc", "-c", script, "bash"];
        let shown = self.run("bash", &[&args[..], words].concat(), host);
        shown.lines().map(str::to_owned).collect()
    }
}

#[test]
fn bash_offers_what_the_declaration_has() {
    let shell = Shell::new();
    let offers = |words: &[&str]| shell.bash(words, None).join(" ");
    assert_eq!(offers(&["caravan", "st"]), "status");
    assert_eq!(offers(&["caravan", "status", ""]), "kafka web worker");
    assert_eq!(offers(&["caravan", "restart", "web", "wo"]), "worker");
    assert_eq!(offers(&["caravan", "scale", "w"]), "web= worker=");
    assert_eq!(offers(&["caravan", "verify", "gr"]), "groups");
    let lag = offers(&["caravan", "verify", "--only", "groups.web.la"]);
    assert_eq!(lag, "groups.web.lag");
    assert_eq!(offers(&["caravan", "down", "--v"]), "--volumes --version");

    let other = "services: {other: {image: 'registry.invalid/other:1'}}\nx-caravan: {}\n";
    fs::write(shell.path("other.yaml"), other).unwrap();
    let of_other = offers(&["caravan", "-f", "other.yaml", "up", ""]);
    assert_eq!(of_other, "other");
    fs::write(shell.path("compose.yaml"), "services: [").unwrap();
    assert_eq!(offers(&["caravan", "status", "w"]), "");
}

#[test]
fn a_completion_does_not_wait_for_an_engine_that_does_not_answer() {
    let shell = Shell::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", silent.local_addr().unwrap());
    let offers = |words: &[&str]| shell.bash(words, Some(&host)).join(" ");
    assert_eq!(offers(&["caravan", "topics", ""]), "orders");
    assert_eq!(offers(&["caravan", "groups", "w"]), "web-group");
    assert_eq!(offers(&["caravan", "-p", ""]), "");
}

#[test]
fn completions_are_installed_where_the_shells_look_for_them() {
    let shell = Shell::new();
    let bash = shell
        .caravan(&["completions", "--install", "bash"])
        .expect(0);
    let file = shell.path(".local/share/bash-completion/completions/caravan");
    assert_eq!(bash.stdout, "");
    assert!(
        bash.stderr.contains(&file.display().to_string()),
        "{bash:?}"
    );
    let load = format!("source {}; complete -p caravan", file.display());
    let registered = shell.run("bash", &["--norc", "-c", &load], None);
    assert!(
        registered.contains("-F _clap_complete_caravan"),
        "{registered}"
    );
    shell
        .caravan(&["completions", "--install", "bash"])
        .expect(0);

    fs::write(&file, "my own\n").unwrap();
    let refused = shell
        .caravan(&["completions", "--install", "bash"])
        .expect(2);
    assert!(refused.stderr.contains("already exists"), "{refused:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "my own\n");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/null", &file).unwrap();
    shell
        .caravan(&["completions", "--install", "bash"])
        .expect(2);

    let elvish = shell.caravan(&["completions", "--install", "elvish"]);
    assert_eq!(elvish.expect(2).stdout, "");
}

#[test]
fn fish_and_zsh_complete_at_the_first_tab() {
    let shell = Shell::new();
    shell
        .caravan(&["completions", "--install", "fish"])
        .expect(0);
    let offered = shell.run("fish", &["-c", "complete -C 'caravan restart w'"], None);
    assert_eq!(offered, "web\nworker\n");

    let zsh = shell
        .caravan(&["completions", "--install", "zsh"])
        .expect(0);
    assert!(zsh.stderr.contains("fpath=("), "{zsh:?}");
    // `compadd` gets what zsh would offer.
    let script = "fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit -u -D
        function _describe { eval \"print -rl -- \\$$3\" }
        words=(caravan restart w) CURRENT=3
        $_comps[caravan]";
    let offered = shell.run("zsh", &["-f", "-c", script], None);
    assert_eq!(offered.lines().next(), Some("web"), "{offered}");
}

#[test]
fn manual_pages_are_valid_for_man() {
    let shell = Shell::new();
    let man = shell.path("man");
    shell
        .caravan(&["man", &man.display().to_string()])
        .expect(0);
    let pages = fs::read_dir(man.join("man1")).unwrap();
    let pages: Vec<_> = pages.map(|page| page.unwrap().path()).collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in pages {
        let page = page.display().to_string();
        // All warnings, on stderr; none may be there.
        let shown = shell.run("groff", &["-man", "-Tutf8", "-ww", &page], None);
        let footer = concat!("caravan ", env!("CARGO_PKG_VERSION"));
        assert!(shown.contains(footer), "{shown}");
    }
}
