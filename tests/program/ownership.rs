//! Containers that only inherit the labels of an image, or of a container that was committed, are
//! not the project's: no command counts, changes or removes them.

use std::fs;

use serde_json::Value;

use crate::support::{Ran, eventually, pipeline::Pipeline};

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
    command: [sh, -c, "echo of the project; exec sleep 600"]
    stop_grace_period: 0s
"#;

/// Containers that somebody runs beside the project; removed when the test ends, with their images.
struct Strangers<'a> {
    pipeline: &'a Pipeline,
    names: Vec<String>,
    images: Vec<String>,
}

impl<'a> Strangers<'a> {
    /// Of the image that Caravan built, of one as `docker compose build` labels it, and of a commit
    /// of the project's container.
    fn run(pipeline: &'a Pipeline) -> Self {
        let project = &pipeline.project;
        let committed = format!("{project}-committed");
        pipeline.docker(&["commit", &pipeline.container("app"), &committed]);
        let mut strangers = Self {
            pipeline,
            names: Vec::new(),
            images: vec![committed.clone()],
        };
        let built = pipeline.inspect("app", "{{.Image}}");
        let label = |name: &str, value: &str| {
            let label = format!("com.docker.compose.{name}={value}");
            ["--label".to_owned(), label]
        };
        let composed = [
            label("project", project),
            label("service", "app"),
            label("version", "2.32.4"),
        ];
        strangers.start("built", &[], &built);
        strangers.start("composed", &composed.concat(), &built);
        strangers.start("committed", &[], &committed);
        strangers
    }

    fn start(&mut self, name: &str, options: &[String], image: &str) {
        let name = format!("{}-stranger-{name}", self.pipeline.project);
        let mut args = vec!["run", "-d", "--name", &name];
        args.extend(options.iter().map(String::as_str));
        let script = "echo of a stranger; exec sleep 600";
        args.extend([image, "sh", "-c", script]);
        self.pipeline.docker(&args);
        self.names.push(name);
    }

    #[track_caller]
    fn expect_untouched(&self, after: &str) {
        for name in &self.names {
            let running = [
                "inspect",
                "-f",
                "{{.State.Running}} {{.RestartCount}}",
                name,
            ];
            let state = self.pipeline.docker(&running);
            assert_eq!(state.trim(), "true 0", "{name} after {after}");
        }
    }
}

impl Drop for Strangers<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let remove = ["rm", "-fv", name];
            drop(std::process::Command::new("docker").args(remove).output());
        }
        for image in &self.images {
            let remove = ["rmi", "-f", image];
            drop(std::process::Command::new("docker").args(remove).output());
        }
    }
}

#[test]
fn containers_that_inherit_the_projects_labels_are_left_alone() {
    let pipeline = Pipeline::declared("inherit", &[]);
    pipeline.write("compose.yaml", DECLARATION);
    let dockerfile = "FROM caravan.local/redis:7\nENTRYPOINT []\n";
    pipeline.write("app/Dockerfile", dockerfile);
    pipeline.with_images(&["up", "base"]);
    pipeline.caravan(&["up"]).expect(0);
    let image = pipeline.inspect("app", "{{.Image}}");
    built_images_are_found_by_labels_of_caravans_own(&pipeline, &image);

    let strangers = Strangers::run(&pipeline);
    pipeline.expect_green();
    let shown = pipeline.caravan(&["status", "-o", "json"]).expect(0).json();
    let containers = shown["containers"].as_array().unwrap();
    let names: Vec<_> = containers.iter().map(|c| &c["container"]).collect();
    let own = ["app", "base"].map(|service| Value::from(pipeline.container(service)));
    assert_eq!(names, own.iter().collect::<Vec<_>>());
    let all = pipeline
        .caravan(&["status", "--all", "-o", "json"])
        .expect(0);
    let all = all.json();
    let projects = all["projects"].as_array().unwrap().iter();
    let running = projects.filter(|p| p["project"] == *pipeline.project);
    let running: Vec<_> = running.map(|p| &p["running"]).collect();
    assert_eq!(running, [&Value::from(2)]);
    let logs = pipeline.caravan(&["logs"]).expect(0).stdout;
    assert!(!logs.contains("of a stranger"), "{logs}");

    let up = pipeline.caravan(&["up", "--remove-orphans"]).expect(0);
    assert!(up.stdout.contains("unchanged"), "{}", up.stdout);
    strangers.expect_untouched("up");
    pipeline.caravan(&["restart"]).expect(0);
    strangers.expect_untouched("restart");
    pipeline.caravan(&["scale", "app=2"]).expect(0);
    pipeline.caravan(&["scale", "app=1"]).expect(0);
    strangers.expect_untouched("scale");
    follows_no_stranger(&pipeline, &strangers);
    let doctor = pipeline.caravan(&["doctor", "-o", "json"]);
    assert!(!doctor.stdout.contains("stranger"), "{}", doctor.stdout);
    pipeline.caravan(&["down", "--volumes", "--yes"]).expect(0);
    strangers.expect_untouched("down");

    drop(strangers);
    pipeline.docker(&["rmi", "-f", &image]);
}

/// None of them says to which project or service a container made of it belongs.
fn built_images_are_found_by_labels_of_caravans_own(pipeline: &Pipeline, image: &str) {
    let labels = ["image", "inspect", "-f", "{{json .Config.Labels}}", image];
    let labels = pipeline.docker(&labels);
    assert!(!labels.contains("com.docker.compose"), "{labels}");
    let label = format!("label=caravan.project={}", pipeline.project);
    let found = ["images", "-q", "--no-trunc", "--filter", &label];
    assert_eq!(pipeline.docker(&found).trim(), image);
}

/// What starts while somebody follows the logs is one of the project's, or it is not shown.
fn follows_no_stranger(pipeline: &Pipeline, strangers: &Strangers<'_>) {
    let mut follow = pipeline.command(&["logs", "-f", "--tail", "0"]);
    let path = pipeline.directory().join("followed");
    follow.stdout(fs::File::create(&path).unwrap());
    let mut follow = follow.spawn().unwrap();
    let said = || fs::read_to_string(&path).unwrap();
    eventually("a line of the project's container", || {
        pipeline.docker(&["restart", "-t", "0", &strangers.names[1]]);
        pipeline.docker(&["restart", "-t", "0", &pipeline.container("app")]);
        said().contains("of the project").then_some(())
    });
    follow.kill().unwrap();
    let ended = follow.wait_with_output().unwrap();
    assert!(!ended.status.success());
    assert!(!said().contains("of a stranger"), "{}", said());
}

/// A port that a stranger with inherited labels publishes is not the project's own.
#[test]
fn a_port_of_a_container_that_inherits_labels_is_taken() {
    let pipeline = Pipeline::declared("inherit-port", &[]);
    let port = crate::support::free_port();
    let declaration = format!(
        r#"
services:
  web:
    image: caravan.local/redis:7
    command: [redis-server, --port, "6379"]
    ports: ['127.0.0.1:${{WEB_PORT:-{port}}}:6379']
    stop_grace_period: 0s
    x-caravan: {{image-from: redis}}
x-caravan: {{}}
"#
    );
    pipeline.write("compose.yaml", &declaration);
    pipeline.with_images(&["images", "build"]);
    let mut strangers = Strangers {
        pipeline: &pipeline,
        names: Vec::new(),
        images: Vec::new(),
    };
    let options = [
        "--label".to_owned(),
        format!("com.docker.compose.project={}", pipeline.project),
        "-p".to_owned(),
        format!("127.0.0.1:{port}:6379"),
    ];
    strangers.start("port", &options, "caravan.local/redis:7");
    let up: Ran = pipeline.caravan(&["up"]).expect(0);
    assert!(up.stderr.contains("WEB_PORT"), "{}", up.stderr);
    strangers.expect_untouched("up");
}
