//! Builds with BuildKit: what only it can do, what is said when a step fails, and what becomes of it
//! on an engine that has the classic builder alone.

use std::process::Command;

use crate::{
    evidence::{error, shell_image},
    support::{Ran, pipeline::Pipeline, proxy::Proxy},
};

const DECLARATION: &str = r#"
x-caravan: {}
services:
  app:
    build: {context: app, args: {BASE: "${SHELL_IMAGE}"}, network: none, secrets: [token]}
    command: [sh, -c, "cat /greeting; exec sleep 600"]
    stop_grace_period: 0s
    x-caravan: {startup: initialised}
  plain:
    build: {context: app, dockerfile: Plain, args: {BASE: "${SHELL_IMAGE}"}, network: none}
    command: [sh, -c, "cat /greeting; exec sleep 600"]
    stop_grace_period: 0s
    x-caravan: {startup: initialised}
secrets:
  token: {environment: TOKEN}
"#;

/// It needs BuildKit, and asks for a reader that may not be there, and that it can do without.
const DOCKERFILE: &str = "# syntax=docker/dockerfile:1\n\
    ARG BASE\n\
    FROM $BASE AS built\n\
    RUN --mount=type=cache,target=/cache --mount=type=secret,id=token,required=true \
        test \"$(cat /run/secrets/token)\" = value-of-a-secret && echo initialised > /greeting\n\
    FROM $BASE\n\
    COPY --from=built --chmod=0640 /greeting /greeting\n";

const SECRET: &str = "value-of-a-secret";

/// A project whose Dockerfile ends with `more`; its images go with it.
struct Built(Pipeline);

impl Built {
    fn declared(name: &str, more: &str) -> Self {
        let extra = [("SHELL_IMAGE", shell_image()), ("TOKEN", SECRET)];
        let pipeline = Pipeline::declared(&format!("builds-{name}"), &extra);
        let directory = pipeline.directory();
        std::fs::create_dir(directory.join("app")).unwrap();
        std::fs::write(directory.join("compose.yaml"), DECLARATION).unwrap();
        let plain = "ARG BASE\nFROM $BASE\nRUN echo initialised > /greeting\n";
        std::fs::write(directory.join("app/Plain"), plain).unwrap();
        let built = Self(pipeline);
        built.says(&format!("{DOCKERFILE}{more}"));
        built
    }

    fn says(&self, dockerfile: &str) {
        std::fs::write(self.0.directory().join("app/Dockerfile"), dockerfile).unwrap();
    }

    fn image(&self) -> String {
        format!("{}-app", self.0.project)
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        for service in ["app", "plain"] {
            // Its containers first; what was never built is not there.
            drop(
                Command::new("docker")
                    .args(["rm", "-fv", &self.0.container(service)])
                    .output(),
            );
            let image = format!("{}-{service}", self.0.project);
            drop(
                Command::new("docker")
                    .args(["image", "rm", "-f", &image])
                    .output(),
            );
        }
    }
}

#[test]
fn what_only_buildkit_builds_comes_up_and_is_built_once() {
    let built = Built::declared("once", "");
    let up = built.0.caravan(&["up", "app"]).expect(0);
    assert!(up.stderr.contains("-app: built"), "{}", up.stderr);
    let mode = [
        "exec",
        &built.0.container("app"),
        "stat",
        "-c",
        "%a",
        "/greeting",
    ];
    assert_eq!(built.0.docker(&mode).trim(), "640");
    let label = "{{index .Config.Labels \"caravan.service\"}}";
    let inspect = ["image", "inspect", "-f", label, &built.image()];
    assert_eq!(built.0.docker(&inspect).trim(), "app");

    let again = built.0.caravan(&["up", "app"]).expect(0);
    assert!(again.stdout.contains("unchanged"), "{}", again.stdout);
    assert!(!again.stderr.contains(": built"), "{}", again.stderr);

    // Neither the image nor what was told has it.
    let history = ["history", "--no-trunc", &built.image()];
    let listed = ["exec", &built.0.container("app"), "ls", "/run"];
    let all = [built.0.docker(&history), built.0.docker(&listed), up.stderr];
    for text in all {
        assert!(
            !text.contains(SECRET) && !text.contains("secrets\n"),
            "{text}"
        );
    }
}

#[test]
fn a_step_that_fails_is_shown_with_its_last_lines() {
    let more = "RUN echo all is well\nRUN for n in $(seq 20); do echo line $n; done; exit 4\n";
    let built = Built::declared("fails", more);
    let ran = built.0.caravan(&["up", "app"]).expect(1);
    let text = error(&built.0, &ran);
    // Engines word it differently.
    let lines = text.lines().map(|line| match line {
        line if line.contains("exit code: 4") => {
            "  (BuildKit's words, which end with exit code: 4)"
        }
        line => line,
    });
    insta::assert_snapshot!("step-fails", lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_dockerfile_that_cannot_be_read_says_what_reads_it() {
    let built = Built::declared("unread", "");
    built.says("ARG BASE\nFROM $BASE\nRUNN true\n");
    let Ran { stderr, .. } = built.0.caravan(&["up", "app"]).expect(1);
    for expected in ["unknown instruction: RUNN", "# syntax=docker/dockerfile:1"] {
        assert!(stderr.contains(expected), "{expected:?} in:\n{stderr}");
    }

    built.says("# syntax=127.0.0.1:1/shop/reader:1\nFROM scratch\n");
    let ran = built.0.caravan(&["up", "app"]).expect(1);
    let text = error(&built.0, &ran);
    let lines = text.lines().map(|line| match line {
        line if line.starts_with("  it cannot be pulled: ") => "  it cannot be pulled: …",
        line => line,
    });
    insta::assert_snapshot!("no-such-reader", lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn an_engine_without_buildkit_builds_what_it_can_and_refuses_the_rest() {
    let built = Built::declared("classic", "");
    let socket = built.0.directory().join("docker.sock");
    let host = Proxy::without(&socket, Some("/session")).host();
    let up = built.0.caravan(&["-H", &host, "up", "plain"]).expect(0);
    assert!(up.stderr.contains("-plain: built"), "{}", up.stderr);
    let image = format!("{}-plain", built.0.project);
    let history = built.0.docker(&["history", "--no-trunc", &image]);
    assert!(
        !history.contains("buildkit"),
        "the classic builder: {history}"
    );

    let ran = built.0.caravan(&["-H", &host, "up", "app"]).expect(1);
    insta::assert_snapshot!("no-buildkit", error(&built.0, &ran));

    // Without its secrets it is the Dockerfile that needs it.
    let declaration = DECLARATION.replace(", secrets: [token]", "");
    std::fs::write(built.0.directory().join("compose.yaml"), declaration).unwrap();
    let Ran { stderr, .. } = built.0.caravan(&["-H", &host, "up", "app"]).expect(1);
    assert!(stderr.contains("requires BuildKit"), "{stderr}");
}
