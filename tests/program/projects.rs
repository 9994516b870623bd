//! Several projects of one declaration on one host: ports of their own, nothing shared.

use std::{collections::BTreeMap, net::TcpListener};

use crate::support::{Ran, free_port, pipeline::Pipeline};

/// Services that run without any other: one publishes a port that a variable decides, one has a
/// name that only one project can have, one such a volume.
fn declaration(port: u16, name: &str) -> String {
    format!(
        r#"
services:
  web: &web
    image: caravan.local/caravan
    command: [run, admin-service]
    environment: {{DATABASE_URL: "postgres://a:b@127.0.0.1:1/c", API_TOKEN: "0123456789abcdef"}}
    ports: ['127.0.0.1:${{WEB_PORT:-{port}}}:8080']
    x-caravan: {{image-from: self}}
  named:
    <<: *web
    ports: []
    container_name: {name}
  stored:
    <<: *web
    ports: []
    volumes: ['data:/data']
volumes:
  data: {{name: {name}-data}}
x-caravan: {{}}
"#
    )
}

fn published(pipeline: &Pipeline) -> u16 {
    let template = r#"{{(index (index .NetworkSettings.Ports "8080/tcp") 0).HostPort}}"#;
    pipeline.inspect("web", template).parse().unwrap()
}

#[test]
fn a_second_project_gets_ports_of_its_own_and_keeps_them() {
    let one = Pipeline::declared("one", &[]);
    let two = Pipeline::declared("two", &[]);
    let port = free_port();
    let file = one.directory().join("compose.yaml");
    std::fs::write(&file, declaration(port, &one.container("named"))).unwrap();
    let beside = |args: &[&str]| {
        let mut command = two.command(args);
        Ran::of(command.current_dir(one.directory()).output().unwrap())
    };

    one.caravan(&["up"]).expect(0);
    assert_eq!(published(&one), port, "the default is free");
    let up = beside(&["up", "web"]).expect(0);
    let chosen = published(&two);
    assert_ne!(chosen, port);
    for said in [port.to_string(), chosen.to_string(), one.container("web")] {
        assert!(up.stderr.contains(&said), "{said} in:\n{}", up.stderr);
    }
    let again = one.caravan(&["up"]).expect(0);
    assert!(again.stdout.contains("unchanged"), "{}", again.stdout);

    // Down and up, from another directory.
    beside(&["down"]).expect(0);
    let file = file.to_str().unwrap();
    let up = two.caravan(&["-f", file, "up", "web"]).expect(0);
    assert_eq!(published(&two), chosen, "{}", up.stderr);
    assert_eq!(published(&one), port);

    both_are_listed(&one, &two, chosen);
    let taken = beside(&["up", "named"]).expect(1).stderr;
    let name = one.container("named");
    assert!(
        taken.contains(&format!("cannot use the name {name}: it is in use")),
        "{taken}"
    );
    assert!(
        taken.contains(&format!("the project {}", one.project)),
        "{taken}"
    );
    let shared = beside(&["up", "stored"]).expect(1).stderr;
    let what = format!("the volume {name}-data exists, but is not this project's");
    assert!(shared.contains(&what), "{shared}");
}

/// From a directory that has no declaration.
fn both_are_listed(one: &Pipeline, two: &Pipeline, port: u16) {
    let listed = two
        .caravan(&["status", "--all", "-o", "json"])
        .expect(0)
        .json();
    let projects = listed["projects"].as_array().unwrap();
    let of = |pipeline: &Pipeline| {
        let mut projects = projects.iter();
        projects
            .find(|p| p["name"] == pipeline.project.as_str())
            .unwrap()
    };
    let (first, second) = (of(one), of(two));
    let file = one.directory().join("compose.yaml");
    for project in [first, second] {
        assert_eq!(project["by"], "caravan");
        assert_eq!(project["origin"], file.to_str().unwrap());
    }
    assert_eq!(
        (&first["services"], &first["running"]),
        (&3.into(), &3.into())
    );
    assert_eq!(second["services"], 1);
    assert_eq!(second["ports"][0]["hostPort"], port);
    assert_eq!(second["ports"][0]["containerPort"], 8080);
    let table = two.caravan(&["status", "--all"]).expect(0).stdout;
    assert!(
        table.contains(&one.project) && table.contains(&two.project),
        "{table}"
    );
}

/// The calls of a kind that `-v` shows, and how often each was made.
fn calls<'a>(ran: &'a Ran, of: &str) -> BTreeMap<&'a str, usize> {
    let mut calls = BTreeMap::new();
    let kind = format!("s  {of:<9} ");
    for (_, call) in ran.stderr.lines().filter_map(|l| l.split_once(&kind)) {
        *calls.entry(call).or_default() += 1;
    }
    calls
}

#[test]
fn a_command_reads_the_declaration_and_its_variables_once() {
    let pipeline = Pipeline::declared("reads", &[]);
    let path = |name: &str| pipeline.directory().join(name);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = declaration(port, &pipeline.container("named"))
        .replace("x-caravan: {}", "x-caravan: {secrets: [TOKEN]}")
        .replace("0123456789abcdef", "${TOKEN}");
    std::fs::write(path("compose.yaml"), text).unwrap();

    // It draws the secret and chooses the port, and knows both without reading its files again.
    let up = pipeline.caravan(&["-v", "up"]).expect(0);
    let declaration = format!("read {}", path("compose.yaml").display());
    let resolve = format!("resolve the declaration of {}", pipeline.project);
    let expected = BTreeMap::from([(declaration.as_str(), 1), (resolve.as_str(), 2)]);
    assert_eq!(calls(&up, "files"), expected, "{}", up.stderr);
    assert_ne!(published(&pipeline), port);

    let env = format!("read {}", path(".env").display());
    let ports = format!("{env}.{}", pipeline.project);
    let once = [&declaration, &env, &ports, &resolve].map(|call| (call.as_str(), 1));
    for command in ["up", "status", "verify", "down"] {
        let ran = pipeline.caravan(&["-v", command]).expect(0);
        assert_eq!(
            calls(&ran, "files"),
            BTreeMap::from(once),
            "{command}: {}",
            ran.stderr
        );
    }
}
