//! Where what is written goes nowhere: a full disk is an error, a reader that left is none.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{Ran, caravan};

const DECLARATION: &str = "x-caravan: {}
services:
  web:
    image: 'registry.invalid/web:1'
    environment: {FIRST: '${FIRST}', SECOND: '${SECOND}'}
";

/// Commands that need no deployment, and how they end where stdout takes everything.
const COMMANDS: [(&[&str], i32); 12] = [
    (&["--help"], 0),
    (&["up", "--help"], 0),
    (&["--version"], 0),
    (&["schema"], 0),
    (&["completions", "bash"], 0),
    (&["init", "--default", "-O", "-"], 0),
    (&["status"], 0),
    (&["status", "-o", "json"], 0),
    (&["verify"], 1),
    (&["verify", "-o", "plain"], 1),
    (&["verify", "-o", "ndjson"], 1),
    (&["verify", "-o", "junit"], 1),
];

fn declared(name: &str) -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix(name).tempdir().unwrap();
    fs::write(directory.path().join("compose.yaml"), DECLARATION).unwrap();
    directory
}

fn command(directory: &Path, args: &[&str]) -> Command {
    let project = format!("caravan-test-outputs-{}", std::process::id());
    let mut command = caravan();
    command.args(args).current_dir(directory);
    command.env("CARAVAN_PROJECT", project);
    command.env("XDG_STATE_HOME", directory);
    command
}

#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let directory = declared("full");
    for (args, _) in COMMANDS {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = command(directory.path(), args);
        let ran = Ran::of(command.stdout(full).output().unwrap());
        assert_eq!(ran.code, 3, "{args:?}: {}", ran.stderr);
        for expected in ["error: cannot write to stdout", "No space left on device"] {
            assert!(ran.stderr.contains(expected), "{args:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_reader_that_left_is_no_error() {
    let directory = declared("left");
    for (args, code) in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command(directory.path(), args);
        let ran = Ran::of(command.stdout(writer).output().unwrap());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("error"), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn an_error_that_cannot_be_written_as_json_keeps_its_code() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(
        directory.path(),
        &["-f", "missing.yaml", "status", "-o", "json"],
    );
    let ran = Ran::of(command.stdout(full).output().unwrap()).expect(2);
    assert!(ran.stderr.contains("cannot write to stdout"));
}

#[test]
fn watching_ends_when_stdout_is_full() {
    let directory = declared("watch");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(directory.path(), &["verify", "--watch", "-o", "ndjson"]);
    let ran = Ran::of(command.stdout(full).output().unwrap()).expect(3);
    assert!(ran.stderr.contains("No space left on device"));
}

/// A file system with hardly any room; unmounted when the test ends.
struct Disk(tempfile::TempDir);

impl Disk {
    fn small() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let mount = ["-t", "tmpfs", "-o", "size=4k", "tmpfs"];
        let status = Command::new("mount")
            .args(mount)
            .arg(disk.0.path())
            .status();
        assert!(status.unwrap().success(), "mount needs root");
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0.path()).status());
    }
}

#[test]
fn a_declaration_that_has_no_room_is_not_left_in_part() {
    let disk = Disk::small();
    let mut command = command(disk.0.path(), &["init", "--default"]);
    let ran = Ran::of(command.output().unwrap()).expect(3);
    for expected in ["cannot write compose.yaml", "No space left on device"] {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    assert!(!disk.0.path().join("compose.yaml").exists());
}

/// Secrets that are words of the report, break JSON unescaped, or are shorter than others.
#[test]
fn secrets_never_touch_the_ids_of_a_report() {
    let directory = declared("secret");
    let declaration = DECLARATION.replace("{}", "{secrets: [FIRST, SECOND]}");
    fs::write(directory.path().join("compose.yaml"), declaration).unwrap();
    for (first, second) in [
        ("running", "true"),
        ("fail", "deployed"),
        ("a\"b\\c", "web.r"),
    ] {
        let mut command = command(directory.path(), &["verify", "-o", "json"]);
        command.env("FIRST", first).env("SECOND", second);
        command.stdin(Stdio::null());
        let report = Ran::of(command.output().unwrap()).expect(1).json();
        let findings = report["findings"].as_array().unwrap();
        let running = findings
            .iter()
            .find(|f| f["id"] == "containers.web.running");
        assert_eq!(running.unwrap()["status"], "fail", "{report:#}");
    }
}
