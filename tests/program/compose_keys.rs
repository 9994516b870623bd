//! Keys of Compose files, on real Docker: a link, shared mounts and a shared network reach the containers, and the
//! next `up` keeps them. `config` needs no Docker.

use serde_json::Value;

use crate::support::pipeline::Pipeline;

const DECLARATION: &str = "
x-caravan: {}
services:
  db:
    image: redis:7
    command: [redis-server, --save, '']
    volumes: [/shared]
    x-caravan: {image-from: redis}
  app:
    image: redis:7
    entrypoint: [bash, -c, 'getent hosts database && ls -d /shared && exec sleep 600']
    links: ['db:database']
    volumes_from: [db]
    stop_grace_period: 0s
    x-caravan: {image-from: redis, startup: /shared}
  sidecar:
    image: redis:7
    entrypoint: [bash, -c, 'exec 3<>/dev/tcp/127.0.0.1/6379 && echo connected && exec sleep 600']
    network_mode: service:db
    stop_grace_period: 0s
    x-caravan: {image-from: redis, startup: connected}
";

#[test]
fn links_shared_mounts_and_a_shared_network_reach_the_containers() {
    let pipeline = Pipeline::declared("compose-keys", &[]);
    std::fs::write(pipeline.directory().join("compose.yaml"), DECLARATION).unwrap();
    pipeline.caravan(&["up"]).expect(0);
    let ids = || ["db", "app", "sidecar"].map(|service| pipeline.inspect(service, "{{.Id}}"));
    let before = ids();
    pipeline.caravan(&["up"]).expect(0);
    assert_eq!(before, ids(), "nothing differs");
}

#[test]
fn config_prints_the_project_without_docker() {
    let pipeline = Pipeline::declared("config", &[]);
    let config = |args: &[&str]| {
        let line = [&["-H", "unix:///nowhere.sock"], args].concat();
        pipeline.caravan(&line)
    };
    std::fs::write(pipeline.directory().join("compose.yaml"), DECLARATION).unwrap();
    let printed = config(&["config", "-o", "json"]).expect(0).stdout;
    let project: Value = serde_json::from_str(&printed).unwrap();
    let depends_on = &project["services"]["app"]["depends_on"]["db"];
    assert_eq!(depends_on["condition"], "service_started");
    let names = config(&["config", "--services"]).expect(0).stdout;
    assert_eq!(names, "db\napp\nsidecar\n");
    let nothing = config(&["config", "-q"]).expect(0).stdout;
    assert_eq!(nothing, "");
    // What is printed is a Compose file, which resolves to the same.
    let yaml = config(&["config"]).expect(0).stdout;
    std::fs::write(pipeline.directory().join("resolved.yaml"), yaml).unwrap();
    let again = config(&["-f", "resolved.yaml", "config", "-o", "json"]);
    let again: Value = serde_json::from_str(&again.expect(0).stdout).unwrap();
    assert_eq!(again["services"], project["services"]);
    std::fs::write(
        pipeline.directory().join("compose.yaml"),
        "x-caravan: {}\nservices: {a: {imag: x}}\n",
    )
    .unwrap();
    config(&["config", "-q"]).expect(2);
}
