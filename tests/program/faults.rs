//! `verify` can fail: each fault turns a known set of checks red, and what `verify` prints as the
//! next command, run to the letter, turns them green again.

use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::{
    groups::both_protocols_are_described,
    support::{
        DEADLINE, Ran, eventually, eventually_ok,
        fault_records::{self, Red},
        kafka::{delete_topic, lag, produce, read_all},
        payments::{self, count, expect_lessons},
        pipeline::Pipeline,
        shared::{Lease, lease},
    },
};

mod around;
mod losses;

/// A deployment on which payments have been made and all is green; each scenario leaves it so.
async fn deployed() -> Lease<Pipeline> {
    // Log lines as JSON: what reads them must not care.
    let variables = [("TOP_UP_INTERVAL", "1s"), ("LOG_FORMAT", "json")];
    let pipeline = lease("faults", |name| Pipeline::up(name, &variables));
    let database = pipeline.database().await;
    if count(&database, "SELECT count(*) FROM payments").await == 0 {
        payments::post_many(&pipeline, "before", 5).await;
        expect_lessons(&database, 5).await;
    }
    pipeline.expect_green();
    pipeline
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_both_protocols_are_described() {
    let pipeline = &deployed().await;
    both_protocols_are_described(pipeline);
}

/// Records for docs/faults.md what `verify` said of a fault: what its `roots` account for, or all.
fn record(pipeline: &Pipeline, fault: &str, ran: &Ran, roots: &[&str]) {
    let red = Red::all(&ran.json());
    let is_of = |id: &str| roots.is_empty() || roots.contains(&id);
    // What Docker's health check says of it changes with the next probe: at any time.
    let by_probe = |r: &Red| !roots.is_empty() && !is_of(&r.id) && r.id.ends_with(".health");
    let of_fault = red
        .iter()
        .filter(|r| is_of(r.cause.as_deref().unwrap_or(&r.id)))
        .filter(|r| !by_probe(r));
    let of_fault: Vec<_> = of_fault.collect();
    let table = "the shipped pipeline";
    fault_records::record(table, &pipeline.project, fault, &of_fault, &[]);
}

/// Waits until exactly these ids are not `pass`, with exit code 1.
#[track_caller]
fn expect_red(pipeline: &Pipeline, ids: &[&str]) -> Ran {
    eventually_ok(|| {
        let (ran, not_passing) = pipeline.not_passing();
        // For a minute after a start, what may be a former member's is only a warning.
        if not_passing == ids && ran.code == 1 {
            return Ok(ran);
        }
        Err(format!(
            "expected not to pass: {ids:#?}\nbut these: {not_passing:#?}"
        ))
    })
}

fn hint(ran: &Ran, id: &str) -> String {
    let finding = Pipeline::finding(ran, id);
    assert_eq!(finding["status"], "fail", "{finding}");
    let Value::String(hint) = &finding["hint"] else {
        panic!("no hint: {finding}");
    };
    hint.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker() {
    let pipeline = &deployed().await;
    pipeline.docker(&["stop", &pipeline.container("purchase-worker")]);
    let ran = expect_red(
        pipeline,
        &[
            "containers.purchase-worker.health",
            "containers.purchase-worker.restarts",
            "containers.purchase-worker.running",
            "groups.purchase-worker.assigned",
            "logs.purchase-worker.started",
        ],
    );
    let hint = hint(&ran, "containers.purchase-worker.running");
    assert!(hint.ends_with(" up purchase-worker"), "{hint}");
    record(pipeline, "a worker is stopped", &ran, &[]);
    let payment = test_flow_names_the_missing_hop(pipeline);
    pipeline.shell(&hint).expect(0);
    pipeline.expect_green();
    let logs = ["logs", "session", "--correlation-id", &payment];
    eventually("its payment goes through", || {
        let lines = pipeline.caravan(&logs).stdout;
        lines
            .contains("message processed successfully")
            .then_some(())
    });
}

/// The correlation id of the payment that got stuck.
fn test_flow_names_the_missing_hop(pipeline: &Pipeline) -> String {
    let flow = pipeline.caravan(&["test-flow", "--timeout", "2s", "-o", "json"]);
    let document = flow.expect(1).json();
    assert_eq!(document["status"], "fail");
    let missing = &document["firstMissing"];
    assert_eq!(missing["service"], "purchase-worker", "{document:#}");
    let hop = usize::try_from(missing["hop"].as_u64().unwrap()).unwrap();
    let place = &document["hops"][hop]["place"];
    assert_eq!(place["kind"], "log", "{place}");
    assert_eq!(place["stage"], "message received", "{place}");
    assert_ne!(missing["lastLogLines"].as_array().unwrap().len(), 0);
    // Its event still waits for the worker: deleting rows now would orphan what follows.
    assert_eq!(document["cleanup"]["outcome"], "failed", "{document:#}");
    document["correlationId"].as_str().unwrap().to_owned()
}

/// Each command that a red `test-flow` shows stands alone on its line, and helps when it is typed to the letter.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_a_red_test_flow_help() {
    let pipeline = &deployed().await;
    pipeline.docker(&["rm", "-fv", &pipeline.container("allocation-worker")]);
    let flow = pipeline.caravan(&["test-flow", "--timeout", "2s"]);
    let text = flow.expect(1).stdout;
    assert!(
        text.contains("stopped at allocation-worker: not deployed"),
        "{text}"
    );
    assert!(text.lines().count() <= 24, "{text}");
    let mut lines = text.lines();
    let collect = lines
        .find(|line| line.ends_with("--collect=0s"))
        .expect("how to clean up");
    let next = text.lines().find_map(|line| line.strip_prefix("→ "));
    pipeline.shell(next.expect("a next command")).expect(0);
    assert!(pipeline.runs("allocation-worker"));
    let collected = pipeline.shell(collect.trim()).expect(0).stdout;
    // Other scenarios on this deployment may have left rows of theirs.
    let sessions = collected.split("tutoring_sessions ").nth(1).unwrap();
    let sessions: usize = sessions.split(',').next().unwrap().parse().unwrap();
    assert!(sessions >= 7 && sessions.is_multiple_of(7), "{collected}");
    pipeline.expect_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container() {
    let pipeline = &deployed().await;
    // What it has done it commits a little later; frozen in between it would lag, too.
    let committed = || (lag(pipeline, "session-worker", "trainer-allocated") == 0).then_some(());
    eventually("its offsets are committed", committed);
    pipeline.docker(&["pause", &pipeline.container("session-worker")]);
    let ran = expect_red(
        pipeline,
        &[
            "containers.session-worker.health",
            "containers.session-worker.restarts",
            "containers.session-worker.running",
            "groups.session-worker.assigned",
            "logs.session-worker.started",
        ],
    );
    let hint = hint(&ran, "containers.session-worker.running");
    assert!(hint.starts_with("docker unpause "), "{hint}");
    record(pipeline, "a worker is paused", &ran, &[]);
    pipeline.shell(&hint).expect(0);
    pipeline.expect_green();
}

/// Written to the log by the container's own runtime: what Docker keeps is what counts.
fn write_to_log(pipeline: &Pipeline, service: &str, line: &str) {
    let container = pipeline.container(service);
    // The file behind the process's stdout is a pipe to Docker, whoever writes into it.
    let pid = pipeline.inspect(service, "{{.State.Pid}}");
    let write = format!("echo \"{line}\" > /proc/{pid}/fd/1");
    pipeline
        .shell(&format!("({write}) 2>/dev/null || sudo sh -c '{write}'"))
        .expect(0);
    eventually("the log has it", || {
        let log = pipeline.docker(&["logs", "--tail", "5", &container]);
        log.contains(line).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_log() {
    let pipeline = &deployed().await;
    let line = "thread main panicked at crates/x.rs:1:1: boom";
    write_to_log(pipeline, "cache-worker", line);
    let ran = expect_red(pipeline, &["logs.cache-worker.clean"]);
    let finding = Pipeline::finding(&ran, "logs.cache-worker.clean");
    record(pipeline, "a worker logs a panic", &ran, &[]);
    assert!(
        finding["evidence"].to_string().contains("boom"),
        "{finding}"
    );
    pipeline
        .shell(&hint(&ran, "logs.cache-worker.clean"))
        .expect(0);
    pipeline.expect_green();
}

/// A warning, whose hint shows them; with the next start they are of the past.
#[tokio::test(flavor = "multi_thread")]
async fn errors_in_a_log() {
    let pipeline = &deployed().await;
    for n in 1..=3 {
        let line = format!("[CacheWorker] ERROR page {n} cannot be dropped");
        write_to_log(pipeline, "cache-worker", &line);
    }
    let id = "logs.cache-worker.errors";
    let (ran, not_passing) = pipeline.not_passing();
    assert_eq!((ran.code, not_passing), (0, vec![id.to_owned()]));
    let finding = Pipeline::finding(&ran, id);
    assert_eq!(finding["status"], "warn");
    assert!(
        finding["seen"].as_str().unwrap().starts_with("3 of "),
        "{finding}"
    );
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("3 times, the last: "), "{evidence}");
    record(pipeline, "a worker logs errors", &ran, &[]);
    pipeline.caravan(&["verify", "--strict"]).expect(1);
    let shown = pipeline.shell(finding["hint"].as_str().unwrap()).expect(0);
    assert!(shown.stdout.contains("page 3"), "{}", shown.stdout);
    pipeline.caravan(&["restart", "cache-worker"]).expect(0);
    pipeline.expect_green();
}

/// Its container runs, under the right name and labels, but the worker never joins its group.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_never_starts() {
    let pipeline = &deployed().await;
    let container = pipeline.container("session-worker");
    let image = pipeline.inspect("session-worker", "{{.Config.Image}}");
    let network = format!("{}_default", pipeline.project);
    let project = format!("com.docker.compose.project={}", pipeline.project);
    pipeline.docker(&["rm", "-fv", &container]);
    pipeline.docker(&[
        "run",
        "-d",
        "--name",
        &container,
        "--network",
        &network,
        "--label",
        &project,
        "--label",
        "com.docker.compose.service=session-worker",
        "--label",
        "com.docker.compose.container-number=1",
        "--label",
        "com.docker.compose.config-hash=0",
        "--label",
        "com.docker.compose.oneoff=False",
        // There is no shell in its image.
        "--health-cmd",
        "/caravan health",
        "--health-interval",
        "1s",
        "--health-retries",
        "1",
        "-e",
        "KAFKA_BROKERS=nowhere:9092",
        "-e",
        "DATABASE_URL=postgres://nobody:nothing@postgres:5432/nothing",
        &image,
        "run",
        "session-worker",
    ]);
    let ran = expect_red(
        pipeline,
        &[
            "containers.session-worker.as-declared",
            "containers.session-worker.health",
            "groups.session-worker.assigned",
            "logs.session-worker.started",
        ],
    );
    record(pipeline, "a running container has drifted", &ran, &[]);
    for id in [
        "containers.session-worker.health",
        "groups.session-worker.assigned",
    ] {
        let cause = &Pipeline::finding(&ran, id)["cause"];
        assert_eq!(cause, "containers.session-worker.as-declared", "{id}");
    }
    pipeline
        .shell(&hint(&ran, "logs.session-worker.started"))
        .expect(0);
    pipeline.expect_green();
}

/// It was brought up with other variables. Nothing is wrong with it yet: a warning.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_drifted() {
    let pipeline = &deployed().await;
    let mut up = pipeline.command(&["up", "session-worker"]);
    Ran::of(up.env("LOG_FORMAT", "human").output().unwrap()).expect(0);
    let id = "containers.session-worker.as-declared";
    let (ran, not_passing) = pipeline.not_passing();
    assert_eq!((ran.code, not_passing), (0, vec![id.to_owned()]));
    let finding = Pipeline::finding(&ran, id);
    assert_eq!(finding["status"], "warn");
    assert_eq!(finding["seen"], "environment.LOG_FORMAT: human -> json");
    pipeline.caravan(&["verify", "--strict"]).expect(1);
    let hint = finding["hint"].as_str().unwrap();
    pipeline.shell(hint).expect(0);
    pipeline.expect_green();
}

/// The story behind Caravan.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_never_deployed() {
    let pipeline = &deployed().await;
    pipeline.docker(&["rm", "-fv", &pipeline.container("allocation-worker")]);
    let ran = expect_red(
        pipeline,
        &[
            "containers.allocation-worker.as-declared",
            "containers.allocation-worker.health",
            "containers.allocation-worker.restarts",
            "containers.allocation-worker.running",
            "groups.allocation-worker.assigned",
            "logs.allocation-worker.clean",
            "logs.allocation-worker.errors",
            "logs.allocation-worker.started",
        ],
    );
    let finding = Pipeline::finding(&ran, "containers.allocation-worker.running");
    assert_eq!(finding["seen"], "not deployed");
    record(pipeline, "a worker was never deployed", &ran, &[]);
    pipeline
        .shell(&hint(&ran, "containers.allocation-worker.running"))
        .expect(0);
    pipeline.expect_green();
}

/// Its line comes a moment later.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_starting_has_not_failed_to_print_its_startup_line() {
    let pipeline = &deployed().await;
    pipeline.docker(&["restart", &pipeline.container("cache-worker")]);
    let started = ["verify", "--only", "logs.cache-worker.started"];
    pipeline.caravan(&started).expect(0);
    pipeline.expect_green();
}

/// The database swallows every session.
const SWALLOW: [&str; 2] = [
    "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER swallow BEFORE INSERT ON tutoring_sessions
     FOR EACH ROW EXECUTE FUNCTION swallow()",
];

/// The last offsets of each partition are too young to be judged, at any time.
#[tokio::test(flavor = "multi_thread")]
async fn lost_effects_are_found_under_traffic() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    for sql in SWALLOW {
        sqlx::query(sql).execute(database).await.unwrap();
    }
    let id = "groups.session-worker.effects";
    let verify = ["verify", "--only", id, "-o", "json"];
    let began = Instant::now();
    let mut rounds = 0;
    let finding = loop {
        payments::post_many(pipeline, &format!("swallowed-{rounds}"), 20).await;
        rounds += 1;
        let finding = Pipeline::finding(&pipeline.caravan(&verify), id);
        if finding["status"] == "fail" {
            break finding;
        }
        assert!(began.elapsed() < DEADLINE, "{finding}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(finding["seen"], "none for the last 3 events");
    assert!(rounds > 5, "there was no traffic");
    sqlx::query("DROP FUNCTION swallow CASCADE")
        .execute(database)
        .await
        .unwrap();
    pipeline.expect_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic() {
    let pipeline = &deployed().await;
    delete_topic(pipeline, "trainer-allocated").await;
    let ran = expect_red(
        pipeline,
        &[
            "groups.session-worker.assigned",
            "groups.session-worker.committed",
            "groups.session-worker.effects",
            "groups.session-worker.lag",
            "groups.session-worker.lost",
            "topics.trainer-allocated.exists",
            "topics.trainer-allocated.partitions",
            "topics.trainer-allocated.replicated",
            "topics.trainer-allocated.retention",
            "topics.trainer-allocated.settings",
        ],
    );
    record(pipeline, "a topic is deleted", &ran, &[]);
    pipeline
        .shell(&hint(&ran, "topics.trainer-allocated.exists"))
        .expect(0);
    pipeline.expect_green();
    let flow = pipeline.caravan(&["test-flow"]);
    flow.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_allocation() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let (allocation, purchase, payment): (Uuid, Uuid, Uuid) = sqlx::query_as(
        "SELECT a.id, s.id, s.payment_id FROM trainer_allocations a
         JOIN student_course_purchases s ON s.id = a.purchase_id ORDER BY a.id LIMIT 1",
    )
    .fetch_one(database)
    .await
    .unwrap();
    for statement in [
        // Older than every grace, so that nothing counts as in flight.
        "UPDATE student_course_purchases SET created_at = created_at - interval '1 hour' WHERE id = $1",
        "UPDATE tutoring_sessions SET created_at = created_at - interval '1 hour' WHERE allocation_id =
         (SELECT id FROM trainer_allocations WHERE purchase_id = $1)",
        "DELETE FROM trainer_allocations WHERE purchase_id = $1",
    ] {
        sqlx::query(statement).bind(purchase).execute(database).await.unwrap();
    }
    let ran = expect_red(
        pipeline,
        &[
            "database.purchase-has-allocation.holds",
            "database.session-has-allocation.holds",
        ],
    );
    let finding = Pipeline::finding(&ran, "database.purchase-has-allocation.holds");
    record(
        pipeline,
        "a row that other rows refer to is deleted",
        &ran,
        &[],
    );
    assert!(
        finding["evidence"]
            .to_string()
            .contains(&purchase.to_string()),
        "{finding}"
    );
    // What is found stays found, however old it gets.
    age(database, purchase, "-2 days").await;
    let holds = "database.purchase-has-allocation.holds";
    let all = ["verify", "--only", holds, "--since", "all", "-o", "json"];
    let further = pipeline.caravan(&all).expect(1).json();
    assert!(
        further.to_string().contains(&purchase.to_string()),
        "{further}"
    );
    let ran = pipeline.caravan(&["verify", "--only", holds]).expect(1);
    assert!(ran.stdout.contains(&purchase.to_string()), "{}", ran.stdout);
    age(database, purchase, "2 days").await;
    // The hint is the trace of the event to replay.
    let key = payment.to_string().into_bytes();
    let events = read_all(pipeline, "purchase-created");
    let event = events
        .iter()
        .find(|e| e.key.as_ref() == Some(&key))
        .unwrap();
    let place = format!("purchase-created/{}/{}", event.partition, event.offset);
    assert!(finding.to_string().contains(&place), "{place} in {finding}");
    produce(
        pipeline,
        "purchase-created",
        &[(event.key.clone(), event.value.clone())],
    )
    .await;
    pipeline.expect_green();
    let healed: Uuid =
        sqlx::query_scalar("SELECT id FROM trainer_allocations WHERE purchase_id = $1")
            .bind(purchase)
            .fetch_one(database)
            .await
            .unwrap();
    assert_eq!(healed, allocation, "under its old id");
}

async fn age(database: &sqlx::PgPool, purchase: Uuid, by: &str) {
    let sql = "UPDATE student_course_purchases SET created_at = created_at + $2::text::interval WHERE id = $1";
    let aged = sqlx::query(sql)
        .bind(purchase)
        .bind(by)
        .execute(database)
        .await;
    assert_eq!(aged.unwrap().rows_affected(), 1);
}
