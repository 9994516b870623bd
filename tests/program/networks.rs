//! Networks with one name. Engines before API 1.44 let two be created at the same time: by an `up` that
//! was killed while Docker still created the network, and by the next one.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use serde_json::json;

use crate::support::{Ran, pipeline::Pipeline};

const DECLARATION: &str = "
x-caravan: {kafka: {bootstrap: 'kafka:9092'}}
services:
  idle:
    image: caravan.local/redis:7
    entrypoint: [sleep, '600']
    stop_grace_period: 0s
    x-caravan: {image-from: redis}
";

struct Networks(Pipeline);

impl Networks {
    fn declared(name: &str) -> Self {
        let networks = Self(Pipeline::declared(name, &[]));
        let file = networks.0.directory().join("compose.yaml");
        std::fs::write(file, DECLARATION).unwrap();
        networks.0.with_images(&["images", "build"]);
        networks
    }

    fn name(&self) -> String {
        format!("{}_default", self.0.project)
    }

    /// The ids of the networks with the project's name.
    fn ids(&self) -> Vec<String> {
        let name = format!("name=^{}$", self.name());
        let list = ["network", "ls", "-q", "--no-trunc", "--filter", &name];
        let ids = self.0.docker(&list);
        ids.lines().map(str::to_owned).collect()
    }

    /// Creates a network as an `up` does whose create request overtakes that of another: its id.
    /// None: this engine refuses a name that exists, so no second one can come into being.
    fn create(&self, labels: &[(&str, &str)]) -> Option<String> {
        let labels: serde_json::Map<_, _> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let (status, answer) = post(
            "/networks/create",
            &json!({"Name": self.name(), "Labels": labels}).to_string(),
        );
        if status == 409 {
            return None;
        }
        assert_eq!(status, 201, "{answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        Some(answer["Id"].as_str().unwrap().to_owned())
    }

    fn create_own(&self) -> Option<String> {
        self.create(&[
            ("com.docker.compose.project", &self.0.project),
            ("com.docker.compose.network", "default"),
            ("com.docker.compose.version", "caravan-0.2.0"),
        ])
    }

    fn network_of_idle(&self) -> String {
        let template = "{{range .NetworkSettings.Networks}}{{.NetworkID}}{{end}}";
        self.0.inspect("idle", template)
    }
}

/// A request to the engine's socket: status and body.
fn post(path: &str, body: &str) -> (u16, String) {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = host
        .strip_prefix("unix://")
        .unwrap_or("/var/run/docker.sock");
    let mut socket = UnixStream::connect(socket).unwrap();
    let length = body.len();
    write!(
        socket,
        "POST {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, body.to_owned())
}

#[test]
fn up_uses_one_of_two_networks_and_removes_the_empty_one() {
    let networks = Networks::declared("networks-two");
    let first = networks.create_own().unwrap();
    if networks.create_own().is_none() {
        return;
    }
    assert_eq!(networks.ids().len(), 2);
    let up = networks.0.caravan(&["up"]).expect(0);
    assert!(up.stderr.contains("removed"), "{}", up.stderr);
    assert_eq!(networks.ids(), [first.as_str()], "the older one stays");
    assert_eq!(networks.network_of_idle(), first);
}

#[test]
fn the_network_with_containers_stays_and_so_do_they() {
    let networks = Networks::declared("networks-used");
    networks.0.caravan(&["up"]).expect(0);
    let used = networks.network_of_idle();
    let id = networks.0.inspect("idle", "{{.Id}}");
    if networks.create_own().is_none() {
        return;
    }
    // Before the next `up` removes it, no command fails because of it.
    networks.0.caravan(&["status"]).expect(0);
    let topics = networks.0.caravan(&["topics"]).expect(3);
    assert!(!topics.stderr.contains("ambiguous"), "{}", topics.stderr);
    networks.0.caravan(&["restart"]).expect(0);
    networks.0.docker(&["stop", &networks.0.container("idle")]);
    networks.0.caravan(&["up"]).expect(0);
    assert_eq!(networks.ids(), [used]);
    assert_eq!(networks.0.inspect("idle", "{{.Id}}"), id);
}

#[test]
fn down_removes_both_networks() {
    let networks = Networks::declared("networks-down");
    networks.0.caravan(&["up"]).expect(0);
    if networks.create_own().is_none() {
        return;
    }
    networks.0.caravan(&["down"]).expect(0);
    assert!(networks.ids().is_empty());
}

#[test]
fn a_network_of_somebody_else_with_the_name_is_never_removed() {
    let networks = Networks::declared("networks-others");
    networks.0.caravan(&["up"]).expect(0);
    let used = networks.network_of_idle();
    let Some(other) = networks.create(&[("made-by", "hand")]) else {
        return;
    };
    let Ran { stderr, .. } = networks.0.caravan(&["up"]).expect(1);
    let remove = || networks.0.docker(&["network", "rm", &other]);
    for expected in [
        format!("2 networks have the name {}", networks.name()),
        format!("{other:.12} was created by hand"),
    ] {
        if !stderr.contains(&expected) {
            remove();
            panic!("{expected:?} in:\n{stderr}");
        }
    }
    let mut ids = networks.ids();
    ids.sort();
    let mut both = vec![used, other.clone()];
    both.sort();
    remove();
    assert_eq!(ids, both);
    networks.0.caravan(&["up"]).expect(0);
}
