//! `up` when it does not go well: what is said, and with which exit code.

use std::process::{Command, Stdio};

use crate::support::{Ran, eventually, pipeline::Pipeline};

/// A one-shot that fails, one that waits for it, and a service that never gets ready.
const DECLARATION: &str = r#"
services:
  broken:
    image: caravan.local/caravan
    command: [run, kafka-init, "neither topic nor retention"]
    environment: {KAFKA_BROKERS: "nowhere:9092"}
    x-caravan: {image-from: self}
  held-up:
    image: caravan.local/caravan
    command: [run, migrate]
    depends_on: {broken: {condition: service_completed_successfully}}
    x-caravan: {image-from: self}
  never-ready:
    image: caravan.local/caravan
    command: [run, admin-service]
    environment: {DATABASE_URL: "postgres://a:b@127.0.0.1:1/c", API_TOKEN: "0123456789abcdef"}
    x-caravan: {image-from: self, startup: "[AdminService] Started"}
x-caravan: {}
"#;

fn declared(name: &str) -> Pipeline {
    let pipeline = Pipeline::declared(name, &[]);
    std::fs::write(pipeline.directory().join("compose.yaml"), DECLARATION).unwrap();
    pipeline
}

#[test]
fn a_failed_service_is_explained_and_left_as_it_is() {
    let pipeline = declared("failing");
    let Ran { stderr, .. } = pipeline.caravan(&["up", "held-up"]).expect(1);
    for expected in [
        "broken",
        "exit code 2",
        "neither topic nor retention",
        "waiting for broken: held-up",
        "next: caravan -p",
    ] {
        assert!(stderr.contains(expected), "{expected:?} in:\n{stderr}");
    }
    assert_eq!(pipeline.inspect("broken", "{{.State.Status}}"), "exited");
    assert_eq!(pipeline.inspect("held-up", "{{.State.Status}}"), "created");
}

#[test]
fn ctrl_c_has_an_exit_code_of_its_own() {
    let pipeline = declared("waiting");
    let child = pipeline
        .command(&["up", "never-ready", "--timeout", "2m"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    eventually("up waits", || pipeline.runs("never-ready").then_some(()));
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let Ran { stderr, .. } = Ran::of(child.wait_with_output().unwrap()).expect(130);
    assert!(stderr.contains("stay as they are"), "{stderr}");
}

#[test]
fn an_occupied_port_names_who_holds_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pipeline = declared("port");
    let overlay = format!("services:\n  never-ready:\n    ports: ['127.0.0.1:{port}:8080']\n");
    std::fs::write(pipeline.directory().join("overlay.yaml"), overlay).unwrap();
    let files = [
        "-f",
        "compose.yaml",
        "-f",
        "overlay.yaml",
        "up",
        "never-ready",
    ];
    let Ran { stderr, .. } = pipeline.caravan(&files).expect(1);
    let us = std::process::id().to_string();
    assert!(stderr.contains(&port.to_string()), "{stderr}");
    assert!(stderr.contains(&us), "this test's process {us}: {stderr}");
}
