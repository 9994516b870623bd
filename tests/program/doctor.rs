//! `doctor` on a real host, with faults of the test's own making, and without.

use std::{net::TcpListener, process::Command};

use serde_json::Value;

use crate::support::{Ran, small::Small};

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
    let (project, service) = (label("project", &small.project), label("service", "old"));
    small.docker(&[
        "create", "--name", &orphan, "-l", &project, "-l", &service, caravan,
    ]);
    let ran = wrong();

    let taken = finding(&ran, &port);
    assert_eq!(taken["status"], "fail");
    assert_eq!(taken["hint"], format!("kill {}", std::process::id()));
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
