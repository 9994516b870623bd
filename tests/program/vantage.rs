//! A pipeline that publishes nothing: commands run inside its network, by themselves.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::support::{Ran, eventually, pipeline::Pipeline, terminal::Session};

const SHIPPED: &str = include_str!("../../compose/compose.yaml");

/// Over the shipped pipeline: its addresses, as its own network knows them.
const INSIDE: &str = "
x-caravan:
  kafka: {bootstrap: 'kafka:9092'}
  postgres: {url: 'postgres://kodingcaravan:${POSTGRES_PASSWORD}@postgres:5432/kodingcaravan'}
  redis: {url: 'redis://:${REDIS_PASSWORD}@redis:6379/0'}
services:
  payment-service: {x-caravan: {http: 'http://payment-service:8080'}}
  admin-service: {x-caravan: {http: 'http://admin-service:8080'}}
";

const UNPUBLISHED: &str = "unpublished.yaml:inside.yaml";

/// The shipped declaration without `ports`.
fn without_ports() -> String {
    let mut kept = String::new();
    let mut within = false;
    for line in SHIPPED.lines() {
        within = line == "    ports:" || within && line.starts_with("      - ");
        if !within {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn declared(name: &str) -> Pipeline {
    let mut pipeline = Pipeline::declared(name, &[]);
    let write = |name: &str, text: &str| fs::write(pipeline.directory().join(name), text).unwrap();
    write("unpublished.yaml", &without_ports());
    write("published.yaml", SHIPPED);
    write("inside.yaml", INSIDE);
    use_files(&mut pipeline, UNPUBLISHED);
    pipeline
}

fn use_files(pipeline: &mut Pipeline, files: &str) {
    let files = files.to_owned();
    pipeline.variables.insert("CARAVAN_FILE".to_owned(), files);
}

/// The containers that commands run in, by name.
fn visitors(pipeline: &Pipeline) -> String {
    let label = format!("label=caravan.inside={}", pipeline.project);
    let format = "{{.Names}}";
    pipeline.docker(&["ps", "-a", "--filter", &label, "--format", format])
}

#[track_caller]
fn nobody_is_left(pipeline: &Pipeline) {
    eventually("nothing is left", || {
        visitors(pipeline).is_empty().then_some(())
    });
}

/// The findings without their times: id, status, and what is expected.
fn findings(ran: &Ran) -> Vec<(String, String, String)> {
    let document = ran.json();
    let text = |f: &Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
    let findings = document["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|f| (text(f, "id"), text(f, "status"), text(f, "expected")))
        .collect()
}

/// Without numbers and their units, which are not the same twice.
fn shape(text: &str) -> Vec<String> {
    let same = |word: &&str| {
        let word = word.trim_start_matches('"');
        // A bar, a record, or the service that happened to be slowest.
        let offset = word
            .trim_end_matches(',')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let is_record = word.contains('/') && offset.parse::<u64>().is_ok();
        if word.starts_with('█') || is_record || word.ends_with("-worker") {
            return false;
        }
        !word.starts_with(|c: char| c.is_ascii_digit()) && !matches!(word, "s" | "ms" | "m")
    };
    let line = |line: &str| {
        // How far back a rule came within its time.
        let line = line.split(" for the last ").next().unwrap_or(line);
        line.split_whitespace()
            .filter(same)
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines().map(line).collect()
}

#[test]
fn an_unpublished_pipeline_is_proven_from_inside() {
    let mut pipeline = declared("vantage");
    nothing_is_there_yet(&pipeline);
    pipeline.with_images(&["up"]);
    assert_eq!(pipeline.docker(&["port", &pipeline.container("kafka")]), "");
    let again = pipeline.caravan(&["up"]).expect(0);
    assert!(again.stderr.contains("11 unchanged"), "{}", again.stderr);
    pipeline.expect_green();
    every_command_works(&pipeline);
    two_at_a_time(&pipeline);
    ctrl_c_reaches_the_command(&pipeline);
    nothing_outlives_a_host_that_is_killed(&pipeline);
    a_broken_connection_is_reported(&pipeline);
    what_was_left_goes_with_the_network(&mut pipeline);
    inside_is_as_on_the_host(&mut pipeline);
}

/// `dlq purge` asks in the temporary container, on the terminal of the process outside.
#[test]
fn a_signal_at_a_question_from_inside_means_no_at_once() {
    let pipeline = declared("vantage-ask");
    pipeline.with_images(&["up", "kafka-init"]);
    let produce = "echo broken | /opt/kafka/bin/kafka-console-producer.sh \
                   --bootstrap-server kafka:9092 --topic dead-letter-queue";
    let kafka = pipeline.container("kafka");
    pipeline.docker(&["exec", &kafka, "sh", "-c", produce]);
    let letters = || {
        let list = pipeline.caravan(&["dlq", "list", "-o", "json"]).expect(0);
        list.json()["summary"]["count"].clone()
    };
    assert_eq!(letters(), 1);
    for signal in ["^C", "TERM", "HUP"] {
        let mut session = Session::start(&pipeline.command(&["dlq", "purge", "--all"]));
        session.expect("Delete? [y/N] ");
        assert_eq!(visitors(&pipeline).lines().count(), 1);
        match signal {
            "^C" => session.press("\x03"),
            signal => session.signal(signal),
        }
        let code = session.ended();
        let screen = session.screen();
        assert_eq!(code, 130, "{signal}: {screen}");
        assert!(screen.contains("\nerror: cancelled"), "{signal}: {screen}");
        assert!(screen.contains("nothing was deleted"), "{signal}: {screen}");
        assert_eq!(visitors(&pipeline), "", "{signal}: {screen}");
    }
    assert_eq!(letters(), 1);
    // Nobody holds a lock: a yes is heard, and carried out.
    let mut session = Session::start(&pipeline.command(&["dlq", "purge", "--all"]));
    session.expect("Delete? [y/N] ");
    session.press("y\n");
    assert_eq!(session.ended(), 0, "{}", session.screen());
    assert_eq!(letters(), 0);
}

fn nothing_is_there_yet(pipeline: &Pipeline) {
    // Secrets are drawn by `up`; without them nothing can be asked anywhere.
    let secrets = "POSTGRES_PASSWORD=one-two-three\nREDIS_PASSWORD=four-five-six\n\
                   PAYMENT_TOKEN=seven-eight\nADMIN_TOKEN=nine-ten\n";
    fs::write(pipeline.directory().join(".env"), secrets).unwrap();
    let verify = pipeline.caravan(&["verify", "-o", "json"]).expect(1);
    let failed = findings(&verify);
    for id in ["kafka.reachable", "database.reachable", "cache.reachable"] {
        let finding = failed.iter().find(|f| f.0 == id);
        assert_eq!(finding.unwrap().1, "fail", "{id}");
    }
    for command in [
        &["topics"][..],
        &["groups"],
        &["dlq", "list"],
        &["test-flow"],
    ] {
        let ran = pipeline.caravan(command).expect(1);
        let expected = format!("{} is not up", pipeline.project);
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        assert!(ran.stderr.contains("next: caravan"), "{}", ran.stderr);
    }
    nobody_is_left(pipeline);
}

fn every_command_works(pipeline: &Pipeline) {
    let topics = pipeline.caravan(&["topics", "-o", "json"]).expect(0).json();
    assert_eq!(topics["topics"].as_array().unwrap().len(), 4);
    let groups = pipeline.caravan(&["groups"]).expect(0);
    assert!(
        groups.stdout.contains("session-worker"),
        "{}",
        groups.stdout
    );
    assert_eq!(groups.stderr, "");
    let list = pipeline.caravan(&["dlq", "list", "-o", "json"]).expect(0);
    assert_eq!(list.json()["summary"]["count"], 0, "{}", list.stdout);
    let flow = pipeline.caravan(&["test-flow", "-o", "json"]).expect(0);
    assert_eq!(flow.json()["status"], "pass", "{}", flow.stdout);
    let many = pipeline
        .caravan(&["test-flow", "-n", "50", "-o", "json"])
        .expect(0);
    assert_eq!(many.json()["status"], "pass", "{}", many.stdout);
    let wrong = pipeline.caravan(&["dlq", "replay", "-o", "json"]).expect(2);
    assert_eq!(wrong.json()["error"]["kind"], "usage", "{}", wrong.stdout);
    let purge = pipeline
        .caravan(&["dlq", "purge", "--all", "--yes"])
        .expect(0);
    assert!(purge.stdout.contains("nothing"), "{}", purge.stdout);
    nobody_is_left(pipeline);
}

fn start(pipeline: &Pipeline, args: &[&str]) -> Child {
    let mut command = pipeline.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn two_at_a_time(pipeline: &Pipeline) {
    let runs: Vec<_> = (0..2)
        .map(|_| start(pipeline, &["test-flow", "-o", "json"]))
        .collect();
    for run in runs {
        let ran = Ran::of(run.wait_with_output().unwrap()).expect(0);
        assert_eq!(ran.json()["status"], "pass", "{}", ran.stdout);
    }
    nobody_is_left(pipeline);
}

/// A `test-flow` that waits for a worker which does not run.
fn under_way(pipeline: &Pipeline) -> Child {
    let sql = "SELECT count(*) FROM payments";
    let database = pipeline.container("postgres");
    let psql = [
        "exec",
        &database,
        "psql",
        "-U",
        "kodingcaravan",
        "-Atc",
        sql,
    ];
    let before = pipeline.docker(&psql);
    let flow = start(pipeline, &["test-flow", "--timeout", "60s"]);
    eventually("the payment is made", || {
        (pipeline.docker(&psql) != before).then_some(())
    });
    flow
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(sent.success());
}

fn ctrl_c_reaches_the_command(pipeline: &Pipeline) {
    pipeline.docker(&["pause", &pipeline.container("session-worker")]);
    let flow = under_way(pipeline);
    signal(&flow, "-INT");
    let ran = Ran::of(flow.wait_with_output().unwrap()).expect(130);
    assert!(ran.stderr.contains("stopping cleanly"), "{}", ran.stderr);
    assert!(visitors(pipeline).is_empty());
}

fn nothing_outlives_a_host_that_is_killed(pipeline: &Pipeline) {
    let mut flow = under_way(pipeline);
    assert_eq!(visitors(pipeline).lines().count(), 1);
    flow.kill().unwrap();
    flow.wait().unwrap();
    nobody_is_left(pipeline);
}

fn a_broken_connection_is_reported(pipeline: &Pipeline) {
    let flow = under_way(pipeline);
    pipeline.docker(&["kill", visitors(pipeline).trim()]);
    let ran = Ran::of(flow.wait_with_output().unwrap()).expect(3);
    assert!(ran.stderr.contains("network broke"), "{}", ran.stderr);
    pipeline.docker(&["unpause", &pipeline.container("session-worker")]);
    nobody_is_left(pipeline);
}

fn what_was_left_goes_with_the_network(pipeline: &mut Pipeline) {
    let network = format!("{}_default", pipeline.project);
    let label = format!("caravan.inside={}", pipeline.project);
    let left = format!("{}-caravan-left", pipeline.project);
    let run = [
        "run",
        "-d",
        "--name",
        &left,
        "--label",
        &label,
        "--network",
        &network,
    ];
    let sleep = ["caravan.local/redis:7", "sleep", "600"];
    pipeline.docker(&[&run[..], &sleep].concat());
    pipeline.caravan(&["down"]).expect(0);
    assert!(visitors(pipeline).is_empty());
}

/// The same deployment, by addresses on the host, then by those inside.
fn inside_is_as_on_the_host(pipeline: &mut Pipeline) {
    use_files(pipeline, "published.yaml");
    pipeline.caravan(&["up"]).expect(0);
    pipeline.expect_green();
    eventually("Docker calls all healthy", || {
        let status = pipeline.caravan(&["status"]).expect(0).stdout;
        (!status.contains("starting")).then_some(())
    });
    let commands: [&[&str]; 8] = [
        &["verify", "-o", "json"],
        &["verify"],
        &["topics"],
        &["topics", "-o", "json"],
        &["groups"],
        &["dlq", "list", "-o", "json"],
        &["dlq", "show", "orders/1/1"],
        &["test-flow"],
    ];
    let run = |pipeline: &Pipeline| commands.map(|args| pipeline.caravan(args));
    let here = run(pipeline);
    use_files(pipeline, "published.yaml:inside.yaml");
    let there = run(pipeline);
    let named = |text: &str| {
        text.replace(":inside.yaml", "")
            .replace(" -f inside.yaml", "")
            .replace(", inside.yaml", "")
    };
    for ((args, here), there) in commands.iter().zip(&here).zip(&there) {
        assert_eq!(here.code, there.code, "{args:?}\n{}", there.stderr);
        for (here, there) in [(&here.stdout, &there.stdout), (&here.stderr, &there.stderr)] {
            assert_eq!(shape(&named(here)), shape(&named(there)), "{args:?}");
        }
    }
    assert_eq!(findings(&here[0]), findings(&there[0]));
    let secret = "one-two-three";
    assert!(there.iter().all(|ran| !ran.stdout.contains(secret)));
    nobody_is_left(pipeline);
}
