//! `init` and `schema`: from a Compose file that promises nothing to one that `verify` proves.

use std::{fs, path::Path};

use crate::support::{Ran, caravan, pipeline::Pipeline};

const SHIPPED: &str = include_str!("../../compose/compose.yaml");

fn run(directory: &Path, args: &[&str]) -> Ran {
    let mut command = caravan();
    command.args(args).current_dir(directory);
    command.env("XDG_STATE_HOME", directory);
    Ran::of(command.output().unwrap())
}

#[test]
fn the_schema_is_one_document() {
    let directory = tempfile::tempdir().unwrap();
    let schema = run(directory.path(), &["schema"]).expect(0).json();
    let draft = "https://json-schema.org/draft/2020-12/schema";
    assert_eq!(schema["$schema"], draft);
    let groups = &schema["$defs"]["service-promises"]["properties"]["group"];
    assert!(groups["description"].as_str().unwrap().contains("group"));
}

#[test]
fn a_proposal_is_written_beside_the_file_and_over_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let none = run(directory.path(), &["init"]).expect(2);
    assert!(none.stderr.contains("init --default"), "{}", none.stderr);

    let compose = "services:\n  db: {image: 'postgres:16', ports: ['127.0.0.1:5999:5432']}\n  \
                   worker: {image: 'example/worker:1', environment: {GROUP_ID: orders}}\n";
    fs::write(at("docker-compose.yml"), compose).unwrap();
    let nowhere = ["-H", "tcp://127.0.0.1:1", "-p", "caravan-test-declared"];
    let printed = run(directory.path(), &[&nowhere[..], &["init"]].concat()).expect(0);
    assert!(
        printed
            .stdout
            .contains("postgres://postgres:${POSTGRES_PASSWORD}@127.0.0.1:5999/postgres")
    );
    assert!(
        printed
            .stdout
            .contains("# group: orders   # from its environment")
    );
    assert!(
        printed
            .stdout
            .contains("# Not seen: Docker does not answer")
    );
    assert!(
        printed.stderr.contains("not seen: Docker"),
        "{}",
        printed.stderr
    );

    let write = [&nowhere[..], &["init", "--write"]].concat();
    let written = run(directory.path(), &write).expect(0);
    assert_eq!(written.stdout, "");
    assert_eq!(
        fs::read_to_string(at("caravan.yaml")).unwrap(),
        printed.stdout
    );
    fs::write(at("caravan.yaml"), "mine\n").unwrap();
    let refused = run(directory.path(), &write).expect(2);
    assert!(
        refused
            .stderr
            .contains("the file exists; it was not changed"),
        "{}",
        refused.stderr
    );
    assert_eq!(fs::read_to_string(at("caravan.yaml")).unwrap(), "mine\n");

    fs::write(at("caravan.yaml"), &printed.stdout).unwrap();
    let files = ["-f", "docker-compose.yml", "-f", "caravan.yaml"];
    let status = [&files[..], &["-p", "caravan-test-declared", "status"]].concat();
    let status = run(directory.path(), &status).expect(0);
    assert!(status.stdout.contains("worker"), "{}", status.stdout);
}

#[test]
fn the_shipped_pipeline_is_written_out_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &["init", "--default"]).expect(0);
    let written = fs::read_to_string(directory.path().join("compose.yaml")).unwrap();
    assert_eq!(written, SHIPPED);
    run(directory.path(), &["init", "--default"]).expect(2);
    let printed = run(directory.path(), &["init", "--default", "-O", "-"]).expect(0);
    assert_eq!(printed.stdout, SHIPPED);
    let again = run(directory.path(), &["init"]).expect(2);
    assert!(
        again.stderr.contains("already has x-caravan"),
        "{}",
        again.stderr
    );
}

/// The shipped pipeline runs, and its Compose file has forgotten what it promises.
#[test]
fn of_a_pipeline_that_runs_a_proposal_is_made_that_holds() {
    let pipeline = Pipeline::up("init", &[]);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("compose.yaml"), forgetful(SHIPPED)).unwrap();
    let secrets = [
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "PAYMENT_TOKEN",
        "ADMIN_TOKEN",
    ];
    let run = |args: &[&str]| {
        let mut command = pipeline.command(args);
        command.current_dir(directory.path());
        command.envs(secrets.map(|name| (name, pipeline.secret(name))));
        Ran::of(command.output().unwrap())
    };
    let ran = run(&["init", "--write"]).expect(0);
    assert!(!ran.stderr.contains("not seen"), "{}", ran.stderr);
    let text = fs::read_to_string(directory.path().join("caravan.yaml")).unwrap();
    let masked = secrets
        .iter()
        .all(|name| !text.contains(&pipeline.secret(name)));
    assert!(masked, "variables stay variables: {text}");
    insta::assert_snapshot!(text.replace(&pipeline.project, "PROJECT"));

    let files = ["-f", "compose.yaml", "-f", "caravan.yaml"];
    let verify = run(&[&files[..], &["verify", "-o", "json"]].concat()).expect(0);
    let document = verify.json();
    let findings = document["findings"].as_array().unwrap();
    let passes = |id: &str| {
        let finding = findings.iter().find(|f| f["id"] == id);
        finding.is_some_and(|f| f["status"] == "pass")
    };
    for id in [
        "topics.trainer-allocated.partitions",
        "groups.session-worker.assigned",
        "groups.cache-worker.assigned",
        "logs.allocation-worker.started",
        "database.tutoring_sessions.columns",
        "database.tutoring_sessions.indexes",
        "cache.reachable",
        "services.payment-service.ready",
    ] {
        assert!(passes(id), "{id}: {}", verify.stdout);
    }
}

/// A declaration without its `x-caravan`, and without an alias into it.
fn forgetful(declaration: &str) -> String {
    let mut kept = String::new();
    let mut skipped: Option<usize> = None;
    for line in declaration.lines() {
        let indent = line.len() - line.trim_start().len();
        let ends = |from: usize| !line.trim().is_empty() && indent <= from;
        if skipped.is_some_and(ends) {
            skipped = None;
        }
        if line.trim() == "x-caravan:" {
            skipped = Some(indent);
        }
        if skipped.is_none() {
            kept.push_str(&line.replace("*topics", "['orders:1:1d']"));
            kept.push('\n');
        }
    }
    kept
}
