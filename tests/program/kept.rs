//! `up` over containers that are there already: one that crashes over and over, is unhealthy, was
//! stopped meanwhile or left its network is not up, whatever an earlier run of it wrote.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use crate::support::{Ran, eventually, pipeline::Pipeline};

/// What each of the services does is decided by files in `state`.
const DECLARATION: &str = r#"
x-caravan: {}
x-shell: &shell
  image: caravan.local/redis:7
  restart: always
  stop_grace_period: 0s
  volumes: ['./state:/state:ro']
  x-caravan: {image-from: redis, startup: it has started}
services:
  crashing:
    <<: *shell
    entrypoint: [sh, -c, "echo it has started; while [ ! -e /state/crash ]; do sleep 0.1; done; sleep 1; exit 3"]
  slow:
    <<: *shell
    entrypoint: [sh, -c, "sleep 4; echo it has started; exec sleep 600"]
  probed:
    <<: *shell
    entrypoint: [sh, -c, "echo it has started; exec sleep 600"]
    healthcheck: {test: "test ! -e /state/sick || { echo it is sick; exit 1; }", interval: 200ms, retries: 10}
  dependant:
    <<: *shell
    entrypoint: [sh, -c, "echo it has started; exec sleep 600"]
    depends_on: {probed: {condition: service_healthy}}
  seldom-probed:
    <<: *shell
    entrypoint: [sh, -c, "echo it has started; exec sleep 600"]
    healthcheck: {test: "true", interval: 10m}
  dying:
    <<: *shell
    restart: "no"
    entrypoint: [sh, -c, "echo it has started; sleep 0.1; echo last words; exit 3"]
  dying-again:
    <<: *shell
    entrypoint: [sh, -c, "echo it has started; sleep 0.1; echo last words; exit 3"]
  chatty:
    <<: *shell
    entrypoint: [sh, -c, "echo it has started; seq -w 1 20000; exec sleep 600"]
    logging: {driver: json-file, options: {max-size: 10k, max-file: "2"}}
  retrying:
    <<: *shell
    entrypoint: [sh, -c, "while :; do echo retrying the connection to the database, which refuses it for now; sleep 0.02; done"]
    logging: {driver: json-file, options: {max-size: 10k, max-file: "2"}}
  unread:
    <<: *shell
    entrypoint: [sh, -c, "echo it has started; exec sleep 600"]
    logging: {driver: none}
  rotated:
    <<: *shell
    entrypoint: [sh, -c, "echo it has started; sleep 3; seq -w 1 2000; exec sleep 600"]
    logging: {driver: json-file, options: {max-size: 10k, max-file: "2"}}
"#;

struct Kept(Pipeline);

impl Kept {
    fn up(name: &str, services: &[&str]) -> Self {
        let kept = Self(Pipeline::declared(name, &[]));
        fs::create_dir(kept.0.directory().join("state")).unwrap();
        fs::write(kept.0.directory().join("compose.yaml"), DECLARATION).unwrap();
        if !services.is_empty() {
            kept.0.with_images(&[&["up"], services].concat());
        }
        kept
    }

    fn set(&self, state: &str) {
        fs::write(self.0.directory().join("state").join(state), "").unwrap();
    }

    fn unset(&self, state: &str) {
        fs::remove_file(self.0.directory().join("state").join(state)).unwrap();
    }

    #[track_caller]
    fn until(&self, service: &str, template: &str, is: impl Fn(&str) -> bool) {
        eventually(template, || {
            is(&self.0.inspect(service, template)).then_some(())
        });
    }

    fn make_unhealthy(&self) {
        self.set("sick");
        self.until("probed", "{{.State.Health.Status}}", |s| s == "unhealthy");
    }

    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.0.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

#[track_caller]
fn expect_all(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected:?} in:\n{text}");
    }
}

#[test]
fn a_crash_loop_that_was_there_before_is_not_up() {
    let kept = Kept::up("kept-loop", &["crashing"]);
    kept.set("crash");
    kept.until("crashing", "{{.RestartCount}}", |count| count != "0");
    let Ran { stderr, .. } = kept.0.caravan(&["up", "crashing"]).expect(1);
    let expected = [
        "crashing restarts repeatedly",
        "exit code 3",
        "restarted",
        "logs crashing",
    ];
    expect_all(&stderr, &expected);
}

#[test]
fn a_crash_loop_that_begins_while_others_come_up_is_not_up() {
    let kept = Kept::up("new-loop", &["probed"]);
    kept.set("crash");
    let up = kept.0.caravan(&["up", "crashing", "slow"]).expect(1);
    expect_all(&up.stderr, &["crashing restarts repeatedly"]);
    let restart = ["restart", "crashing", "slow"];
    let restart = kept.0.caravan(&restart).expect(1);
    expect_all(&restart.stderr, &["crashing restarts repeatedly"]);
}

#[test]
fn a_container_that_ends_right_after_its_startup_line_is_not_up() {
    let kept = Kept::up("brief", &[]);
    kept.0.with_images(&["images", "build"]);
    let Ran { stderr, .. } = kept.0.caravan(&["up", "dying"]).expect(1);
    let expected = ["dying ended", "exit code 3", "last words", "logs dying"];
    expect_all(&stderr, &expected);
}

#[test]
fn a_container_that_docker_restarts_right_after_its_startup_line_is_not_up() {
    let kept = Kept::up("brief-loop", &[]);
    kept.0.with_images(&["images", "build"]);
    let Ran { stderr, .. } = kept.0.caravan(&["up", "dying-again"]).expect(1);
    let expected = ["dying-again restarts repeatedly", "last words"];
    expect_all(&stderr, &expected);
}

#[test]
fn a_container_that_docker_restarted_and_that_runs_again_is_up() {
    let kept = Kept::up("recovering", &["crashing"]);
    kept.set("crash");
    kept.until("crashing", "{{.RestartCount}}", |count| count != "0");
    kept.unset("crash");
    let ran = kept.0.caravan(&["up", "crashing"]).expect(0);
    expect_all(&ran.stdout, &["unchanged"]);
}

#[test]
fn an_unhealthy_container_is_not_up_and_what_needs_it_does_not_start() {
    let kept = Kept::up("kept-sick", &["probed"]);
    kept.make_unhealthy();
    let Ran { stderr, .. } = kept.0.caravan(&["up", "dependant"]).expect(1);
    let expected = [
        "probed is unhealthy",
        "it is sick",
        "waiting for probed: dependant",
    ];
    expect_all(&stderr, &expected);
    assert!(!kept.0.runs("dependant"), "it needs a healthy dependency");

    // What the error proposes helps, once the cause is gone.
    let (_, hint) = stderr.rsplit_once("next: ").unwrap();
    assert!(hint.contains(" restart probed"), "{hint}");
    kept.unset("sick");
    kept.0.shell(hint).expect(0);
    kept.0.caravan(&["up", "dependant"]).expect(0);
}

#[test]
fn a_container_that_becomes_healthy_again_is_up() {
    let kept = Kept::up("kept-well", &["probed"]);
    kept.make_unhealthy();
    kept.unset("sick");
    let ran = kept.0.caravan(&["up", "dependant"]).expect(0);
    expect_all(&ran.stdout, &["unchanged"]);
    assert_eq!(
        kept.0.inspect("probed", "{{.State.Health.Status}}"),
        "healthy"
    );
}

#[test]
fn a_health_check_that_has_not_decided_yet_is_no_failure() {
    let kept = Kept::up("kept-young", &["seldom-probed"]);
    let health = "{{.State.Health.Status}}";
    assert_eq!(kept.0.inspect("seldom-probed", health), "starting");
    let again = kept.0.caravan(&["up", "seldom-probed", "--timeout", "20s"]);
    expect_all(&again.expect(0).stdout, &["unchanged"]);
}

#[test]
fn a_startup_line_that_log_rotation_deleted_is_no_failure() {
    let kept = Kept::up("kept-rotated", &["rotated"]);
    let logged = ["logs", &kept.0.container("rotated")];
    eventually("a log that was rotated", || {
        let log = kept.0.docker(&logged);
        (log.contains("2000") && !log.contains("has started")).then_some(())
    });
    let again = kept.0.caravan(&["up", "rotated", "--timeout", "20s"]);
    expect_all(&again.expect(0).stdout, &["unchanged"]);
    // Nothing else says whether it has started, and a restart would not help.
    eventually("it is not starting", || {
        let id = "logs.rotated.started";
        let ran = kept.0.caravan(&["verify", "--only", id, "-o", "json"]);
        let finding = Pipeline::finding(&ran, id);
        assert_ne!(finding["status"], "fail", "{finding}");
        (finding["status"] == "warn").then(|| assert!(finding["hint"].is_null(), "{finding}"))
    });
}

#[test]
fn a_startup_line_that_rotation_deletes_at_once_is_no_failure() {
    let kept = Kept::up("kept-chatty", &[]);
    kept.0.with_images(&["images", "build"]);
    kept.0
        .caravan(&["up", "chatty", "--timeout", "20s"])
        .expect(0);
    let again = kept.0.caravan(&["up", "chatty", "--timeout", "20s"]);
    expect_all(&again.expect(0).stdout, &["unchanged"]);
}

#[test]
fn a_startup_line_that_was_never_written_is_waited_for_however_much_is_logged() {
    let kept = Kept::up("kept-retrying", &[]);
    kept.0.with_images(&["images", "build"]);
    let ran = kept.0.caravan(&["up", "retrying", "--timeout", "12s"]);
    let Ran { stderr, .. } = ran.expect(4);
    expect_all(&stderr, &["not ready within 12s: retrying"]);
}

/// Docker calls a container unhealthy that was paused, until its next probe.
#[test]
fn an_unhealthy_container_that_may_recover_is_waited_for_until_the_deadline() {
    let kept = Kept::up("kept-late", &["seldom-probed"]);
    let container = kept.0.container("seldom-probed");
    kept.0.docker(&["pause", &container]);
    kept.0.docker(&["unpause", &container]);
    let ran = kept.0.caravan(&["up", "seldom-probed", "--timeout", "3s"]);
    let Ran { stderr, .. } = ran.expect(4);
    expect_all(
        &stderr,
        &["health: unhealthy", "waiting until its health check passes"],
    );
}

#[test]
fn a_container_that_is_stopped_while_up_waits_is_not_up() {
    let kept = Kept::up("kept-stopped", &["dependant"]);
    kept.make_unhealthy();
    let mut up = kept.spawn(&["up", "dependant"]);
    let mut lines = BufReader::new(up.stderr.take().unwrap()).lines();
    // `up` has looked at what runs by then, and keeps `dependant`.
    let waits = |line: &str| line.contains("dependant: waiting for probed");
    assert!(lines.any(|line| waits(&line.unwrap())), "it does not wait");
    kept.0
        .docker(&["stop", "-t", "0", &kept.0.container("dependant")]);
    kept.unset("sick");
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let stderr = rest.join("\n");
    assert_eq!(up.wait().unwrap().code(), Some(1), "{stderr}");
    expect_all(&stderr, &["dependant ended", "up dependant"]);
}

#[test]
fn a_container_that_left_its_network_is_recreated() {
    let kept = Kept::up("kept-network", &["probed"]);
    let network = format!("{}_default", kept.0.project);
    let container = kept.0.container("probed");
    let aliases = format!("{{{{json (index .NetworkSettings.Networks \"{network}\").Aliases}}}}");
    let recreated = |cause: &str| {
        let dry = kept.0.caravan(&["up", "probed", "--dry-run"]).expect(0);
        expect_all(&dry.stdout, &["recreate", cause]);
        let ran = kept.0.caravan(&["up", "probed"]).expect(0);
        expect_all(&ran.stdout, &["recreated"]);
        let aliases = kept.0.inspect("probed", &aliases);
        assert!(aliases.contains("\"probed\""), "{aliases}");
    };
    kept.0
        .docker(&["network", "disconnect", &network, &container]);
    recreated("it left the network");
    // By hand it is connected without the name by which others find it.
    kept.0
        .docker(&["network", "disconnect", &network, &container]);
    kept.0.docker(&["network", "connect", &network, &container]);
    recreated("it lost its name probed");
    // Who is in another network besides is as declared.
    let ran = kept.0.caravan(&["up", "probed"]).expect(0);
    expect_all(&ran.stdout, &["unchanged"]);
}

/// Docker keeps no log of it: that nothing can be told of its lines is no failure.
#[test]
fn a_log_that_cannot_be_read_is_no_failure() {
    let kept = Kept::up("kept-unread", &["unread"]);
    let verify = ["verify", "--only", "logs.unread", "-o", "json"];
    let ran = kept.0.caravan(&verify).expect(0);
    let finding = Pipeline::finding(&ran, "logs.unread.started");
    assert_eq!(finding["status"], "warn", "{finding:#}");
    let seen = finding["seen"].as_str().unwrap();
    assert!(seen.contains("does not support reading"), "{finding:#}");
    assert!(finding["hint"].is_null(), "{finding:#}");
}

/// The run that ended says why it ended; the current one may say nothing yet.
#[test]
fn the_last_words_of_a_crashed_run_are_shown() {
    let kept = Kept::up("kept-words", &[]);
    kept.0.with_images(&["images", "build"]);
    kept.0.caravan(&["up", "--timeout", "5s", "dying-again"]);
    eventually("a restart", || {
        let restarts = kept.0.inspect("dying-again", "{{.RestartCount}}");
        (restarts != "0").then_some(())
    });
    eventually("its last words", || {
        let ran = kept
            .0
            .caravan(&["verify", "--only", "dying-again", "-o", "json"]);
        let running = Pipeline::finding(&ran, "containers.dying-again.running");
        let restarts = Pipeline::finding(&ran, "containers.dying-again.restarts");
        let found = [running, restarts].into_iter();
        let mut found = found.filter(|f| f["evidence"].to_string().contains("last words"));
        // To bring it up would change nothing.
        let hint = found.next()?["hint"].as_str()?.to_owned();
        assert!(hint.ends_with(" logs dying-again"), "{hint}");
        Some(())
    });
}
