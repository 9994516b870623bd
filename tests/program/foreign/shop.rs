//! `examples/orders`, brought up as its team would; taken down when the test ends, however it ends.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    Ran, caravan, eventually, eventually_ok,
    fault_records::Red,
    pipeline::IMAGES,
    shared::{Reaper, end_idle},
};

/// What the stand-in for Node's image is built on: Caravan makes it where no registry is reached.
const DEBIAN: &str = "caravan.local/debian:bookworm";
/// Infrastructure, whose images need it.
const INFRASTRUCTURE: [&str; 3] = ["kafka", "db", "cache"];
/// The example as it lies in the repository.
const FILES: &str = "compose.yaml:caravan.yaml";

/// One project on real Docker.
pub(super) struct Shop {
    pub(super) project: String,
    directory: tempfile::TempDir,
    variables: BTreeMap<&'static str, String>,
    /// Last: it is told of the end when all else is done.
    _reaper: Reaper,
}

impl Shop {
    /// A project that is up.
    pub(super) fn up(name: &str) -> Self {
        end_idle();
        let project = format!("caravan-test-{name}-{}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/orders");
        run(Command::new("cp")
            .arg("-r")
            .arg(example.join("."))
            .arg(directory.path()));
        let variables = BTreeMap::from([
            ("CARAVAN_FILE", FILES.to_owned()),
            ("CARAVAN_PROJECT", project.clone()),
        ]);
        let mut down = caravan();
        down.args(["down", "--volumes", "--yes"]).envs(&variables);
        let mut shop = Self {
            _reaper: Reaper::start(&down, directory.path()),
            variables,
            project,
            directory,
        };
        shop.make_images();
        shop.caravan(&["up"]).expect(0);
        shop
    }

    /// The images are made once a run of the tests, and kept for the next one.
    fn make_images(&mut self) {
        let guard = IMAGES
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        self.caravan(&[&["up"][..], &INFRASTRUCTURE[..]].concat())
            .expect(0);
        if docker(&["image", "inspect", DEBIAN]).code == 0 {
            self.variables.insert("NODE_IMAGE", node_image());
        }
        self.caravan(&["images", "build"]).expect(0);
        drop(guard);
    }

    /// `caravan` in the example's directory.
    pub(super) fn caravan(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = caravan();
        command.args(args).current_dir(self.directory.path());
        command.envs(&self.variables);
        command
    }

    /// `up` of one service with other variables than its team gives it.
    pub(super) fn up_with(&self, service: &str, variables: &[(&str, &str)]) {
        let lines = variables
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        let lines = lines.collect::<Vec<_>>().join(", ");
        let overlay = format!("services: {{{service}: {{environment: {{{lines}}}}}}}\n");
        std::fs::write(self.path("fault.yaml"), overlay).unwrap();
        let files = format!("{FILES}:fault.yaml");
        let mut command = caravan();
        command
            .args(["up", service])
            .current_dir(self.directory.path());
        command.envs(&self.variables).env("CARAVAN_FILE", files);
        Ran::of(command.output().unwrap()).expect(0);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The name of a service's container.
    pub(super) fn container(&self, service: &str) -> String {
        format!("{}-{service}", self.project)
    }

    /// `docker` must succeed.
    #[track_caller]
    pub(super) fn docker(&self, args: &[&str]) -> String {
        docker(args).expect(0).stdout
    }

    /// Runs SQL as the shop's user.
    #[track_caller]
    pub(super) fn sql(&self, sql: &str) -> String {
        let db = self.container("db");
        let psql: [&str; 12] = [
            "exec",
            &db,
            "psql",
            "-U",
            "shop",
            "-d",
            "shop",
            "-qAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ];
        self.docker(&psql).trim().to_owned()
    }

    /// Runs JavaScript where the workers have their modules; `top-level await` works.
    #[track_caller]
    pub(super) fn node(&self, script: &str) -> String {
        let api = self.container("shop-api");
        self.docker(&["exec", &api, "node", "--input-type=module", "-e", script])
    }

    /// Places an order by the API, as a customer's browser would; its id.
    #[track_caller]
    pub(super) fn order(&self, customer: &str) -> String {
        let answer = self.node(&format!(
            "const body = JSON.stringify({{customer: '{customer}', sku: 'sample', quantity: 1}});
             const answer = await fetch('http://localhost:3000/orders', {{method: 'POST', body}});
             if (answer.status !== 201) throw new Error(await answer.text());
             console.log((await answer.json()).order.id);"
        ));
        answer.trim().to_owned()
    }

    /// Waits until an order has been mailed.
    #[track_caller]
    pub(super) fn expect_mailed(&self, order: &str) {
        let sql = format!("SELECT count(*) FROM mails WHERE order_id = '{order}'");
        eventually("an order goes through", || {
            (self.sql(&sql) == "1").then_some(())
        });
    }

    /// `verify`, where `caravan.yaml` says `to` in place of each `from`.
    pub(super) fn verify(&self, otherwise: &[(&str, &str)]) -> Ran {
        let mut command = caravan();
        command.args(["verify", "-o", "json"]);
        command.current_dir(self.directory.path());
        command.envs(&self.variables);
        if !otherwise.is_empty() {
            let mut declared = std::fs::read_to_string(self.path("caravan.yaml")).unwrap();
            for (from, to) in otherwise {
                assert_eq!(declared.matches(from).count(), 1, "{from}");
                declared = declared.replace(from, to);
            }
            std::fs::write(self.path("otherwise.yaml"), declared).unwrap();
            command.env("CARAVAN_FILE", "compose.yaml:otherwise.yaml");
        }
        Ran::of(command.output().unwrap())
    }

    /// Waits until `verify` is all green.
    #[track_caller]
    pub(super) fn expect_green(&self) {
        eventually_ok(|| {
            let ran = self.verify(&[]);
            let red = Red::all(&ran.json());
            let is_green = ran.code == 0 && red.is_empty();
            let not_green = || format!("not green: {red:#?}\n{}", ran.stderr);
            is_green.then_some(()).ok_or_else(not_green)
        });
    }
}

/// The image that stands in for Node's own, built unless it is there.
fn node_image() -> String {
    let dockerfile =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/foreign/node.Dockerfile");
    let name = "caravan.local/node:test".to_owned();
    // Cached by Docker, step by step.
    let mut build = Command::new("docker");
    build.args(["build", "-q", "-t", &name, "-"]);
    build.stdin(File::open(dockerfile).unwrap());
    run(&mut build);
    name
}

fn docker(args: &[&str]) -> Ran {
    Ran::of(Command::new("docker").args(args).output().unwrap())
}

#[track_caller]
fn run(command: &mut Command) {
    Ran::of(command.output().unwrap()).expect(0);
}

impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.caravan(&["logs", "--tail", "15"]);
            eprintln!("{}\n{}", logs.stdout, logs.stderr);
        }
        let down = self.caravan(&["down", "--volumes", "--yes"]);
        if down.code != 0 && !std::thread::panicking() {
            panic!("down failed: {}", down.stderr);
        }
    }
}
