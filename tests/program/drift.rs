//! What runs is not what the declaration, or the image that is here, says: `verify` tells.

use std::{fs, process::Command};

use serde_json::Value;

use crate::support::{Ran, pipeline::Pipeline};

const DECLARATION: &str = r#"
x-caravan: {}
services:
  base:
    image: caravan.local/redis:7
    command: [redis-server, --port, "6379"]
    stop_grace_period: 0s
    x-caravan: {image-from: redis}
  app:
    build: {context: app, network: none}
    command: [sh, -c, "exec sleep 600"]
    environment: {TOKEN: first-word, LEVEL: info}
    stop_grace_period: 0s
"#;

/// The finding of `app`, the only one that is no pass.
#[track_caller]
fn drift(pipeline: &Pipeline) -> Value {
    let (ran, ids) = pipeline.not_passing();
    assert_eq!(
        (ran.code, ids),
        (0, vec!["containers.app.as-declared".to_owned()])
    );
    Pipeline::finding(&ran, "containers.app.as-declared")
}

#[track_caller]
fn heal(pipeline: &Pipeline, finding: &Value) {
    pipeline.shell(finding["hint"].as_str().unwrap()).expect(0);
    pipeline.expect_green();
}

#[test]
fn what_runs_is_compared_with_what_is_declared() {
    let pipeline = Pipeline::declared("drift", &[]);
    pipeline.write("compose.yaml", DECLARATION);
    pipeline.write(
        "app/Dockerfile",
        "FROM caravan.local/redis:7\nENTRYPOINT []\nCOPY . /app\n",
    );
    pipeline.write("app/text", "one\n");
    pipeline.with_images(&["up", "base"]);
    pipeline.caravan(&["up"]).expect(0);
    pipeline.expect_green();
    it_is_right_however_it_came_up(&pipeline);
    a_newer_image(&pipeline);
    another_declaration(&pipeline);
    changed_by_hand(&pipeline);
    one_replica_of_two(&pipeline);
    a_container_that_ended_for_it(&pipeline);

    pipeline.caravan(&["down", "--volumes", "--yes"]).expect(0);
    let built = format!("label=caravan.project={}", pipeline.project);
    let images = pipeline.docker(&["images", "-q", "--filter", &built]);
    let remove = ["image", "rm"].into_iter().chain(images.split_whitespace());
    pipeline.docker(&remove.collect::<Vec<_>>());
}

fn it_is_right_however_it_came_up(pipeline: &Pipeline) {
    pipeline.caravan(&["restart", "app"]).expect(0);
    pipeline.expect_green();
    pipeline.caravan(&["scale", "app=2"]).expect(0);
    pipeline.expect_green();
    pipeline.caravan(&["scale", "app=1"]).expect(0);
    pipeline.expect_green();
}

/// What is edited is not deployed; what was built, or pulled, is what the next start would run.
fn a_newer_image(pipeline: &Pipeline) {
    pipeline.write("app/text", "two\n");
    pipeline.expect_green();
    pipeline.caravan(&["images", "build"]).expect(0);
    let finding = drift(pipeline);
    assert_eq!(finding["seen"], "its image changed");
    heal(pipeline, &finding);
}

fn another_declaration(pipeline: &Pipeline) {
    let changed = DECLARATION
        .replace("first-word", "second-word")
        .replace("LEVEL: info", "LEVEL: debug");
    pipeline.write("compose.yaml", &changed);
    let finding = drift(pipeline);
    assert_eq!(finding["seen"], "2 differences");
    let container = pipeline.container("app");
    let line = |cause: &str| format!("{container} is not as declared: {cause}");
    let expected = [
        line("environment.LEVEL: info -> debug"),
        line("environment.TOKEN: changed"),
    ];
    assert_eq!(finding["evidence"], serde_json::json!(expected));
    let strict = pipeline.caravan(&["verify", "--strict"]).expect(1);
    insta::assert_snapshot!("drift", told(pipeline, &strict));
    heal(pipeline, &finding);
}

/// Its labels are right; `inspect` shows what it is now.
fn changed_by_hand(pipeline: &Pipeline) {
    let container = pipeline.container("app");
    let update = ["update", "--restart=always", "--cpus=0.5", &container];
    pipeline.docker(&update);
    let finding = drift(pipeline);
    let evidence = finding["evidence"].to_string();
    for cause in ["cpus: 0.5 -> nothing", "restart: always -> nothing"] {
        assert!(evidence.contains(cause), "{evidence}");
    }
    heal(pipeline, &finding);
    // As root of another failure, too, the hint is `up`.
    let network = format!("{}_default", pipeline.project);
    pipeline.docker(&["network", "disconnect", &network, &container]);
    let finding = drift(pipeline);
    assert_eq!(finding["seen"], format!("it left the network {network}"));
    heal(pipeline, &finding);
}

/// What is said of it below the table.
fn told(pipeline: &Pipeline, ran: &Ran) -> String {
    let (_, below) = ran.stdout.split_once("\n\n").unwrap();
    let (told, _) = below.rsplit_once("\n\n").unwrap();
    told.replace(&pipeline.project, "PROJECT")
}

fn one_replica_of_two(pipeline: &Pipeline) {
    pipeline.caravan(&["scale", "app=2"]).expect(0);
    let second = format!("{}-2", pipeline.container("app"));
    let format = "{{json .Config.Labels}}";
    let labels = pipeline.docker(&["inspect", "-f", format, &second]);
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(&labels).unwrap();
    let image = pipeline.inspect("app", "{{.Image}}");
    pipeline.docker(&["rm", "-fv", &second]);
    let network = format!("{}_default", pipeline.project);
    let mut run = Command::new("docker");
    run.args(["run", "-d", "--name", &second, "--network", &network]);
    // As somebody made it by hand, with all but Caravan's own hash.
    for (key, value) in labels
        .iter()
        .filter(|(key, _)| *key != "caravan.config-hash")
    {
        run.args(["--label", &format!("{key}={value}")]);
    }
    run.args([
        "--network-alias",
        "app",
        "-e",
        "TOKEN=second-word",
        "-e",
        "LEVEL=trace",
    ]);
    run.args([&image, "sh", "-c", "exec sleep 600"]);
    Ran::of(run.output().unwrap()).expect(0);
    let finding = drift(pipeline);
    assert_eq!(finding["seen"], "1 of 2 containers");
    let evidence = finding["evidence"].to_string();
    assert!(
        evidence.contains("environment.LEVEL: trace -> debug"),
        "{evidence}"
    );
    heal(pipeline, &finding);
    pipeline.caravan(&["scale", "app=1"]).expect(0);
}

/// Why it does not run may well be that it is another.
fn a_container_that_ended_for_it(pipeline: &Pipeline) {
    let text = fs::read_to_string(pipeline.directory().join("compose.yaml")).unwrap();
    pipeline.write("compose.yaml", &text.replace("exec sleep 600", "exit 3"));
    pipeline.caravan(&["up", "app"]).expect(1);
    pipeline.write("compose.yaml", &text);
    let (ran, _) = pipeline.not_passing();
    let finding = Pipeline::finding(&ran, "containers.app.running");
    assert_eq!(finding["status"], "fail");
    let evidence = finding["evidence"].to_string();
    assert!(
        evidence.contains("is not as declared: command: "),
        "{evidence}"
    );
    let hint = finding["hint"].as_str().unwrap();
    assert!(hint.ends_with(" up app"), "{hint}");
    heal(pipeline, &finding);
}
