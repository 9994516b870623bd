//! All forms that Compose accepts for a key.

use std::{path::PathBuf, time::Duration};

use crate::testing::TestDirectory;
use crate::{
    Condition, Dependency, Healthcheck, Logging, Mount, MountSource, NetworkUse, Pipeline, Port,
    Restart, Service,
};

fn read(services: &str) -> (TestDirectory, Pipeline) {
    let mut place = TestDirectory::new();
    place.set("INHERITED", "from outside");
    place.write("app.env", "FILED=1\nOWN=overridden\n");
    place.write("compose.yaml", &format!("x-caravan: {{}}\n{services}"));
    let pipeline = place.pipeline();
    (place, pipeline)
}

fn first(pipeline: &Pipeline) -> &Service {
    &pipeline.services[0]
}

#[test]
fn commands() {
    let (_, pipeline) = read(
        "services:\n  app:\n    image: app\n    entrypoint: sh -c 'exec \"$$0\"'\n    command: [a, 1, true]\n  \
         other: {image: app, command: , entrypoint: []}\n",
    );
    let app = first(&pipeline);
    assert_eq!(
        app.entrypoint.as_deref(),
        Some(&["sh", "-c", "exec \"$0\""].map(str::to_owned)[..])
    );
    assert_eq!(
        app.command.as_deref(),
        Some(&["a", "1", "true"].map(str::to_owned)[..])
    );
    assert_eq!(pipeline.services[1].command, None);
    assert_eq!(pipeline.services[1].entrypoint, Some(Vec::new()));
}

#[test]
fn environments() {
    for environment in [
        "{OWN: x=y, NUMBER: 1.50, FLAG: true, EMPTY: '', INHERITED: , ABSENT: }",
        "[OWN=x=y, NUMBER=1.5, FLAG=true, EMPTY=, INHERITED, ABSENT]",
    ] {
        let (_, pipeline) = read(&format!(
            "services:\n  app:\n    image: app\n    env_file: [app.env, {{path: no.env, required: false}}]\n    \
             environment: {environment}\n"
        ));
        let environment: Vec<_> = first(&pipeline)
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            environment,
            [
                "EMPTY=",
                "FILED=1",
                "FLAG=true",
                "INHERITED=from outside",
                "NUMBER=1.5",
                "OWN=x=y"
            ]
        );
    }
}

#[test]
fn ports() {
    let (_, pipeline) = read(
        "services:\n  app:\n    image: app\n    ports:\n      - 80\n      - '${PORT:-8080}:80/udp'\n      \
         - {target: 81, published: '8081', host_ip: 127.0.0.1, protocol: tcp, name: web}\n",
    );
    let port = |ip: &str, host_port, container_port, protocol: &str| Port {
        host_ip: ip.to_owned(),
        host_port,
        host_range: None,
        container_port,
        protocol: protocol.to_owned(),
    };
    assert_eq!(
        first(&pipeline).ports,
        [
            port("", None, 80, "tcp"),
            port("", Some(8080), 80, "udp"),
            port("127.0.0.1", Some(8081), 81, "tcp"),
        ]
    );
}

#[test]
fn mounts() {
    let (place, pipeline) = read(
        "services:\n  app:\n    image: app\n    tmpfs: /run\n    volumes:\n      - data:/a\n      - ./conf/../etc:/b:ro\n      \
         - /var/lib:/c:rw\n      - ~/x:/d\n      - /e\n      \
         - {type: volume, source: data, target: /f, read_only: true}\n      \
         - {type: bind, source: ., target: /g}\nvolumes:\n  data: {name: kept, external: true}\n",
    );
    let bind = |path: PathBuf| MountSource::Bind(path);
    let data = || MountSource::Volume("data".to_owned());
    let expected = [
        (data(), "/a", false),
        (bind(place.path("etc")), "/b", true),
        (bind("/var/lib".into()), "/c", false),
        (bind(place.home().join("x")), "/d", false),
        (MountSource::Anonymous, "/e", false),
        (data(), "/f", true),
        (bind(place.request.cwd.clone()), "/g", false),
    ]
    .map(|(source, target, read_only)| Mount {
        source,
        target: target.to_owned(),
        read_only,
        options: Vec::new(),
    });
    assert_eq!(first(&pipeline).mounts, expected);
    assert_eq!(first(&pipeline).tmpfs, ["/run"]);
    assert_eq!(pipeline.volumes[0].name, "kept");
    assert!(
        place.source().volume_names().expect("names").is_empty(),
        "external ones are not ours"
    );
}

#[test]
fn networks() {
    let (_, pipeline) = read(
        "services:\n  app:\n    image: app\n    networks: {inner: {aliases: [shop]}, outer: }\n  \
         other: {image: app, networks: [outer]}\n\
         networks:\n  inner: {internal: true, driver: bridge, labels: [team=a]}\n  outer: {external: true}\n",
    );
    let uses = |network: &str, aliases: &[&str]| NetworkUse {
        network: network.to_owned(),
        aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
        ipv4_address: None,
        ipv6_address: None,
    };
    assert_eq!(
        first(&pipeline).networks,
        [uses("inner", &["shop"]), uses("outer", &[])]
    );
    let names: Vec<_> = pipeline.networks.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(
        names,
        ["shop2_inner", "outer"],
        "nobody uses the default one"
    );
    assert!(pipeline.networks[0].internal);
    assert_eq!(pipeline.networks[0].labels["team"], "a");
}

#[test]
fn dependencies_and_health() {
    let (_, pipeline) = read(
        "services:\n  app:\n    image: app\n    depends_on: [db]\n    healthcheck:\n      test: curl -f localhost\n      \
         interval: 1m30s\n      timeout: 500ms\n      retries: 3\n  \
         db: {image: db, depends_on: {init: {condition: service_completed_successfully, required: true}}}\n  \
         init: {image: db, healthcheck: {disable: true, test: [CMD, x]}}\n",
    );
    let on = |service: &str, condition| Dependency {
        service: service.to_owned(),
        condition,
        required: true,
        restart: false,
    };
    assert_eq!(first(&pipeline).depends_on, [on("db", Condition::Started)]);
    assert_eq!(
        pipeline.services[1].depends_on,
        [on("init", Condition::Completed)]
    );
    assert_eq!(
        first(&pipeline).healthcheck,
        Some(Healthcheck {
            test: vec!["CMD-SHELL".to_owned(), "curl -f localhost".to_owned()],
            interval: Some(Duration::from_secs(90)),
            timeout: Some(Duration::from_millis(500)),
            start_period: None,
            start_interval: None,
            retries: Some(3),
        })
    );
    let check = pipeline.services[2].healthcheck.as_ref().expect("a check");
    assert_eq!(check.test, ["NONE"]);
    assert!(pipeline.services[2].is_one_shot(&pipeline));
}

#[test]
fn the_rest() {
    let (_, pipeline) = read(
        "version: '3.8'\nservices:\n  app:\n    image: app\n    restart: on-failure:3\n    deploy: {replicas: 2}\n    \
         read_only: 'true'\n    init: yes\n    mem_limit: 256m\n    pids_limit: -1\n    shm_size: 1gb\n    \
         stop_grace_period: 2m\n    stop_signal: SIGINT\n    user: 1000:1000\n    labels: [a=b, c]\n    \
         extra_hosts: ['one:10.0.0.1', two=::1]\n    logging: {options: {max-size: 1m}}\n    \
         x-note: ignored\n  other: {image: app, restart: no, scale: 3, extra_hosts: {one: 10.0.0.1}}\n",
    );
    let app = first(&pipeline);
    assert_eq!(
        (app.restart, app.replicas),
        (Restart::OnFailure(Some(3)), 2)
    );
    assert!(app.read_only && app.init);
    assert_eq!(
        (app.mem_limit, app.pids_limit, app.shm_size),
        (Some(256 << 20), Some(-1), Some(1 << 30))
    );
    assert_eq!(app.stop_grace_period, Some(Duration::from_secs(120)));
    assert_eq!(
        (app.labels["a"].as_str(), app.labels["c"].as_str()),
        ("b", "")
    );
    assert_eq!(app.extra_hosts, ["one:10.0.0.1", "two:::1"]);
    let logging = Logging {
        driver: "json-file".to_owned(),
        options: [("max-size".to_owned(), "1m".to_owned())].into(),
    };
    assert_eq!(app.logging, Some(logging));
    let other = &pipeline.services[1];
    assert_eq!((other.restart, other.replicas), (Restart::No, 3));
    assert_eq!(other.extra_hosts, ["one:10.0.0.1"]);
    assert_eq!(
        pipeline.warnings,
        ["the key `version` is obsolete and has no effect"]
    );
}

#[test]
fn two_variables_that_are_not_set_may_have_one_port_as_their_default() {
    let mut place = TestDirectory::new();
    let services = "services:
  a: {image: a, ports: ['127.0.0.1:${A_PORT:-8080}:80']}
  b: {image: b, ports: ['127.0.0.1:${B_PORT:-8080}:80']}
";
    place.write("compose.yaml", services);
    place.request.files = vec!["compose.yaml".into()];
    assert_eq!(place.pipeline().services.len(), 2);
    // A port that is set is never changed, nor is a literal one.
    place.set("B_PORT", "8080");
    assert_eq!(place.pipeline().services.len(), 2, "A_PORT may be chosen");
    place.set("A_PORT", "8080");
    let error = place.error();
    assert!(
        error.what.contains("`a` publishes port 8080 already"),
        "{error:?}"
    );
    let literal = services.replace("${A_PORT:-8080}", "8080");
    place.write("compose.yaml", &literal);
    let error = place.error();
    assert!(
        error.what.contains("`a` publishes port 8080 already"),
        "{error:?}"
    );
}
