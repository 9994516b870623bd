//! From nothing to proven, and back: `up`, `verify`, `test-flow`, `status`, `logs`, `down`, and the
//! operators' own commands on what they leave.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    Ran, eventually,
    kafka::{delete_topic, read_all},
    payments::{self, count, expect_lessons},
    pipeline::Pipeline,
    shared::{Lease, lease},
};

const SERVICES: [&str; 11] = [
    "kafka",
    "postgres",
    "redis",
    "migrate",
    "kafka-init",
    "payment-service",
    "admin-service",
    "purchase-worker",
    "allocation-worker",
    "session-worker",
    "cache-worker",
];

const SECRETS: [&str; 4] = [
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "PAYMENT_TOKEN",
    "ADMIN_TOKEN",
];

/// What must not differ after an `up` that had nothing to do.
fn identity(pipeline: &Pipeline) -> Vec<String> {
    let template =
        "{{.Id}} {{.Image}} {{.State.StartedAt}} {{.State.FinishedAt}} {{.RestartCount}}";
    SERVICES.map(|s| pipeline.inspect(s, template)).to_vec()
}

/// A deployment that is up, and no more than that; each scenario leaves it so.
pub(crate) fn brought_up() -> Lease<Pipeline> {
    lease("bring-up", |name| Pipeline::up(name, &[]))
}

#[test]
fn a_second_up_changes_nothing() {
    let pipeline = &brought_up();
    let mode = std::fs::metadata(pipeline.env_path())
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    let before = identity(pipeline);
    let again = pipeline.caravan(&["up"]).expect(0);
    assert_eq!(identity(pipeline), before, "{}", again.stderr);
}

#[test]
fn a_dry_run_of_down_and_restart_changes_nothing() {
    let pipeline = &brought_up();
    let before = identity(pipeline);
    let down = pipeline.caravan(&["down", "--volumes", "--dry-run"]);
    let Ran { stdout, .. } = down.expect(0);
    let project = &pipeline.project;
    for gone in [
        format!("remove    {project}-kafka\n"),
        format!("remove    network {project}_default\n"),
        format!("remove    volume {project}_postgres-data"),
    ] {
        assert!(stdout.contains(&gone), "{gone:?} in:\n{stdout}");
    }
    let restart = pipeline.caravan(&["restart", "session", "--dry-run"]);
    let Ran { stdout, .. } = restart.expect(0);
    let expected = format!("restart   {project}-session-worker\n            it is running\n");
    assert_eq!(stdout, expected);
    assert_eq!(identity(pipeline), before);
}

#[test]
fn the_operators_commands_work() {
    let pipeline = &brought_up();
    let project = &pipeline.project;
    let workers = "purchase-worker|allocation-worker|session-worker|cache-worker";
    let line = format!("docker ps | grep {project} | grep -E '{workers}'");
    assert_eq!(pipeline.shell(&line).expect(0).stdout.lines().count(), 4);

    let line = format!(
        "docker exec {project}-kafka kafka-topics --list --bootstrap-server localhost:9092"
    );
    let topics = pipeline.shell(&line).expect(0).stdout;
    for topic in [
        "purchase-confirmed",
        "purchase-created",
        "trainer-allocated",
        "dead-letter-queue",
    ] {
        assert!(topics.lines().any(|l| l == topic), "{topics}");
    }
    let line = format!(
        "docker exec {project}-kafka kafka-consumer-groups --bootstrap-server localhost:9092 --list"
    );
    let mut groups: Vec<_> = pipeline
        .shell(&line)
        .expect(0)
        .stdout
        .lines()
        .map(str::to_owned)
        .collect();
    groups.sort();
    assert_eq!(
        groups,
        [
            "allocation-worker",
            "cache-worker",
            "purchase-worker",
            "session-worker"
        ]
    );
    for (service, startup) in [
        ("purchase-worker", "[PurchaseWorker] Started"),
        ("allocation-worker", "[AllocationWorker] Started"),
        ("session-worker", "[SessionWorker] Started"),
        ("cache-worker", "[CacheWorker] Started"),
    ] {
        let line = format!("docker logs {project}-{service} | grep Started");
        assert_eq!(pipeline.shell(&line).expect(0).stdout.trim(), startup);
    }
    let line = format!("docker logs {project}-kafka-init");
    let made = pipeline.shell(&line).expect(0).stdout;
    assert!(made.contains("purchase-confirmed"), "{made}");
}

#[test]
fn everything_is_published_on_loopback_alone() {
    let pipeline = &brought_up();
    for service in SERVICES {
        let template =
            "{{range $_, $b := .NetworkSettings.Ports}}{{range $b}}{{.HostIp}} {{end}}{{end}}";
        let addresses = pipeline.inspect(service, template);
        assert!(
            addresses.split_whitespace().all(|a| a == "127.0.0.1"),
            "{service}: {addresses}"
        );
    }
}

/// What every container gets; the images of Kafka and Postgres write beside their volumes, and the
/// official entrypoint of the latter needs root to own its volume.
#[test]
fn every_container_is_hardened() {
    let pipeline = &brought_up();
    const WRITE: [&str; 2] = ["kafka", "postgres"];
    let secrets = SECRETS.map(|name| pipeline.secret(name));
    for service in SERVICES {
        let raw: Value = serde_json::from_str(&pipeline.inspect(service, "{{json .}}")).unwrap();
        let image = pipeline.docker(&["inspect", raw["Image"].as_str().unwrap()]);
        for (name, secret) in SECRETS.iter().zip(&secrets) {
            for (shown, what) in [(raw.to_string(), "container"), (image.clone(), "image")] {
                let is_there = shown.contains(secret);
                assert!(
                    !is_there,
                    "{name} in `docker inspect` of {service}'s {what}"
                );
            }
        }
        let host = &raw["HostConfig"];
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
        assert_eq!(host["Privileged"], false, "{service}");
        let unprivileged = json!(["no-new-privileges:true"]);
        assert_eq!(host["SecurityOpt"], unprivileged, "{service}");
        assert!(host["Memory"].as_i64().unwrap() > 0, "{service}");
        assert!(host["PidsLimit"].as_i64().unwrap() > 0, "{service}");
        let log = &host["LogConfig"];
        assert_eq!(log["Type"], "json-file", "{service}");
        for bound in ["max-size", "max-file"] {
            assert!(log["Config"][bound].is_string(), "{service}: {bound}");
        }
        if WRITE.contains(&service) {
            continue;
        }
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapAdd"], Value::Null, "{service}");
        let user = if service == "redis" {
            "999:999"
        } else {
            "65534:65534"
        };
        assert_eq!(raw["Config"]["User"], user, "{service}");
    }
    let user = pipeline.docker(&["exec", &pipeline.container("kafka"), "id", "-u"]);
    assert_ne!(user.trim(), "0", "Kafka runs as root");
    for (service, process) in [("postgres", "postgres"), ("redis", "redis-server")] {
        let top = pipeline.docker(&["top", &pipeline.container(service), "-eo", "pid,user,comm"]);
        let mut own = top
            .lines()
            .filter(|line| line.ends_with(process))
            .peekable();
        assert!(own.peek().is_some(), "{top}");
        assert!(own.all(|line| !line.contains(" root ")), "{top}");
    }
    let redis = pipeline.container("redis");
    let ping = ["exec", &redis, "redis-cli", "ping"];
    assert!(pipeline.docker(&ping).contains("NOAUTH"), "no password");
    for (name, secret) in SECRETS.iter().zip(secrets) {
        let file = name.to_lowercase().replace('_', "-");
        let file = pipeline
            .env_path()
            .with_file_name(format!(".caravan-{}/{file}", pipeline.project));
        assert_eq!(std::fs::read_to_string(file).unwrap(), secret, "{name}");
    }
}

#[test]
fn verify_is_green_and_readable() {
    let pipeline = &brought_up();
    let ran = pipeline.caravan(&["verify", "-o", "json"]).expect(0);
    let document = ran.json();
    assert_eq!(document["status"], "pass");
    let findings = document["findings"].as_array().unwrap();
    let ids: Vec<_> = findings.iter().map(|f| f["id"].as_str().unwrap()).collect();
    // The contract with scripts that read ids.
    insta::assert_snapshot!("verify_ids", ids.join("\n"));
    for finding in findings {
        assert_eq!(finding["status"], "pass", "{finding}");
        assert_ne!(finding["expected"], "", "{finding}");
        assert_ne!(finding["seen"], "", "{finding}");
    }
    let table = pipeline.caravan(&["verify"]).expect(0);
    assert!(
        table.stdout.contains(" checks passed in "),
        "{}",
        table.stdout
    );
    assert!(!table.stdout.contains('\x1b'), "no control codes in a pipe");
}

/// Flags that once made `test-flow` look at one message as at many: without log lines and keys.
#[test]
fn test_flow_watches_one_message_at_every_hop_whatever_the_flags() {
    let pipeline = &brought_up();
    let direct_at_a_rate = ["--direct", "--count", "1", "--rate", "5"];
    for (args, entry_hops) in [
        (&["--direct"][..], 0),
        (&direct_at_a_rate[..], 0),
        (&["--concurrency", "2"][..], 3),
        (&["--redeliver"][..], 3),
    ] {
        let command = [&["test-flow", "-o", "json"], args].concat();
        let document = pipeline.caravan(&command).expect(0).json();
        let hops = document["hops"].as_array().unwrap();
        let seen = hops
            .iter()
            .filter(|hop| hop["sightings"][0]["at"].is_string());
        assert_eq!(seen.count(), hops.len(), "{document:#}");
        let of_kind = |kind| hops.iter().filter(|h| h["place"]["kind"] == kind).count();
        let counts = ["log", "cache", "topic", "table"].map(of_kind);
        let own_tables = usize::from(entry_hops > 0) * 2;
        assert_eq!(counts, [17, 1, 3, 3 + own_tables], "{args:?}: {document:#}");
        assert_eq!(hops.len(), 24 + entry_hops, "{args:?}");
        assert_eq!(document["cleanup"]["rows"]["tutoring_sessions"], 7);
        let redelivery = &document["redelivery"];
        match args.contains(&"--redeliver") {
            true => {
                assert_eq!(redelivery["status"], "pass", "{document:#}");
                assert_eq!(redelivery["sent"]["trainer-allocated"], 1);
                assert_eq!(redelivery["compared"]["tutoring_sessions"], 7);
            }
            false => assert!(redelivery.is_null(), "{document:#}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn test_flow_leaves_nothing_behind() {
    let pipeline = &brought_up();
    let database = pipeline.database().await;
    let inbox = "SELECT count(*) FROM processed_events";
    let seen = count(&database, inbox).await;
    let tables = [
        "SELECT count(*) FROM payments",
        "SELECT count(*) FROM outbox",
        "SELECT count(*) FROM student_course_purchases",
        "SELECT count(*) FROM trainer_allocations",
        "SELECT count(*) FROM tutoring_sessions",
    ];
    let mut rows = Vec::new();
    for table in tables {
        rows.push(count(&database, table).await);
    }
    let document = pipeline
        .caravan(&["test-flow", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!(document["status"], "pass", "{document:#}");
    let hops = document["hops"].as_array().unwrap();
    // 1 entry, 3 topics, 5 + 5 + 4 + 3 stages, 5 tables, the keys.
    assert_eq!(hops.len(), 27, "{document:#}");
    assert!(hops.iter().all(|h| h["status"] == "seen"), "{document:#}");
    assert_eq!(document["cleanup"]["rows"]["tutoring_sessions"], 7);
    for (table, rows) in tables.into_iter().zip(rows) {
        assert_eq!(count(&database, table).await, rows, "{table}");
    }
    assert_eq!(count(&database, inbox).await, seen + 3, "inbox rows stay");

    let topics = [
        "purchase-confirmed",
        "purchase-created",
        "trainer-allocated",
    ];
    let before = topics.map(|topic| places(pipeline, topic));
    let kept = pipeline.caravan(&["test-flow", "--keep"]).expect(0);
    assert!(kept.stdout.contains("--keep"), "{}", kept.stdout);
    let synthetic = "SELECT count(*) FROM tutoring_sessions WHERE synthetic";
    assert_eq!(count(&database, synthetic).await, 7);
    for (topic, before) in topics.into_iter().zip(before) {
        let mut messages = read_all(pipeline, topic);
        messages.retain(|m| !before.contains(&(m.partition, m.offset)));
        assert_ne!(messages, [], "{topic}");
        for message in messages {
            assert_eq!(message.headers["synthetic"], "true");
        }
    }
}

/// The partition and offset of each message of a topic.
fn places(pipeline: &Pipeline, topic: &str) -> BTreeSet<(i32, i64)> {
    let messages = read_all(pipeline, topic);
    messages.iter().map(|m| (m.partition, m.offset)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_find_a_payment() {
    let pipeline = &brought_up();
    let (status, answer) = payments::post(pipeline, "logs", payments::COURSE).await;
    assert_eq!(status, 201, "{answer}");
    let id = answer["paymentId"].as_str().unwrap();
    let lines = eventually("the allocation's last stage", || {
        let ran = pipeline.caravan(&["logs", "allocation", "--correlation-id", id]);
        let done = ran.stdout.contains("message processed successfully");
        done.then_some(ran.stdout)
    });
    let stages: Vec<_> = lines
        .lines()
        .map(|l| l.split(" eventType=").next().unwrap())
        .collect();
    assert_eq!(
        stages,
        [
            "[AllocationWorker] message received",
            "[AllocationWorker] processing started",
            "[AllocationWorker] database write completed",
            "[AllocationWorker] event emitted",
            "[AllocationWorker] message processed successfully",
        ]
    );
    assert!(
        lines.lines().all(|l| l.contains("PURCHASE_CREATED")),
        "{lines}"
    );
    let several = pipeline
        .caravan(&["logs", "session", "purchase-w", "--tail", "1"])
        .expect(0);
    let names: Vec<_> = several
        .stdout
        .lines()
        .filter_map(|l| l.split(" |").next())
        .collect();
    assert_eq!(names.len(), 2, "{}", several.stdout);
    assert!(
        names
            .iter()
            .any(|n| n.trim() == pipeline.container("session-worker"))
    );
    let unknown = pipeline.caravan(&["logs", "alocation-worker"]).expect(2);
    assert!(
        unknown.stderr.contains("allocation-worker"),
        "{}",
        unknown.stderr
    );
    let ambiguous = pipeline.caravan(&["logs", "worker"]).expect(2);
    assert!(
        ambiguous.stderr.contains("cache-worker"),
        "{}",
        ambiguous.stderr
    );
    let later = pipeline
        .caravan(&["logs", "allocation", "--since", "2100-01-01T00:00:00Z"])
        .expect(0);
    assert_eq!(later.stdout, "");
    // Nothing of it is under way when another scenario counts rows.
    let database = pipeline.database().await;
    let payments = count(&database, "SELECT count(*) FROM payments").await;
    expect_lessons(&database, payments).await;
}

#[test]
fn following_ends_with_ctrl_c() {
    let pipeline = &brought_up();
    let mut following = pipeline
        .command(&["logs", "-f", "cache"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(following.stdout.as_mut().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(first, "[CacheWorker] Started\n");
    let pid = following.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let ended = eventually("it ends", || following.try_wait().unwrap());
    assert_eq!(ended.code(), Some(130));
}

#[test]
fn listings_show_what_is_there() {
    let pipeline = &brought_up();
    let status = pipeline.caravan(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(
        status["containers"].as_array().unwrap().len(),
        SERVICES.len()
    );
    let topics = pipeline.caravan(&["topics", "-o", "json"]).expect(0).json();
    let created = topics["topics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["name"] == "purchase-created");
    assert_eq!(created.unwrap()["partitions"], 3);
    // An offset is committed a little after what was told of its event.
    eventually("its lag is 0", || {
        let groups = pipeline.caravan(&["groups", "-o", "json"]).expect(0).json();
        let groups = groups["groups"].as_array().unwrap();
        let group = groups.iter().find(|g| g["name"] == "session-worker");
        let group = group.unwrap();
        assert_eq!(group["state"], "Stable", "{group}");
        (group["lag"] == 0).then_some(())
    });
    for command in ["status", "topics", "groups"] {
        let table = pipeline.caravan(&[command]).expect(0).stdout;
        assert!(table.lines().count() > 4, "{table}");
    }
}

#[test]
fn verbose_calls_go_to_stderr() {
    let pipeline = &brought_up();
    let silent = pipeline.caravan(&["status", "-o", "json"]).expect(0);
    let told = pipeline.caravan(&["status", "-v", "-o", "json"]).expect(0);
    assert_eq!(silent.json()["project"], told.json()["project"]);
    assert!(
        !silent.stderr.contains("list containers"),
        "{}",
        silent.stderr
    );
    let asked = "s  docker    list containers\n";
    assert!(told.stderr.contains(asked), "{}", told.stderr);
    let verified = pipeline.caravan(&["verify", "-vv"]).expect(0);
    for of in ["docker", "kafka", "postgres", "redis", "http"] {
        let line = format!("s  {of:<9} ");
        assert!(verified.stderr.contains(&line), "{of}: {}", verified.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_comes_back() {
    let pipeline = &brought_up();
    delete_topic(pipeline, "dead-letter-queue").await;
    let ran = pipeline.caravan(&["up"]).expect(0);
    let made = pipeline.docker(&["logs", "--tail", "20", &pipeline.container("kafka-init")]);
    assert!(made.contains("dead-letter-queue"), "{}\n{made}", ran.stderr);
    pipeline.expect_green();
}

#[test]
fn secrets_are_shown_nowhere() {
    let pipeline = &brought_up();
    let secrets = SECRETS.map(|name| pipeline.secret(name));
    let everything: &[&[&str]] = &[
        &["up"],
        &["status"],
        &["status", "-o", "json"],
        &["verify", "-vv"],
        &["verify", "-o", "json"],
        &["test-flow"],
        &["logs"],
        &["topics"],
        &["groups"],
    ];
    for args in everything {
        let Ran { stdout, stderr, .. } = pipeline.caravan(args);
        for secret in &secrets {
            assert!(
                !stdout.contains(secret),
                "caravan {args:?} shows a secret on stdout"
            );
            assert!(
                !stderr.contains(secret),
                "caravan {args:?} shows a secret on stderr"
            );
        }
    }
}

#[test]
fn replicas_share_the_partitions() {
    let pipeline = &brought_up();
    let assigned = || {
        let verified = pipeline.caravan(&["verify", "--all"]).expect(0).stdout;
        let id = "groups.allocation-worker.assigned ";
        let line = verified.lines().find(|line| line.contains(id)).unwrap();
        line.to_owned()
    };
    pipeline.caravan(&["scale", "allocation=3"]).expect(0);
    let line = assigned();
    assert!(line.contains("3 of 3, over 3 replicas"), "{line}");
    // A static member's session goes on when it is gone; `scale` is not done before it has ended.
    let scaled = pipeline.caravan(&["scale", "allocation=1"]).expect(0);
    let waits = "waiting until the partitions of group allocation-worker ";
    assert!(scaled.stderr.contains(waits), "{}", scaled.stderr);
    let line = assigned();
    assert!(
        line.contains("3 of 3") && !line.contains("replicas"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn down_keeps_the_data() {
    let pipeline = &brought_up();
    pipeline.caravan(&["restart", "cache"]).expect(0);
    pipeline.expect_green();
    let database = pipeline.database().await;
    let (status, _) = payments::post(pipeline, "before-down", payments::COURSE).await;
    assert_eq!(status, 201);
    let all = "SELECT count(*) FROM payments";
    let before = count(&database, all).await;
    expect_lessons(&database, before).await;
    database.close().await;

    let refused = pipeline.caravan(&["down", "--volumes"]).expect(2);
    assert!(
        refused.stderr.contains("postgres-data"),
        "says what is lost: {}",
        refused.stderr
    );
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);

    pipeline.caravan(&["down"]).expect(0);
    let filter = format!("label=com.docker.compose.project={}", pipeline.project);
    assert_eq!(pipeline.docker(&["ps", "-aq", "--filter", &filter]), "");
    assert_eq!(
        pipeline.docker(&["network", "ls", "-q", "--filter", &filter]),
        ""
    );
    let volumes = pipeline.docker(&["volume", "ls", "-q", "--filter", &filter]);
    assert_eq!(volumes.lines().count(), 2, "{volumes}");

    // A volume without its secret: an error, never a new password.
    let hidden = pipeline.env_path().with_extension("hidden");
    std::fs::rename(pipeline.env_path(), &hidden).unwrap();
    let lost = pipeline.caravan(&["up"]).expect(2);
    assert!(lost.stderr.contains("postgres-data"), "{}", lost.stderr);
    assert!(!pipeline.env_path().exists());
    std::fs::rename(&hidden, pipeline.env_path()).unwrap();

    pipeline.caravan(&["up"]).expect(0);
    pipeline.expect_green();
    let database = pipeline.database().await;
    let (status, _) = payments::post(pipeline, "after-down", payments::COURSE).await;
    assert_eq!(status, 201);
    let payments = count(&database, all).await;
    assert_eq!(payments, before + 1, "the data of before is there");
    expect_lessons(&database, payments).await;
    pipeline.expect_green();
}
