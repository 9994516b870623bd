//! Beside `docker compose`: what it started is Caravan's to look at and to take down, and what `up`
//! started carries what it looks for. What it makes is made here as it was recorded from v2.32.4;
//! `script/compat` asks the real one.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use crate::support::pipeline::Pipeline;

const DECLARATION: &str = r#"
services:
  store:
    image: redis:7
    command: [redis-server, --save, ""]
    volumes: [kept:/data]
    x-caravan: {image-from: redis, startup: Ready to accept connections}
  once:
    image: caravan.local/caravan
    command: [--version]
    restart: "no"
    depends_on: {store: {condition: service_started}}
    x-caravan: {image-from: self}
  reader:
    image: redis:7
    command: [redis-server, --save, ""]
    tmpfs: [/data]
    depends_on:
      store: {condition: service_started}
      once: {condition: service_completed_successfully}
    x-caravan: {image-from: redis}
volumes:
  kept:
x-caravan: {}
"#;

/// Each service with what it depends on, as the label has it.
const SERVICES: [(&str, &str); 3] = [
    ("store", ""),
    ("once", "store:service_started:false"),
    (
        "reader",
        "store:service_started:false,once:service_completed_successfully:false",
    ),
];

#[test]
fn each_works_on_what_the_other_started() {
    let pipeline = Pipeline::declared("compose", &[]);
    std::fs::write(pipeline.directory().join("compose.yaml"), DECLARATION).unwrap();
    pipeline.caravan(&["up"]).expect(0);
    insta::assert_snapshot!("compose_labels", labels_of_everything(&pipeline));
    let images = images(&pipeline);
    pipeline.caravan(&["down"]).expect(0);

    make_as_docker_compose(&pipeline, &images);
    it_is_shown(&pipeline);
    pipeline.expect_green();
    it_is_taken_down(&pipeline, &images["reader"]);
}

/// What `docker compose` finds its objects by; without these it does not see them.
fn labels_of_everything(pipeline: &Pipeline) -> String {
    let mut text = String::new();
    let mut add = |name: &str, labels: &str| {
        let labels: BTreeMap<String, String> = serde_json::from_str(labels).unwrap();
        let ours = labels.iter().filter(|(key, _)| *key != "caravan.content");
        let lines: String = ours.map(|(k, v)| format!("  {k}={v}\n")).collect();
        text.push_str(&format!("{name}\n{lines}"));
    };
    for (service, _) in SERVICES {
        add(
            &pipeline.container(service),
            &pipeline.inspect(service, "{{json .Config.Labels}}"),
        );
    }
    let project = &pipeline.project;
    for (kind, name) in [("network", "default"), ("volume", "kept")] {
        let name = format!("{project}_{name}");
        let labels = pipeline.docker(&[kind, "inspect", "-f", "{{json .Labels}}", &name]);
        add(&name, &labels);
    }
    let directory = pipeline.directory().display().to_string();
    text.replace(&directory, "DIRECTORY")
        .replace(project, "PROJECT")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
        .lines()
        .map(|line| match line.split_once('=') {
            Some((key, _)) if key.ends_with("-hash") => format!("{key}=HASH\n"),
            Some((key, _)) if key.ends_with(".image") => format!("{key}=IMAGE\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// Ids of the services' images.
fn images(pipeline: &Pipeline) -> BTreeMap<&'static str, String> {
    SERVICES
        .map(|(service, _)| (service, pipeline.inspect(service, "{{.Image}}")))
        .into()
}

/// The network, and a started container of each service. The volume is there already.
fn make_as_docker_compose(pipeline: &Pipeline, images: &BTreeMap<&str, String>) {
    let project = &pipeline.project;
    let network = format!("{project}_default");
    let common = [
        format!("com.docker.compose.project={project}"),
        "com.docker.compose.version=2.32.4".to_owned(),
        format!("com.docker.compose.config-hash={:064}", 1),
    ];
    let mut create = docker(&["network", "create"], &common);
    create.args(["--label", "com.docker.compose.network=default", &network]);
    run(create);
    for (service, depends_on) in SERVICES {
        let name = format!("{project}-{service}-1");
        let directory = pipeline.directory().display();
        let mut create = docker(&["create", "--name", &name], &common);
        for label in [
            format!("service={service}"),
            format!("depends_on={depends_on}"),
            format!("image={}", images[service]),
            format!("project.config_files={directory}/compose.yaml"),
            format!("project.working_dir={directory}"),
            "container-number=1".to_owned(),
            "oneoff=False".to_owned(),
        ] {
            create.args(["--label", &format!("com.docker.compose.{label}")]);
        }
        create.args(["--network", &network]);
        create.args(["--network-alias", service, "--network-alias", &name]);
        match service {
            "store" => drop(create.args(["-v", &format!("{project}_kept:/data")])),
            "reader" => drop(create.args(["--tmpfs", "/data"])),
            _ => {}
        }
        create.arg(&images[service]);
        match service {
            "once" => create.arg("--version"),
            _ => create.args(["redis-server", "--save", ""]),
        };
        run(create);
        pipeline.docker(&["start", &name]);
    }
    pipeline.docker(&["wait", &format!("{project}-once-1")]);
}

fn docker(verb: &[&str], labels: &[String]) -> Command {
    let mut command = Command::new("docker");
    command.args(verb);
    for label in labels {
        command.args(["--label", label]);
    }
    command
}

#[track_caller]
fn run(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn it_is_shown(pipeline: &Pipeline) {
    let status = pipeline.caravan(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(status["notDeployed"], Value::Array(Vec::new()));
    let containers = status["containers"].as_array().unwrap();
    let seen: Vec<_> = containers
        .iter()
        .map(|c| format!("{} {}", c["name"], c["state"]).replace('"', ""))
        .collect();
    let project = &pipeline.project;
    assert_eq!(
        seen,
        [
            format!("{project}-once-1 exited"),
            format!("{project}-reader-1 running"),
            format!("{project}-store-1 running"),
        ]
    );
    let lines = pipeline
        .caravan(&["logs", "once", "store"])
        .expect(0)
        .stdout;
    for expected in [
        format!("{project}-once-1  | caravan "),
        format!("{project}-store-1 | "),
        "Ready to accept connections".to_owned(),
    ] {
        assert!(lines.contains(&expected), "{expected:?} in:\n{lines}");
    }
}

/// One of `docker compose run` is not the project's, and in the way only as long as it runs.
fn it_is_taken_down(pipeline: &Pipeline, image: &str) {
    let project = &pipeline.project;
    let of_project = format!("com.docker.compose.project={project}");
    let (name, network) = (format!("{project}-run"), format!("{project}_default"));
    let one_off = "com.docker.compose.oneoff=True";
    pipeline.docker(&[
        "run",
        "-d",
        "--rm",
        "--name",
        &name,
        "--network",
        &network,
        "--label",
        &of_project,
        "--label",
        one_off,
        image,
    ]);
    let refused = pipeline.caravan(&["down"]).expect(1).stderr;
    assert!(refused.contains(&format!("in use by {name}")), "{refused}");
    let (_, hint) = refused.rsplit_once("next: ").unwrap();
    pipeline.shell(hint).expect(0);
    pipeline.caravan(&["down"]).expect(0);

    let filter = format!("label={of_project}");
    for list in [&["ps", "-aq"][..], &["network", "ls", "-q"]] {
        let left = pipeline.docker(&[list, &["--filter", &filter]].concat());
        assert_eq!(left, "", "{list:?}");
    }
    let volumes = pipeline.docker(&["volume", "ls", "-q", "--filter", &filter]);
    assert_eq!(volumes.trim(), format!("{project}_kept"));
}
