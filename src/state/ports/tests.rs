use std::{fs, net::TcpListener};

use super::*;
use declaration::testing::TestDirectory;

const DECLARATION: &str = r#"
x-caravan:
  kafka: {service: broker, bootstrap: "localhost:${BROKER_PORT:-29092}"}
services:
  broker:
    image: broker
    environment: {LISTENER: "localhost:${BROKER_PORT:-29092}"}
    ports: ['127.0.0.1:${BROKER_PORT:-29092}:29092']
  web:
    image: web
    ports:
      - {target: 80, published: '${WEB_PORT-29093}', host_ip: 127.0.0.1}
      - 29094:81
  other:
    image: web
    ports: ['127.0.0.1:${OTHER_PORT:-29093}:80']
"#;

fn declared() -> TestDirectory {
    let place = TestDirectory::new();
    place.write("compose.yaml", DECLARATION);
    place
}

fn held(number: u16, project: &str) -> PortBinding {
    PortBinding {
        host_ip: "127.0.0.1".to_owned(),
        number,
        protocol: "tcp".to_owned(),
        container: format!("{project}-db"),
        project: Some(project.to_owned()),
        running: true,
    }
}

/// `local: false`: no port is bound, so the result does not depend on the machine that runs the tests.
fn choose(source: &Source, wanted: &[&str], published: &[PortBinding]) -> Result<Vec<Chosen>> {
    claiming(source, wanted, published).map(|(chosen, _)| chosen)
}

fn claiming(
    source: &Source,
    wanted: &[&str],
    published: &[PortBinding],
) -> Result<(Vec<Chosen>, Claims)> {
    let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let used = UsedPorts {
        bindings: published.to_vec(),
        local: false,
    };
    choose_ports(source, &source.resolve_without_secrets()?, &wanted, &used)
}

fn numbers(chosen: &[Chosen]) -> Vec<(&str, u16)> {
    let chosen = chosen.iter();
    chosen.map(|c| (c.variable.as_str(), c.number)).collect()
}

#[test]
fn a_default_port_that_is_free_or_the_projects_own_is_kept() {
    let place = declared();
    let source = place.source();
    for container in ["shop2-broker", "shop2-broker-1"] {
        let own = PortBinding {
            container: container.to_owned(),
            ..held(29092, "shop2")
        };
        assert_eq!(choose(&source, &["broker"], &[own]).expect("free"), []);
    }
    assert!(!source.ports_path().exists());
}

#[test]
fn a_default_port_that_another_service_of_the_project_has_is_replaced() {
    let place = declared();
    let source = place.source();
    let own = [held(29092, "shop2")];
    let chosen = choose(&source, &["broker"], &own).expect("chosen");
    assert_eq!(chosen[0].holder, "shop2-db of the project shop2");
}

#[test]
fn a_default_port_in_use_is_replaced_by_the_next_free_port_and_saved() {
    let mut place = declared();
    let source = place.source();
    let others = [held(29092, "one"), held(29095, "one")];
    let chosen = choose(&source, &["broker"], &others).expect("chosen");
    // 29093 is the default port of another service, 29094 a literal port of another service.
    assert_eq!(numbers(&chosen), [("BROKER_PORT", 29096)]);
    assert_eq!(
        (chosen[0].instead_of, chosen[0].holder.as_str()),
        (29092, "one-db of the project one")
    );
    assert_eq!(source.ports_path(), place.path(".env.shop2"));
    assert!(!source.env_path().exists(), "several projects share it");
    assert_eq!(choose(&source, &["broker"], &others).expect("kept"), []);

    place.write(
        "compose.yaml",
        &DECLARATION.replace("-29093}:80", "-29098}:80"),
    );
    let pipeline = place.source().resolve().expect("complete");
    let broker = pipeline.service("broker").expect("declared");
    assert_eq!(broker.ports[0].host_port, Some(29096));
    assert_eq!(broker.environment["LISTENER"], "localhost:29096");
    assert_eq!(pipeline.kafka.expect("declared").address, "localhost:29096");

    place.request.project = Some("staging".to_owned());
    let staging = place.source();
    let chosen = choose(&staging, &["broker"], &others).expect("chosen");
    assert_eq!(numbers(&chosen), [("BROKER_PORT", 29096)], "its own file");
}

#[test]
fn the_first_of_two_services_with_the_same_default_port_gets_it() {
    let place = declared();
    let source = place.source();
    let chosen = choose(&source, &["web", "other"], &[]).expect("chosen");
    assert_eq!(numbers(&chosen), [("OTHER_PORT", 29095)]);
    source.resolve().expect("no two services have one port");
}

#[test]
fn ports_that_the_user_set_are_never_changed() {
    let mut place = declared();
    place.write(".env", "BROKER_PORT=29092\n");
    place.set("OTHER_PORT", "29098");
    let source = place.source();
    let others = [held(29092, "one"), held(29094, "one"), held(29098, "one")];
    let chosen = choose(&source, &["broker", "web", "other"], &others);
    assert_eq!(chosen.expect("nothing to choose"), []);
}

#[test]
fn ports_of_services_that_do_not_start_are_ignored() {
    let place = declared();
    let others = [held(29092, "one")];
    let chosen = choose(&place.source(), &["web"], &others);
    assert_eq!(chosen.expect("nothing to choose"), []);
}

#[test]
fn a_saved_port_that_is_now_in_use_is_an_error_with_a_hint() {
    let place = declared();
    place.write(".env.shop2", "BROKER_PORT=29096\n");
    let others = [held(29096, "one")];
    let error = choose(&place.source(), &["broker"], &others).expect_err("lost");
    assert_eq!(error.kind, Kind::NotRight);
    insta::assert_snapshot!(place.shown(&error), @r"
    error: broker cannot use port 29096: it is in use
      one-db of the project one has it
      BROKER_PORT in /Shop 2/.env.shop2 says 29096
      without that line another port is chosen
    next: sed -i '/^BROKER_PORT=/d' '/Shop 2/.env.shop2' && caravan up
    ");
}

#[test]
fn two_concurrent_projects_choose_different_ports() {
    let mut place = declared();
    let (chosen, first) = claiming(&place.source(), &["broker"], &[]).expect("free");
    assert_eq!(chosen, []);
    place.request.project = Some("staging".to_owned());
    let staging = place.source();
    let (chosen, _) = claiming(&staging, &["broker"], &[]).expect("chosen");
    assert_eq!(numbers(&chosen), [("BROKER_PORT", 29095)]);
    drop(first);
    fs::remove_file(staging.ports_path()).expect("there");
    assert!(staging.reload().expect("readable"), "forgotten");
    assert_eq!(choose(&staging, &["broker"], &[]).expect("free"), []);
}

#[test]
fn a_listening_socket_on_this_host_is_detected() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let number = listener.local_addr().expect("bound").port();
    let port = Port {
        host_ip: "127.0.0.1".to_owned(),
        host_port: None,
        host_range: None,
        container_port: 80,
        protocol: "tcp".to_owned(),
    };
    assert!(is_bound(&port, number));
    drop(listener);
    assert!(!is_bound(&port, number));
}
