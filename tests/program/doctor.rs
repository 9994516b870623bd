//! `doctor` on a real host, with faults of the test's own making, and without.

use std::{net::TcpListener, process::Command};

use serde_json::Value;

use crate::support::{Ran, eventually, free_port, pipeline::Pipeline, small::Small};

#[track_caller]
fn finding(ran: &Ran, id: &str) -> Value {
    let document = ran.json();
    let findings = document["findings"].as_array().unwrap().clone();
    let found = findings.into_iter().find(|f| f["id"] == id);
    found.unwrap_or_else(|| panic!("no finding {id} in {document:#}"))
}

#[test]
fn what_is_wrong_is_found_and_its_hint_works() {
    let small = Small::declared("doctor");
    let port = format!("ports.web.{}", small.port);
    let listener = TcpListener::bind(("127.0.0.1", small.port)).unwrap();
    small.docker(&["rmi", &small.image]);
    let orphan = format!("{}-old", small.project);
    let label = |name: &str, value: &str| format!("com.docker.compose.{name}={value}");
    let caravan = "caravan.local/caravan:latest";
    // What is packed for the container that looks around is what the orphan is made of.
    let wrong = || small.caravan(&["doctor", "-o", "json"]).expect(1);
    wrong();
    let labels = [
        label("project", &small.project),
        label("service", "old"),
        label("container-number", "1"),
        label("config-hash", "0"),
    ];
    let mut create = vec!["create", "--name", &orphan];
    create.extend(labels.iter().flat_map(|label| ["-l", label]));
    create.push(caravan);
    small.docker(&create);
    let ran = wrong();

    let taken = finding(&ran, &port);
    assert_eq!(taken["status"], "fail");
    let hint = taken["hint"].as_str().unwrap();
    let us = format!("(pid {}) yourself", std::process::id());
    assert!(hint.starts_with("publish web on another port"), "{hint}");
    assert!(hint.contains(&us), "{hint}");
    let registry = finding(&ran, "registry.reachable");
    assert_eq!(registry["status"], "fail", "{registry:#}");
    let left = finding(&ran, "leftovers.containers");
    assert_eq!(
        (&left["status"], &left["seen"]),
        (&"warn".into(), &orphan.into())
    );
    for id in ["engine.reachable", "engine.platform", "network.dns"] {
        assert_eq!(finding(&ran, id)["status"], "pass", "{id}");
    }

    drop(listener);
    let hint = left["hint"].as_str().unwrap();
    let removed = Command::new("sh").args(["-c", hint]).output().unwrap();
    Ran::of(removed).expect(0);
    let ran = wrong();
    assert_eq!(finding(&ran, &port)["status"], "pass");
    assert_eq!(finding(&ran, "leftovers.containers")["status"], "pass");
    assert_eq!(finding(&ran, "registry.reachable")["status"], "fail");

    // All is well again, and what runs is the project's own.
    small.make_image();
    small.caravan(&["up"]).expect(0);
    let ran = small.caravan(&["doctor", "-o", "json"]).expect(0);
    let own = finding(&ran, &port);
    assert_eq!(own["seen"], format!("its own: {}-web", small.project));
    assert_eq!(finding(&ran, "leftovers.networks")["status"], "pass");
    assert_eq!(finding(&ran, "registry.reachable")["status"], "pass");

    let own = ["ps", "-aq", "--filter", "label=caravan.doctor"];
    assert_eq!(small.docker(&own), "");
    let own = ["network", "ls", "-q", "--filter", "label=caravan.doctor"];
    assert_eq!(small.docker(&own), "");
}

/// A service that publishes one port by a variable and one by a number.
fn publishing(name: &str, by_variable: u16, literal: u16) -> Pipeline {
    let pipeline = Pipeline::declared(name, &[]);
    let declaration = format!(
        "x-caravan: {{}}
services:
  store:
    image: caravan.local/redis:7
    command: [redis-server, --port, '6379']
    stop_grace_period: 0s
    ports: ['127.0.0.1:${{STORE_PORT:-{by_variable}}}:6379', '127.0.0.1:{literal}:6380']
    x-caravan: {{image-from: redis}}
"
    );
    std::fs::write(pipeline.directory().join("compose.yaml"), declaration).unwrap();
    pipeline
}

#[test]
fn a_port_for_which_up_would_choose_another_passes() {
    let default = free_port();
    let pipeline = publishing("doctor-choice", default, free_port());
    let listener = TcpListener::bind(("127.0.0.1", default)).unwrap();
    let id = format!("ports.store.{default}");
    // It is what `up` does; other tests may take a port between the two.
    eventually("both choose one port", || {
        let doctor = pipeline.caravan(&["doctor", "-o", "json"]);
        let taken = finding(&doctor, &id);
        assert_eq!(taken["status"], "pass", "{taken:#}");
        let dry = pipeline.caravan(&["up", "--dry-run", "-o", "json"]);
        let plan = dry.expect(0).json();
        let chosen = plan["ports"][0]["port"].as_u64().unwrap();
        let expected = format!("`up` will use {chosen} (STORE_PORT)");
        taken["seen"].as_str()?.ends_with(&expected).then_some(())
    });

    // Who has set it keeps it: the variable is named, and nobody's end is proposed.
    let port = default.to_string();
    let mut set = pipeline.command(&["doctor", "-o", "json"]);
    let set = Ran::of(set.env("STORE_PORT", port).output().unwrap()).expect(1);
    let hint = finding(&set, &id)["hint"].to_string();
    assert!(hint.contains("set STORE_PORT=…"), "{hint}");
    assert!(!hint.contains("kill"), "{hint}");
    drop(listener);
}

#[test]
fn a_port_of_another_container_is_reported_with_that_container() {
    let literal = free_port();
    let pipeline = publishing("doctor-other", free_port(), literal);
    pipeline.with_images(&["images", "build"]);
    let other = format!("{}-other", pipeline.project);
    let port = literal.to_string();
    // In the host's network it publishes nothing that Docker knows of.
    let run = ["run", "-d", "--rm", "--network", "host", "--name", &other];
    let server = ["--entrypoint", "redis-server", "caravan.local/redis:7"];
    let options = ["--port", &port, "--bind", "127.0.0.1"];
    pipeline.docker(&[&run[..], &server, &options].concat());
    eventually("it listens", || {
        std::net::TcpStream::connect(("127.0.0.1", literal)).ok()
    });
    let doctor = pipeline.caravan(&["doctor", "-o", "json"]);
    let up = pipeline.caravan(&["up"]);
    pipeline.docker(&["stop", "-t", "0", &other]);
    let taken = finding(&doctor.expect(1), &format!("ports.store.{literal}"));
    let named = format!("the container {other}");
    for text in [&taken["seen"], &taken["hint"]] {
        assert!(text.as_str().unwrap().contains(&named), "{taken:#}");
    }
    let up = up.expect(1).stderr;
    assert!(
        up.contains(&named) && up.contains("publish store on another port"),
        "{up}"
    );
    assert!(!up.contains("kill ") && !up.contains("docker stop"), "{up}");
}
