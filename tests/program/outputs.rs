//! Where what is written goes nowhere: a full disk is an error, a reader that left is none.

use std::{
    fs::{self, File},
    os::unix::fs::FileTypeExt,
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
    /// `size` in the words of tmpfs; a file takes 4k at least.
    fn of(size: &str) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let mount = ["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"];
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
    let disk = Disk::of("4k");
    let mut command = command(disk.0.path(), &["init", "--default"]);
    let ran = Ran::of(command.output().unwrap()).expect(3);
    for expected in ["cannot write compose.yaml", "No space left on device"] {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    assert!(!disk.0.path().join("compose.yaml").exists());
}

#[test]
fn a_report_that_has_no_room_is_an_error() {
    let disk = Disk::of("4k");
    fs::write(disk.0.path().join("full"), [0; 4096]).unwrap();
    let directory = declared("no-room");
    for format in ["junit", "json", "ndjson", "plain"] {
        let report = disk.0.path().join(format);
        let file = File::create(&report).unwrap();
        let mut command = command(directory.path(), &["verify", "-o", format]);
        let ran = Ran::of(command.stdout(file).output().unwrap());
        assert_eq!(ran.code, 3, "{format}: {}", ran.stderr);
        for expected in ["error: cannot write to stdout", "No space left on device"] {
            assert!(ran.stderr.contains(expected), "{format}: {}", ran.stderr);
        }
    }
}

/// An image without files; removed when the test ends.
struct EmptyImage(String);

impl EmptyImage {
    fn import(name: &str) -> Self {
        let image = Self(format!("caravan-test-{name}-{}:1", std::process::id()));
        let import = format!("tar -c -T /dev/null | docker import - {}", image.0);
        let output = Command::new("sh").args(["-c", &import]).output();
        Ran::of(output.unwrap()).expect(0);
        image
    }

    /// A directory with a declaration of one service that runs from the image.
    fn declared(&self) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let declaration = format!(
            "x-caravan: {{}}\nservices: {{web: {{image: '{}', command: [none]}}}}\n",
            self.0
        );
        fs::write(directory.path().join("compose.yaml"), declaration).unwrap();
        directory
    }
}

impl Drop for EmptyImage {
    fn drop(&mut self) {
        drop(Command::new("docker").args(["rmi", "-f", &self.0]).output());
    }
}

#[test]
fn images_that_have_no_room_are_not_left_in_part() {
    let image = EmptyImage::import("no-room");
    let (declared, disk) = (image.declared(), Disk::of("8k"));
    let file = disk.0.path().join("images.tar");
    fs::write(&file, "those of yesterday").unwrap();
    let name = file.display().to_string();
    let mut command = command(declared.path(), &["images", "save", &name]);
    let ran = Ran::of(command.output().unwrap()).expect(3);
    for expected in [
        &format!("cannot write {name}"),
        "No space left on device",
        "next: write it to a disk with more room",
    ] {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "those of yesterday");
    assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 1);
}

#[test]
fn images_that_stdout_has_no_room_for_are_a_failure() {
    let image = EmptyImage::import("full-stdout");
    let declared = image.declared();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(declared.path(), &["images", "save", "-"]);
    let ran = Ran::of(command.stdout(full).output().unwrap()).expect(3);
    for expected in ["cannot write stdout", "No space left on device"] {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
}

/// A device is written to. Replaced by a file, `/dev/null` would fill the disk from then on.
#[test]
fn images_never_replace_what_is_no_regular_file() {
    let image = EmptyImage::import("devices");
    let declared = image.declared();
    let device = declared.path().join("null");
    let made = Command::new("mknod")
        .arg(&device)
        .args(["c", "1", "3"])
        .status();
    assert!(made.unwrap().success(), "mknod needs root");
    let name = device.display().to_string();
    let mut save = command(declared.path(), &["images", "save", &name]);
    Ran::of(save.output().unwrap()).expect(0);
    let kind = fs::metadata(&device).unwrap().file_type();
    assert!(kind.is_char_device(), "{kind:?}");

    let target = declared.path().join("images.tar");
    fs::write(&target, "").unwrap();
    let link = declared.path().join("link.tar");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let name = link.display().to_string();
    let mut save = command(declared.path(), &["images", "save", &name]);
    Ran::of(save.output().unwrap()).expect(0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::metadata(&target).unwrap().len() > 0);
}

#[test]
fn secrets_that_have_no_room_leave_the_old_ones_as_they_are() {
    // For the declaration, `.env` and the lock.
    let disk = Disk::of("12k");
    let declaration = DECLARATION.replace("{}", "{secrets: [FIRST, SECOND]}");
    fs::write(disk.0.path().join("compose.yaml"), declaration).unwrap();
    fs::write(disk.0.path().join(".env"), "FIRST=of-old-data\n").unwrap();
    let mut command = command(disk.0.path(), &["up"]);
    let ran = Ran::of(command.output().unwrap()).expect(3);
    for expected in ["error: cannot write", ".env", "No space left on device"] {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let env = fs::read_to_string(disk.0.path().join(".env")).unwrap();
    assert_eq!(env, "FIRST=of-old-data\n");
    let names = fs::read_dir(disk.0.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names
        .filter(|name| name.to_string_lossy().ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
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

#[test]
fn secrets_never_touch_the_names_of_a_preview() {
    let directory = declared("preview");
    let declaration = DECLARATION.replace("{}", "{secrets: [FIRST, SECOND]}");
    fs::write(directory.path().join("compose.yaml"), declaration).unwrap();
    let container = format!("caravan-test-outputs-{}-web", std::process::id());
    for (first, second) in [("create", "registry.invalid"), (&container, "fetch")] {
        let mut command = command(directory.path(), &["up", "--dry-run"]);
        command.env("FIRST", first).env("SECOND", second);
        let Ran { stdout, .. } = Ran::of(command.output().unwrap()).expect(0);
        let lines: Vec<_> = stdout.lines().collect();
        assert!(lines[0].starts_with("fetch     registry.invalid/web:1 ("));
        assert_eq!(lines[1..], [format!("create    {container}")]);
    }
}

#[test]
fn secrets_never_touch_the_names_of_a_proposal() {
    let directory = tempfile::tempdir().unwrap();
    let declaration = "secrets: {password: {environment: PASSWORD}}
services:
  kafka: {image: apache/kafka, ports: ['9092:9092'], secrets: [password]}
";
    fs::write(directory.path().join("compose.yaml"), declaration).unwrap();
    for password in ["kafka", "ready", "services"] {
        let mut command = command(directory.path(), &["init"]);
        let output = command.env("PASSWORD", password).output().unwrap();
        let Ran { stdout, .. } = Ran::of(output).expect(0);
        let services = "\nservices:\n  kafka:\n    x-caravan:\n      ready: kafka\n";
        assert!(stdout.contains(services), "{password}: {stdout}");
    }
}
