//! A stack of somebody's own: its image is built from a directory, its secrets and configs are
//! files, one of its services comes with a profile only.

use crate::support::{Ran, pipeline::Pipeline};

const DECLARATION: &str = r##"
x-caravan: {}
services:
  base:
    image: caravan.local/redis:7
    command: [redis-server, --port, "6379"]
    stop_grace_period: 0s
    x-caravan: {image-from: redis}
  app:
    build: {context: app, network: none, args: {GREETING: hello}}
    user: "12345"
    command: [sh, -c, "cat /run/secrets/* /etc/app/settings /greeting /app/*; id -u; /init.sh; exec sleep 600"]
    secrets: [token, {source: key, target: key.txt}]
    configs: [{source: settings, target: /etc/app/settings}, {source: init, target: /init.sh, mode: 0555}]
    stop_grace_period: 0s
    deploy: {resources: {limits: {cpus: "0.5", memory: 64m}}}
    x-caravan: {startup: initialised}
  extra:
    image: caravan.local/redis:7
    entrypoint: sleep 600
    stop_grace_period: 0s
    profiles: [tools]
    depends_on: {app: {condition: service_healthy, restart: true}}
  absent:
    image: caravan.local/is-nowhere:1
    pull_policy: never
    profiles: [absent]
secrets:
  token: {environment: TOKEN}
  key: {file: ./key}
configs:
  settings: {content: "settings of ${COMPOSE_PROJECT_NAME}\n"}
  init: {content: "#!/bin/sh\necho initialised\n"}
"##;

const DOCKERFILE: &str = "FROM caravan.local/redis:7\nENTRYPOINT []\nARG GREETING\n\
                          RUN echo $GREETING > /greeting\nCOPY . /app\n";

fn declared() -> Pipeline {
    let pipeline = Pipeline::declared("stack", &[("TOKEN", "value-of-a-variable\n")]);
    pipeline.write("compose.yaml", DECLARATION);
    pipeline.write("key", "value-in-a-file\n");
    pipeline.write("app/Dockerfile", DOCKERFILE);
    pipeline.write("app/.dockerignore", "*.log\nDockerfile\n");
    pipeline.write("app/kept.txt", "kept\n");
    pipeline.write("app/left.log", "left out\n");
    pipeline.write("app/.env", "SECRET=1\n");
    pipeline
}

/// The outcome of a service in what `up` prints.
fn outcome(up: &Ran, service: &str) -> String {
    let row = up.stdout.lines().find(|line| line.starts_with(service));
    let row = row.unwrap_or_else(|| panic!("no {service} in\n{}", up.stdout));
    row.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_stack_is_built_given_its_secrets_and_kept_in_step_with_its_files() {
    let mut pipeline = declared();
    pipeline.with_images(&["up", "base"]);
    let up = pipeline.caravan(&["up"]).expect(0);
    assert_eq!(outcome(&up, "app"), "created");
    assert!(
        !up.stdout.contains("extra"),
        "its profile is not active: {}",
        up.stdout
    );
    let wrote = pipeline.docker(&["logs", &pipeline.container("app")]);
    let settings = format!("settings of {}", pipeline.project);
    let expected = [
        "value-in-a-file",
        "value-of-a-variable",
        &settings,
        "hello",
        "kept",
        "12345",
        "initialised",
    ];
    assert_eq!(wrote.lines().collect::<Vec<_>>(), expected);
    let shown = pipeline.caravan(&["logs", "app"]).expect(0).stdout;
    assert!(
        shown.contains("****") && !shown.contains("value-"),
        "{shown}"
    );
    assert_eq!(
        pipeline.inspect("app", "{{.HostConfig.NanoCpus}}"),
        "500000000"
    );

    pipeline.write("app/left.log", "changed, and still left out\n");
    let up = pipeline.caravan(&["up"]).expect(0);
    assert_eq!(outcome(&up, "app"), "unchanged", "{}", up.stderr);
    pipeline.write("app/kept.txt", "changed\n");
    let up = pipeline.caravan(&["up", "extra"]).expect(0);
    for expected in ["built", "the build context of app contains .env"] {
        assert!(
            up.stderr.contains(expected),
            "{expected:?} in:\n{}",
            up.stderr
        );
    }
    assert_eq!(outcome(&up, "app"), "recreated");
    assert_eq!(
        outcome(&up, "extra"),
        "created",
        "who is named comes with its profile"
    );
    let other = "another-value\n".to_owned();
    pipeline.variables.insert("TOKEN".to_owned(), other);
    let up = pipeline.caravan(&["--profile", "tools", "up"]).expect(0);
    assert_eq!(outcome(&up, "app"), "recreated", "its secret is another");
    assert_eq!(
        outcome(&up, "extra"),
        "started",
        "and it is started anew with it"
    );
    let wrote = pipeline.docker(&["logs", &pipeline.container("app")]);
    assert!(
        wrote.contains("another-value") && wrote.contains("changed"),
        "{wrote}"
    );

    let Ran { stderr, .. } = pipeline.caravan(&["up", "absent"]).expect(1);
    assert!(stderr.contains("must not be pulled"), "{stderr}");
    let broken = "FROM caravan.local/redis:7\nRUN echo about to fail; no-such-program\n";
    pipeline.write("app/Dockerfile", broken);
    let Ran { stderr, .. } = pipeline.caravan(&["up"]).expect(1);
    for expected in [
        "Step 2/",
        "about to fail",
        "no-such-program: not found",
        "next: docker build",
    ] {
        assert!(stderr.contains(expected), "{expected:?} in:\n{stderr}");
    }
    assert_eq!(pipeline.inspect("app", "{{.State.Status}}"), "running");

    let files = pipeline
        .directory()
        .join(format!(".caravan-{}", pipeline.project));
    assert!(files.join("secrets/token").exists());
    pipeline.caravan(&["down", "--volumes", "--yes"]).expect(0);
    assert!(!files.exists(), "secrets go with what they were for");
    let built = format!("label=caravan.project={}", pipeline.project);
    let images = pipeline.docker(&["images", "-q", "--filter", &built]);
    assert!(!images.is_empty(), "what is built is labelled");
    let remove = ["image", "rm"].into_iter().chain(images.split_whitespace());
    pipeline.docker(&remove.collect::<Vec<_>>());
}
