//! What people see of a pipeline that runs, on a terminal and in a pipe.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{
    SETTLED, eventually,
    pipeline::Pipeline,
    shared::{Lease, lease},
    terminal::Session,
};

fn brought_up() -> Lease<Pipeline> {
    lease("bring-up", |name| Pipeline::up(name, &[]))
}

fn json(pipeline: &Pipeline, args: &[&str]) -> Value {
    pipeline
        .caravan(&[args, &["-o", "json"]].concat())
        .expect(0)
        .json()
}

/// Lets a paused container go on, until Docker calls it healthy: others use the deployment after this test.
#[track_caller]
fn resume(pipeline: &Pipeline, service: &str) {
    pipeline.docker(&["unpause", &pipeline.container(service)]);
    eventually("it is healthy", || {
        let health = pipeline.inspect(service, "{{.State.Health.Status}}");
        (health.trim() == "healthy").then_some(())
    });
}

#[test]
fn a_group_and_a_topic_are_shown_by_partition() {
    let pipeline = &brought_up();
    let container = pipeline.container("session-worker");
    let group = json(pipeline, &["groups", "session"]);
    let group = &group["groups"][0];
    assert_eq!(group["name"], "session-worker", "{group}");
    let partitions = group["offsets"].as_array().unwrap();
    assert_eq!(partitions.len(), 3, "{group}");
    for partition in partitions {
        assert_eq!(partition["container"], container.as_str(), "{group}");
    }
    let topic = json(pipeline, &["topics", "trainer-alloc"]);
    let topic = &topic["topics"][0];
    assert_eq!(topic["name"], "trainer-allocated", "{topic}");
    let groups = topic["groups"].as_array().unwrap();
    assert!(
        groups.iter().any(|g| g["name"] == "session-worker"),
        "{topic}"
    );
    let unknown = pipeline.caravan(&["groups", "nobody"]).expect(1);
    assert!(unknown.stderr.contains("groups\n"), "{}", unknown.stderr);

    // An event that nobody reads has an age.
    pipeline.docker(&["pause", &container]);
    let stopped = pipeline.caravan(&["test-flow", "--timeout", SETTLED, "-o", "json"]);
    let unread = eventually("an unread event", || {
        let group = json(pipeline, &["groups", "session-worker"]);
        let mut partitions = group["groups"][0]["offsets"].as_array().unwrap().iter();
        partitions.find(|p| p["lag"] == 1).cloned()
    });
    let lag = json(pipeline, &["status", "session-worker"]);
    resume(pipeline, "session-worker");
    assert_ne!(stopped.code, 0, "{}", stopped.stdout);
    assert!(unread["oldestUnreadMs"].as_f64() > Some(0.0), "{unread}");
    assert_eq!(lag["services"][0]["state"], "paused", "{lag}");
    eventually("its lag is 0", || {
        let group = json(pipeline, &["groups", "session-worker"]);
        (group["summary"]["lag"] == 0).then_some(())
    });
    pipeline.caravan(&["test-flow", "--collect=0s"]).expect(0);
}

#[test]
fn status_is_a_line_a_service_or_a_container() {
    let pipeline = &brought_up();
    let shown = pipeline
        .caravan(&["status", "cache", "session"])
        .expect(0)
        .stdout;
    let lines: Vec<_> = shown.lines().collect();
    // The verdict, an empty line, the header, two services.
    assert_eq!(lines.len(), 5, "{shown}");
    assert!(lines[0].contains("2 of 2 running"), "{shown}");
    assert!(!shown.contains("Next:"), "{shown}");
    let wide = pipeline.caravan(&["status", "-o", "wide"]).expect(0).stdout;
    assert!(wide.contains(&pipeline.container("cache-worker")), "{wide}");
    pipeline.caravan(&["status", "worker"]).expect(2);
}

#[test]
fn verify_takes_a_layer_a_service_or_what_checks_are_about() {
    let pipeline = &brought_up();
    let listed = pipeline
        .caravan(&["verify", "--list", "-o", "plain"])
        .expect(0)
        .stdout;
    let all = json(pipeline, &["verify"]);
    let ids = |report: &Value| -> Vec<String> {
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|f| f["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed.lines().collect::<Vec<_>>(), ids(&all));
    let of_service = ids(&json(pipeline, &["verify", "session"]));
    assert!(of_service.len() > 5, "{of_service:?}");
    for id in &of_service {
        assert!(id.contains(".session-worker."), "{of_service:?}");
    }
    let lags = ids(&json(
        pipeline,
        &["verify", "lag", "--skip", "cache-worker"],
    ));
    assert_eq!(lags.len(), 3, "{lags:?}");
    let error = pipeline.caravan(&["verify", "grups"]).expect(2).stderr;
    assert!(error.contains("the nearest is groups"), "{error}");
    assert!(error.contains("verify --list"), "{error}");
}

#[test]
fn watching_in_a_pipe_writes_a_line_a_change_and_ends_with_ctrl_c() {
    let pipeline = &brought_up();
    let mut watching = pipeline
        .command(&["verify", "redis", "cache", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let first = next();
    assert!(first.contains("checks passed in"), "{first}");
    let redis = pipeline.container("redis");
    pipeline.docker(&["pause", &redis]);
    let paused = next();
    resume(pipeline, "redis");
    assert!(
        paused.ends_with("containers.redis.running: paused"),
        "{paused}"
    );
    let again = std::iter::from_fn(|| Some(next())).find(|line| line.contains("checks passed"));
    assert!(again.is_some());
    let pid = watching.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let ended = watching.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn a_problem_fits_on_a_terminal_and_its_command_is_alone_on_its_line() {
    let pipeline = &brought_up();
    let redis = pipeline.container("redis");
    pipeline.docker(&["pause", &redis]);
    let mut session = Session::start(&pipeline.command(&["verify", "--no-progress"]));
    let code = session.ended();
    resume(pipeline, "redis");
    assert_eq!(code, 1, "{}", session.screen());
    session.expect("each: --all");
    let screen = session.screen();
    let lines: Vec<_> = screen.lines().collect();
    assert!(lines.len() < 24, "{screen}");
    let command = format!("  → docker unpause {redis}");
    assert!(lines.contains(&command.as_str()), "{screen}");
    assert!(
        lines.last().unwrap().starts_with("✗ 1 problem: "),
        "{screen}"
    );
}

#[test]
fn logs_for_a_machine_are_lines_and_a_summary() {
    let pipeline = &brought_up();
    let lines = |args: &[&str], code: i32| -> Vec<Value> {
        let args = [&["logs"], args, &["-o", "ndjson"]].concat();
        let stdout = pipeline.caravan(&args).expect(code).stdout;
        let lines = stdout.lines().map(serde_json::from_str);
        lines.map(Result::unwrap).collect()
    };
    let all = lines(&["session", "cache", "--tail", "2"], 0);
    let (summary, all) = all.split_last().unwrap();
    assert_eq!(summary["type"], "summary", "{summary}");
    assert_eq!(summary["command"], "logs", "{summary}");
    assert_eq!(summary["project"], pipeline.project.as_str(), "{summary}");
    assert_eq!(summary["summary"]["lines"], all.len(), "{summary}");
    for service in ["session-worker", "cache-worker"] {
        let own: Vec<_> = all.iter().filter(|l| l["service"] == service).collect();
        assert!((1..=2).contains(&own.len()), "{all:?}");
        for line in own {
            assert_eq!(line["type"], "line", "{line}");
            assert_eq!(line["container"], pipeline.container(service).as_str());
            assert!(line["at"].as_str().unwrap().ends_with('Z'), "{line}");
        }
    }
    let none = lines(&["--grep", "no line has this"], 0);
    assert_eq!(none.len(), 1, "{none:?}");
    assert_eq!(none[0]["summary"]["lines"], 0, "{none:?}");
    let error = lines(&["nobody"], 2);
    assert_eq!(error[0]["type"], "error", "{error:?}");
    assert_eq!(error[0]["command"], "logs", "{error:?}");

    // It never ends by itself, and each line is complete.
    let mut following = pipeline
        .command(&["logs", "session", "--tail", "1", "-f", "-o", "ndjson"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut followed = BufReader::new(following.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&followed.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["service"], "session-worker", "{first}");
    let pid = following.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    assert_eq!(following.wait().unwrap().code(), Some(130));
}

#[test]
fn the_tail_of_logs_may_be_all_of_them() {
    let pipeline = &brought_up();
    let lines = |tail: &[&str]| {
        let args = [&["logs", "session"], tail].concat();
        let stdout = pipeline.caravan(&args).expect(0).stdout;
        stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = lines(&[]);
    let all = lines(&["--tail", "all", "--since", "2000-01-01T00Z"]);
    assert!(whole.len() > 1, "{whole:?}");
    assert_eq!(all[..whole.len()], whole[..]);
    assert_eq!(lines(&["--tail", "1"]).len(), 1);
    let wrong = pipeline.caravan(&["logs", "--tail", "some"]).expect(2);
    assert!(wrong.stderr.contains("nor `all`"), "{}", wrong.stderr);
}

#[test]
fn a_container_is_recreated_by_force() {
    let pipeline = &brought_up();
    let ids = || ["kafka", "cache-worker"].map(|service| pipeline.inspect(service, "{{.Id}}"));
    let before = ids();
    let up = ["up", "cache", "--force-recreate"];
    let dry = json(pipeline, &[&up[..], &["--dry-run"]].concat());
    let steps = dry["steps"].as_array().unwrap().iter();
    let changed = steps.filter(|step| step["action"] != "keep");
    let changed: Vec<_> = changed.map(|step| step["service"].clone()).collect();
    assert_eq!(changed, ["cache-worker"], "{dry:#}");
    assert_eq!(ids(), before);
    // What `docker compose up` takes beside it is what `up` does anyhow.
    let up = [&up[..], &["--build", "-d"]].concat();
    pipeline.caravan(&up).expect(0);
    let after = ids();
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    pipeline.expect_green();
}
