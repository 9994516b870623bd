//! What goes wrong while a pipeline comes up, made to happen one by one: which exit code, which
//! evidence and which next command a person gets, and that nobody waits for what cannot come.

use std::{
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{Ran, eventually, pipeline::Pipeline, proxy::Proxy};

/// Until when `up` would wait, and until when it must have ended.
const DEADLINE: &str = "120s";
const AT_ONCE: Duration = Duration::from_secs(60);

/// The services of evidence/compose.yaml, none of them up.
pub(crate) fn declared(name: &str, extra: &[(&str, &str)]) -> Pipeline {
    let mut extra = extra.to_vec();
    extra.push(("SHELL_IMAGE", shell_image()));
    let pipeline = Pipeline::declared(&format!("evidence-{name}"), &extra);
    let directory = pipeline.directory();
    let declaration = include_str!("evidence/compose.yaml");
    std::fs::write(directory.join("compose.yaml"), declaration).unwrap();
    // An executable's first bytes, and no more.
    let program = directory.join("program");
    std::fs::write(&program, b"\x7fELF").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    pipeline
}

/// Something with a shell: made here where there is no registry.
pub(crate) fn shell_image() -> &'static str {
    const LOCAL: &str = "caravan.local/debian:bookworm";
    let found = Command::new("docker")
        .args(["image", "inspect", LOCAL])
        .output()
        .unwrap();
    match found.status.success() {
        true => LOCAL,
        false => "debian:bookworm-slim",
    }
}

/// `up`, which fails long before its deadline.
#[track_caller]
fn up(pipeline: &Pipeline, services: &[&str], code: i32) -> Ran {
    let began = Instant::now();
    let args = [&["up", "--timeout", DEADLINE], services].concat();
    let ran = pipeline.caravan(&args).expect(code);
    assert!(began.elapsed() < AT_ONCE, "{services:?} was waited for");
    ran
}

/// The error alone, without what differs from run to run and from engine to engine.
pub(crate) fn error(pipeline: &Pipeline, ran: &Ran) -> String {
    let at = ran.stderr.find("error:").unwrap();
    let text = ran.stderr[at..]
        .replace(&pipeline.project, "PROJECT")
        .replace(&pipeline.directory().display().to_string(), "DIRECTORY")
        .replace(&docker_root(), "DOCKER");
    let lines = text.lines().map(|line| match line {
        line if line.contains("runtime create failed") => "  (the container runtime's words)",
        line if line.starts_with("  health: unhealthy, the last ") => "  health: unhealthy, …",
        line => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn docker_root() -> String {
    let info = ["info", "--format", "{{.DockerRootDir}}"];
    let info = Command::new("docker").args(info).output().unwrap();
    Ran::of(info).expect(0).stdout.trim().to_owned()
}

/// Brings each service up in turn and compares what is said.
fn told(pipeline: &Pipeline, services: &[&str]) {
    for service in services {
        let ran = up(pipeline, &[service], 1);
        insta::assert_snapshot!(*service, error(pipeline, &ran));
    }
}

#[test]
fn an_exited_container_has_its_exit_code_and_reason() {
    let pipeline = declared("ended", &[]);
    told(
        &pipeline,
        &[
            "exits",
            "exits-well",
            "segfaults",
            "not-found",
            "foreign-format",
            "disk-full",
        ],
    );
}

#[test]
fn out_of_memory_and_repeated_restarts_are_named() {
    let pipeline = declared("again", &[]);
    told(&pipeline, &["out-of-memory"]);
    // The second time it is there already, and not to be taken for one that runs.
    for _ in 0..2 {
        let Ran { stderr, .. } = up(&pipeline, &["loops"], 1);
        for expected in ["loops restarts repeatedly", "restarted ", "| begins"] {
            assert!(stderr.contains(expected), "{expected:?} in:\n{stderr}");
        }
    }
}

#[test]
fn a_deadline_names_the_service_that_is_waited_for() {
    let pipeline = declared("late", &[]);
    let late = ["up", "needs-hangs", "--timeout", "3s"];
    let ran = pipeline.caravan(&late).expect(4);
    insta::assert_snapshot!("late", error(&pipeline, &ran));
}

#[test]
fn the_root_cause_goes_first_and_what_waits_for_it_last() {
    let pipeline = declared("root", &[]);
    told(&pipeline, &["needs-that"]);
    let several = up(&pipeline, &["needs-fails", "needs-that"], 1);
    insta::assert_snapshot!("several", error(&pipeline, &several));
}

#[test]
fn what_docker_refuses_is_explained() {
    let pipeline = declared("refused", &[]);
    let refused = [
        "no-such-command",
        "not-executable",
        "no-such-user",
        "mount-mismatch",
    ];
    told(&pipeline, &refused);
}

#[test]
fn a_name_in_use_is_reported_with_its_container_which_stays() {
    let pipeline = declared("name", &[]);
    let taken = pipeline.container("runs");
    pipeline.docker(&["create", "--name", &taken, shell_image(), "true"]);
    let Ran { stderr, .. } = up(&pipeline, &["runs"], 1);
    let yourself = format!("rename {taken} yourself");
    for expected in [
        "created by hand",
        "another project name: -p NAME",
        &yourself,
    ] {
        assert!(stderr.contains(expected), "{expected:?} in:\n{stderr}");
    }
    pipeline.docker(&["rm", &taken]);
    pipeline.caravan(&["up", "runs"]).expect(0);
}

#[test]
fn a_container_removed_or_stopped_by_somebody_is_not_waited_for() {
    let pipeline = declared("gone", &[]);
    let container = pipeline.container("waits");
    for (interference, says) in [
        (&["rm", "-f"][..], "someone removed its container"),
        (&["kill"], "SIGKILL: it was killed"),
    ] {
        let ran = while_it_waits(&pipeline, &[], || {
            pipeline.docker(&[interference, &[&container]].concat());
        });
        let Ran { stderr, .. } = ran.expect(1);
        assert!(stderr.contains(says), "{says:?} in:\n{stderr}");
    }
}

/// `up waits`, and what happens to it while it waits.
fn while_it_waits(pipeline: &Pipeline, flags: &[&str], happens: impl FnOnce()) -> Ran {
    let args = [flags, &["up", "waits", "--timeout", DEADLINE]].concat();
    let child = pipeline
        .command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it runs", || pipeline.runs("waits").then_some(()));
    happens();
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(began.elapsed() < AT_ONCE, "it was waited for");
    Ran::of(output)
}

#[test]
fn an_image_that_is_nowhere_is_not_waited_for() {
    let pipeline = declared("image", &[]);
    let refused = up(&pipeline, &["no-image"], 1);
    assert!(refused.stderr.contains("docker pull"), "{}", refused.stderr);

    // A registry that takes connections and says nothing.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = registry.local_addr().unwrap().to_string();
    let pipeline = declared("registry", &[("REGISTRY", &address)]);
    let silent = up(&pipeline, &["no-image"], 1);
    let says = "its registry did not answer within 5s";
    assert!(silent.stderr.contains(says), "{}", silent.stderr);
}

#[test]
fn a_volume_without_its_secret_is_refused() {
    let pipeline = declared("secret", &[]);
    pipeline.caravan(&["up", "guarded"]).expect(0);
    let kept = pipeline.directory().join(".env");
    std::fs::rename(&kept, kept.with_extension("lost")).unwrap();
    let lost = up(&pipeline, &["guarded"], 2);
    insta::assert_snapshot!("secret-lost", error(&pipeline, &lost));
    // As the hint has it, for who has no copy.
    let giving_up = ["down", "--volumes", "--yes"];
    pipeline.caravan(&giving_up).expect(0);
    pipeline.caravan(&["up", "guarded"]).expect(0);
}

#[test]
fn docker_going_away_midway_ends_the_wait() {
    let pipeline = declared("docker", &[]);
    let proxy = Proxy::listen(&pipeline.directory().join("docker.sock"));
    let host = proxy.host();
    let ran = while_it_waits(&pipeline, &["-H", &host], || proxy.cut());
    let Ran { stderr, .. } = ran.expect(3);
    assert!(stderr.contains("stopped answering"), "{stderr}");
    let next = format!("next: docker -H {host} version");
    assert!(stderr.contains(&next), "{stderr}");
}

#[test]
fn docker_without_permission_says_how_to_get_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let mode = |path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    mode(path.as_path(), 0).unwrap();
    mode(directory.path(), 0o755).unwrap();
    // Root may do anything, so the test is somebody else.
    let program = directory.path().join("caravan");
    std::fs::copy(env!("CARGO_BIN_EXE_caravan"), &program).unwrap();
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--clear-groups"])
                .arg(&program);
            command
        }
        false => Command::new(&program),
    };
    command.arg("-H").arg(format!("unix://{}", path.display()));
    command
        .args(["logs", "waits"])
        .current_dir(directory.path());
    let declaration = include_str!("evidence/compose.yaml");
    std::fs::write(directory.path().join("compose.yaml"), declaration).unwrap();
    command.env("SHELL_IMAGE", "x").env("TOKEN", "12345678");
    let Ran { stderr, .. } = Ran::of(command.output().unwrap()).expect(3);
    assert!(stderr.contains("ermission denied"), "{stderr}");
    assert!(stderr.contains("next: sudo usermod -aG docker"), "{stderr}");
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    Ran::of(id).expect(0).stdout.trim() == "0"
}
