//! A project seen from another directory than the one that it was brought up from: its own
//! containers say where they are reached, nothing of it is recreated with other secrets, and the
//! command that is right is told.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::support::{Ran, free_port, pipeline::Pipeline};

/// The shipped pipeline's declaration, with these default ports.
fn declaration(kafka: u16, postgres: u16) -> String {
    include_str!("../../compose/compose.yaml")
        .replace("KAFKA_PORT:-29092", &format!("KAFKA_PORT:-{kafka}"))
        .replace(
            "POSTGRES_PORT:-15432",
            &format!("POSTGRES_PORT:-{postgres}"),
        )
}

/// A project whose ports no variable of the environment sets.
struct Project {
    pipeline: Pipeline,
    kafka: u16,
    postgres: u16,
}

impl Project {
    fn new(name: &str) -> Self {
        let mut pipeline = Pipeline::declared(name, &[]);
        pipeline
            .variables
            .retain(|name, _| !name.ends_with("_PORT"));
        Self {
            pipeline,
            kafka: free_port(),
            postgres: free_port(),
        }
    }

    /// A directory with the declaration, and secrets of its own if there are any.
    fn directory(&self, name: &str, secret: Option<&str>) -> PathBuf {
        let directory = self.pipeline.directory().join(name);
        fs::create_dir_all(&directory).unwrap();
        let text = declaration(self.kafka, self.postgres);
        fs::write(directory.join("compose.yaml"), text).unwrap();
        if let Some(secret) = secret {
            fs::write(directory.join(".env"), env(secret)).unwrap();
        }
        directory
    }

    fn from(&self, directory: &Path, args: &[&str]) -> Ran {
        let mut command = self.pipeline.command(args);
        Ran::of(command.current_dir(directory).output().unwrap())
    }

    /// Of the database's container.
    fn database(&self) -> String {
        self.pipeline
            .inspect("postgres", "{{.Id}} {{.State.StartedAt}}")
    }

    fn is_there(&self, service: &str) -> bool {
        let name = format!("name=^{}$", self.pipeline.container(service));
        let found = self.pipeline.docker(&["ps", "-aq", "--filter", &name]);
        !found.is_empty()
    }

    /// Runs the hint that begins with `caravan` and ends with `rest`, to the letter, from
    /// `directory`, with `more` after it.
    #[track_caller]
    fn follow(&self, ran: &Ran, rest: &str, directory: &Path, more: &str) -> Ran {
        let lines = ran.stderr.lines();
        let mut hints = lines.filter_map(|line| Some(&line[line.find("caravan -f ")?..]));
        let hint = hints.rfind(|hint| hint.ends_with(rest));
        let hint = hint.unwrap_or_else(|| panic!("no `{rest}` in:\n{}", ran.stderr));
        let line = format!("cd {} && {hint}{more}", directory.display());
        self.pipeline.shell(&line)
    }
}

fn env(secret: &str) -> String {
    let names = [
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "PAYMENT_TOKEN",
        "ADMIN_TOKEN",
    ];
    let lines = names.map(|name| format!("{name}={secret}-0123456789abcdef\n"));
    lines.concat()
}

#[test]
fn verify_from_another_directory_uses_the_ports_of_the_projects_containers() {
    let theirs = Pipeline::declared("origin-theirs", &[]);
    let project = Project {
        kafka: theirs.port("KAFKA_PORT").parse().unwrap(),
        ..Project::new("origin-verify")
    };
    theirs.with_images(&["up", "kafka"]);
    let home = project.directory("home", None);
    project.from(&home, &["up", "kafka", "postgres"]).expect(0);
    let elsewhere = project.directory("elsewhere", Some("another"));

    let only = [
        "verify",
        "-o",
        "json",
        "--only",
        "kafka.reachable,database.reachable",
    ];
    let seen = project.from(&elsewhere, &only);
    assert_eq!(
        Pipeline::finding(&seen, "kafka.reachable")["status"],
        "pass"
    );
    let database = Pipeline::finding(&seen, "database.reachable");
    assert_eq!(database["status"], "fail", "another password");
    let hint = database["hint"].as_str().unwrap();
    let origin = format!("caravan -f {}/compose.yaml -p", home.display());
    assert!(hint.starts_with(&origin), "{hint}");
    let more = " -o json --only kafka.reachable,database.reachable";
    let right = project.follow(&seen, "verify", &elsewhere, more).expect(0);
    assert!(
        !right.stderr.contains("brought up from"),
        "{}",
        right.stderr
    );

    // With its own stopped, the default port is still theirs.
    project
        .pipeline
        .docker(&["stop", "-t", "0", &project.pipeline.container("kafka")]);
    for directory in [&elsewhere, &home] {
        let seen = project.from(directory, &only);
        let kafka = Pipeline::finding(&seen, "kafka.reachable");
        assert_eq!(kafka["status"], "fail", "{kafka}");
        project.from(directory, &["topics"]).expect(3);
    }
    let before = project.database();
    project.pipeline.shell(hint).expect(0);
    assert_eq!(project.database(), before, "the hint changed the database");
}

#[test]
fn up_from_another_directory_leaves_a_database_with_other_secrets() {
    let project = Project::new("origin-up");
    let home = project.directory("home", None);
    project.from(&home, &["up", "postgres"]).expect(0);
    let elsewhere = project.directory("elsewhere", Some("another"));
    let without = project.directory("without", None);
    let before = project.database();
    for directory in [&elsewhere, &without] {
        for args in [
            ["up", "postgres"].as_slice(),
            &["up", "postgres", "--dry-run"],
        ] {
            let refused = project.from(directory, args).expect(2);
            assert_eq!(project.database(), before, "{}", refused.stderr);
            let followed = project
                .follow(&refused, "up postgres", directory, "")
                .expect(0);
            assert!(followed.stdout.contains("unchanged"), "{}", followed.stdout);
        }
    }
    assert!(!without.join(".env").exists(), "no secret was drawn");
    assert_eq!(project.database(), before);

    // The volume remembers where it comes from when the containers are gone.
    project.from(&elsewhere, &["down"]).expect(0);
    let refused = project.from(&elsewhere, &["up", "postgres"]).expect(2);
    assert!(!project.is_there("postgres"));
    project
        .follow(&refused, "up postgres", &elsewhere, "")
        .expect(0);

    // The same files at another place are the same project.
    let moved = project.pipeline.directory().join("moved");
    fs::rename(&home, &moved).unwrap();
    let up = project.from(&moved, &["up", "postgres"]).expect(0);
    assert!(!up.stderr.contains("brought up from"), "{}", up.stderr);
    // And so is a copy with the same secrets.
    let copy = project.directory("copy", None);
    fs::copy(moved.join(".env"), copy.join(".env")).unwrap();
    let up = project.from(&copy, &["up", "postgres"]).expect(0);
    assert!(!up.stderr.contains("brought up from"), "{}", up.stderr);
}

/// `init --default` beside the shipped pipeline that runs: its secrets are in the user's state
/// directory.
#[test]
fn the_shipped_pipeline_differs_from_a_file_with_its_name() {
    let project = Project::new("origin-shipped");
    project.pipeline.caravan(&["up", "postgres"]).expect(0);
    let before = project.database();
    let elsewhere = project.directory("elsewhere", None);
    // What needs the secrets is refused; `status` needs none, and warns.
    for (args, rest, code) in [
        (["up", "postgres"].as_slice(), "up postgres", 2),
        (&["status"], "status", 0),
        (&["logs", "postgres"], "logs", 2),
    ] {
        let refused = project.from(&elsewhere, args).expect(code);
        let followed = project.follow(&refused, rest, &elsewhere, "").expect(0);
        assert!(
            !followed.stderr.contains("brought up from"),
            "{}",
            followed.stderr
        );
    }
    assert_eq!(project.database(), before);
}

/// The volume keeps the password that it was made with, whatever `.env` says later.
#[test]
fn a_refused_password_ends_the_wait() {
    let project = Project::new("origin-password");
    let home = project.directory("home", Some("first"));
    project.from(&home, &["up", "postgres"]).expect(0);
    let before = project.database();
    fs::write(home.join(".env"), env("second")).unwrap();
    let refused = project.from(&home, &["up", "postgres"]).expect(1);
    assert_eq!(project.database(), before, "{}", refused.stderr);
    let volume = format!("{}_postgres-data", project.pipeline.project);
    assert!(refused.stderr.contains(&volume), "{}", refused.stderr);

    // Nothing runs that could be asked before.
    project.from(&home, &["down"]).expect(0);
    let began = Instant::now();
    let failed = project.from(&home, &["up", "postgres"]).expect(1);
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    let says = "postgres refuses the password";
    assert!(failed.stderr.contains(says), "{}", failed.stderr);
    fs::write(home.join(".env"), env("first")).unwrap();
    project.from(&home, &["up", "postgres"]).expect(0);
}
