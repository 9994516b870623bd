//! The program as a person meets it, without Docker: help, usage, declarations, exit codes.

use std::fs;

use crate::support::{Ran, caravan};

fn run(args: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let mut command = caravan();
    command.args(args).current_dir(home.path());
    command.env("XDG_STATE_HOME", home.path());
    Ran::of(command.output().unwrap())
}

#[test]
fn help_is_what_the_docs_say() {
    insta::assert_snapshot!(run(&["--help"]).expect(0).stdout);
}

#[test]
fn every_command_has_help() {
    let reference = declaration::testing::repository().join("docs/reference.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let headings = reference
        .lines()
        .filter_map(|line| line.strip_prefix("## `caravan "));
    let commands: Vec<_> = headings.filter_map(|rest| rest.strip_suffix('`')).collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let line: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let ran = run(&line).expect(0);
        assert!(ran.stdout.contains("Usage: caravan"), "{command}");
    }
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let ran = run(&["verify", "--frobnicate"]).expect(2);
    assert!(ran.stderr.contains("--frobnicate"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_wrong_declaration_names_file_line_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let file = "services:\n  a:\n    image: x\n    comand: [run]\n";
    fs::write(directory.path().join("compose.yaml"), file).unwrap();
    let mut command = caravan();
    command.args(["-f", "compose.yaml", "status"]);
    command.current_dir(directory.path());
    let ran = Ran::of(command.output().unwrap()).expect(2);
    assert!(ran.stderr.contains("compose.yaml:4:5"), "{}", ran.stderr);
    assert!(ran.stderr.contains("command"), "suggests: {}", ran.stderr);
}

#[test]
fn a_project_that_is_not_up_is_one_failure_for_all_commands() {
    for command in [
        &["verify"][..],
        &["test-flow"],
        &["trace", "x"],
        &["topics"],
        &["groups"],
        &["dlq", "list"],
        &["logs"],
        &["restart"],
        &["scale", "session=2"],
    ] {
        let ran = run(command).expect(1);
        for expected in ["is not up", "has no secrets yet", "caravan up"] {
            assert!(ran.stderr.contains(expected), "{command:?}: {}", ran.stderr);
        }
    }
    run(&["status", "--exit-code"]).expect(1);
    let json = run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(json["status"], "fail", "{json:#}");
    assert_eq!(json["summary"]["wrong"], json["summary"]["services"]);
}

/// As a service manager starts it. The home is in `/etc/passwd`.
#[test]
fn a_command_without_home_finds_the_users_state() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = caravan();
    command.args(["-p", "caravan-test-no-home", "verify"]);
    command.current_dir(directory.path());
    let ran = Ran::of(command.output().unwrap()).expect(1);
    let stored = ".local/state/caravan/caravan-test-no-home/.env";
    assert!(ran.stderr.contains(stored), "{}", ran.stderr);
}

#[test]
fn no_docker_is_exit_code_3_in_text_and_json() {
    let secrets = [
        ("POSTGRES_PASSWORD", "aaaaaaaa"),
        ("REDIS_PASSWORD", "bbbbbbbb"),
        ("PAYMENT_TOKEN", "cccccccc"),
        ("ADMIN_TOKEN", "dddddddd"),
    ];
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = caravan();
        command.args(["-H", "tcp://127.0.0.1:1"]).args(args);
        command
            .current_dir(home.path())
            .env("XDG_STATE_HOME", home.path());
        Ran::of(command.envs(secrets).output().unwrap())
    };
    let text = run(&["verify"]).expect(3);
    assert!(text.stderr.contains("Docker"), "{}", text.stderr);
    assert_eq!(text.stdout, "");
    let json = run(&["verify", "-o", "json"]).expect(3).json();
    assert_eq!(json["error"]["kind"], "unreachable");
    for command in ["up", "status", "logs", "test-flow", "down"] {
        run(&[command]).expect(3);
    }
}

#[test]
fn a_roles_secret_is_taken_from_one_place_and_never_shown() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    fs::write(&file, "\n").unwrap();
    let file = file.to_str().unwrap();
    let url = "postgres://me@127.0.0.1:1/none";
    let with_password = "postgres://me:hunter2@127.0.0.1:1/none";
    let run = |variables: &[(&str, &str)], says: &[&str]| {
        let mut command = caravan();
        command.args(["run", "admin-service"]);
        command
            .env("HTTP_PORT", "1")
            .envs(variables.iter().copied());
        let ran = Ran::of(command.output().unwrap()).expect(2);
        for part in says {
            assert!(ran.stderr.contains(part), "{part:?} in:\n{}", ran.stderr);
        }
        let shown = ran.stdout + &ran.stderr;
        assert!(!shown.contains("hunter2"), "{shown}");
    };
    run(
        &[("DATABASE_URL", url)],
        &["neither API_TOKEN nor API_TOKEN_FILE is set"],
    );
    let both = [
        ("DATABASE_URL", url),
        ("API_TOKEN", "hunter2"),
        ("API_TOKEN_FILE", file),
    ];
    run(
        &both,
        &["API_TOKEN and API_TOKEN_FILE are both set: unset one"],
    );
    let empty = [("DATABASE_URL", url), ("API_TOKEN_FILE", file)];
    run(
        &empty,
        &[
            "API_TOKEN_FILE names ",
            file,
            "is empty",
            "put the secret into it",
        ],
    );
    let absent = [("DATABASE_URL", url), ("API_TOKEN_FILE", "/no/such")];
    run(&absent, &["API_TOKEN_FILE names /no/such", "No such file"]);
    let two = [
        ("DATABASE_URL", with_password),
        ("DATABASE_PASSWORD", "hunter2"),
    ];
    run(
        &two,
        &["a password in DATABASE_URL and DATABASE_PASSWORD are both set"],
    );
}

/// The points of tests/crash are compiled in for those tests alone. `cargo test --all-features`
/// builds the other executable, and is told so.
#[test]
fn no_kill_points_are_shipped() {
    let executable = fs::read(env!("CARGO_BIN_EXE_caravan")).unwrap();
    let name = b"CARAVAN_KILL_AT";
    let found = executable.windows(name.len()).any(|bytes| bytes == name);
    assert_eq!(found, cfg!(feature = "kill-points"));
}

/// One variable is for all commands, whatever formats each of them has.
#[test]
fn a_format_of_the_environment_that_a_command_does_not_know_is_its_default() {
    let directory = tempfile::tempdir().unwrap();
    let run = |args: &[&str], format: &str| {
        let mut command = caravan();
        command.args(args).current_dir(directory.path());
        command.env("CARAVAN_OUTPUT", format);
        Ran::of(command.output().unwrap())
    };
    for format in ["junit", "wide", "xml", ""] {
        let version = run(&["version"], format).expect(0).stdout;
        assert_eq!(version, run(&["--version"], format).stdout, "{format}");
    }
    let json = run(&["version"], "json").expect(0).json();
    assert_eq!(json["command"], "version");
    assert_eq!(json["status"], "pass");
    let order: Vec<_> = ["schemaVersion", "command", "status", "version"]
        .map(|key| format!("\"{key}\":"))
        .into();
    let text = run(&["version", "-o", "json"], "junit").expect(0).stdout;
    let places: Vec<_> = order.iter().map(|key| text.find(key)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{text}");

    let unknown = run(&["status", "-o", "junit"], "json").expect(2);
    for known in ["table", "wide", "json"] {
        assert!(unknown.stderr.contains(known), "{}", unknown.stderr);
    }
}

/// What people type who know `docker compose`.
#[test]
fn a_command_of_another_tool_is_answered_by_what_does_the_same() {
    let empty = tempfile::tempdir().unwrap();
    for (args, next) in [
        (
            &["-p", "shop", "stop", "web"][..],
            "docker compose -p shop stop web",
        ),
        (&["-p", "shop", "start", "web"], "caravan -p shop up web"),
        (
            &["-p", "shop", "down", "web"],
            "docker compose -p shop rm --stop --force web",
        ),
        (&["status", "-f", "x.yaml"], "caravan -f x.yaml status"),
    ] {
        let ran = run(args).expect(2);
        let line = format!("next: {next}");
        assert_eq!(ran.stderr.lines().last(), Some(line.as_str()), "{ran:?}");
        let mut command = caravan();
        command.args(args).env("CARAVAN_OUTPUT", "json");
        let document = Ran::of(command.current_dir(empty.path()).output().unwrap());
        let document = document.expect(2).json();
        assert_eq!(document["error"]["hint"], next, "{document:#}");
        assert_eq!(document["error"]["commands"][0], next, "{document:#}");
    }
}

/// A machine gets a document, whatever is wrong with the command line.
#[test]
fn a_wrong_command_line_is_an_error_in_the_format_that_it_asks_for() {
    for args in [
        &["verify", "--frobnicate", "-o", "json"][..],
        &["verify", "--frobnicate", "-ojson"],
        &["--output=json", "frobnicate"],
    ] {
        let ran = run(args).expect(2);
        let document = ran.json();
        assert_eq!(document["status"], "error", "{document:#}");
        assert_eq!(document["error"]["kind"], "usage");
        assert_eq!(document["error"]["exitCode"], 2);
        let (named, help) = match args[0] {
            "verify" => (serde_json::json!("verify"), "caravan verify --help"),
            _ => (serde_json::Value::Null, "caravan --help"),
        };
        assert_eq!(document["command"], named, "{document:#}");
        assert_eq!(document["error"]["commands"][0], help);
        assert_eq!(ran.stderr, "");
    }
    let line = run(&["verify", "--frobnicate", "-o", "ndjson"]).expect(2);
    assert_eq!(line.json()["type"], "error");
}
